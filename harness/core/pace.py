"""How often something is looked at again: so seldom that looking takes a small share of one core, however long a look is."""

from __future__ import annotations

#: Of the time, what is spent on looking, at most.
SHARE = 0.02


def pause(taken: float, least: float) -> float:
    """Return how many seconds to wait after a look that took so many, `least` at least."""
    return max(least, taken * (1 / SHARE - 1))
