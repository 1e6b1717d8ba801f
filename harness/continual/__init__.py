"""Continual learning on Avalanche: its streams and strategies, with this project's hot loop. Avalanche loads when a trial runs."""
