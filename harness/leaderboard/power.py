"""What so many seeds of a board can tell: the smallest difference, by the spread that its records show."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy

from harness.leaderboard.statistics import smallest_difference

if TYPE_CHECKING:
    from harness.boards.records import Record


@dataclass(frozen=True)
class Reach:
    """The smallest true difference of two losses that a paired t test over so many seeds tells, with a power of 80 %, at 5 %.

    Attributes:
        seeds: that pairs are of.
        difference: in points of accuracy, by the typical spread; NaN with fewer than two seeds, or none known.
        std: typical spread, the root mean square of the standard deviations (ddof 1) of differences paired by seed.
        pairs: of setups, how many that rests on; 0 where no spread is known yet.
    """

    seeds: int
    difference: float
    std: float
    pairs: int


def reach(records: Iterable[Record], seeds: int) -> Reach:
    """Return what so many seeds can tell, by the spread between losses that differ in nothing else.

    Variances of all pairs of setups with two shared seeds or more are averaged, weighted by their degrees of freedom: the pooled
    variance (Cohen 1988, section 2.2). A diverged training counts with the accuracy that it had; it tells of the next ones too.
    """
    accuracies: dict[object, dict[str, dict[int, float]]] = {}
    for record in records:
        trial, accuracy = record.trial, record.metrics.get("accuracy")
        if accuracy is not None:
            rest = (
                trial.scenario,
                trial.distilled,
                str(trial.model),
                str(trial.optimizer),
                str(trial.protocol),
                str(trial.options),
            )
            accuracies.setdefault(rest, {}).setdefault(str(trial.loss), {})[trial.seed] = accuracy
    squares, freedom, pairs = 0.0, 0, 0
    for losses in accuracies.values():
        runs = [*losses.values()]
        for i, first in enumerate(runs):
            for second in runs[:i]:
                shared = first.keys() & second.keys()
                if len(shared) > 1:
                    squares += (len(shared) - 1) * float(numpy.var([first[seed] - second[seed] for seed in shared], ddof=1))
                    freedom, pairs = freedom + len(shared) - 1, pairs + 1
    std = (squares / freedom) ** 0.5 if freedom else float("nan")
    return Reach(seeds, smallest_difference(std, seeds), std, pairs)
