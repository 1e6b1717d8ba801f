"""Continual learning on Avalanche: its streams and strategies, with our hot loop. Avalanche loads when a trial runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.core.lazy import exports

if TYPE_CHECKING:
    from harness.continual import checkpoints, loop, measure, parts, side_by_side, strategies, stream

__all__ = ["checkpoints", "loop", "measure", "parts", "side_by_side", "strategies", "stream"]

__getattr__ = exports(__name__, {name: f"{__name__}.{name}" for name in __all__})
