"""Whether labels agree with guesses: better than chance, and as well as in any other order of the classes."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass

import torch
from torch import Tensor

#: Classes above which no better order of them is looked for: their number squared is held, and its cube taken time for.
MOST_ORDERED = 2000


@dataclass(frozen=True)
class Agreement:
    """How labels and guesses, both [N], agree.

    Attributes:
        hits: guesses that are right.
        count: how many there are.
        chance: how many would be right by chance.
        enough: above how many it is hardly chance (3 deviations).
        reordered: how many agree after the classes are put into the order that fits best, where that is far better; else 0.
    """

    hits: int
    count: int
    chance: float
    enough: float
    reordered: int = 0

    @property
    def proves(self) -> bool:
        """Whether the order of the classes is right: more agree than by chance, and no other order fits far better."""
        return self.hits > self.enough and not self.reordered


def agreement(labels: Tensor, guesses: Tensor, classes: int) -> Agreement:
    """Return how labels agree with guesses, both [N] int64 in 0..classes - 1."""
    hits, (expected, enough) = int((labels == guesses).sum()), by_chance(len(labels), classes)
    return Agreement(hits, len(labels), expected, enough, _reordered(labels, guesses, classes, hits))


def by_chance(count: int, classes: int) -> tuple[float, float]:
    """Return how many of `count` guesses are right by chance, and above how many it is hardly chance (3 deviations)."""
    expected = count / classes
    return expected, expected + 3 * math.sqrt(expected * (1 - 1 / classes))


def _reordered(labels: Tensor, guesses: Tensor, classes: int, hits: int) -> int:
    if classes > MOST_ORDERED or 2 * hits >= len(labels):
        return 0
    with warnings.catch_warnings():  # the caller's filters stay: SciPy sets some of its own as it loads
        from scipy.optimize import linear_sum_assignment

    def best(others: Tensor) -> int:
        together = torch.bincount(labels * classes + others, minlength=classes * classes).view(classes, classes).numpy()
        rows, columns = linear_sum_assignment(together, maximize=True)
        return int(together[rows, columns].sum())

    most = best(guesses)
    shuffled = guesses[torch.randperm(len(guesses), generator=torch.Generator().manual_seed(0))]
    luck = best(shuffled)  # an order found among all orders fits a little by itself
    return most if most > 2 * hits and most >= luck + 4 * math.sqrt(max(luck, 1)) else 0
