"""Continual learning on Avalanche: its streams and strategies, with our hot loop. Avalanche loads when a trial runs."""
