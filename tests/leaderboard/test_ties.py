"""How often ties and winners are false, counted over simulated boards; `tox run -e ties` counts 2,000 of each kind."""

from __future__ import annotations

import os
from dataclasses import dataclass

import numpy as np
import pandas
import pytest

from harness.leaderboard.cells import standing

BOARDS = int(os.environ.get("GIFTBENCH_BOARDS", "150"))


@dataclass(frozen=True)
class Count:
    """Of simulated boards, or of cells, which share was marked how.

    Attributes:
        winner: boards on which some column has a single winner.
        lost: columns whose truly best row is not among those tied.
        tied: of the rows that are truly worse, those tied all the same.
    """

    winner: float
    lost: float
    tied: float


def count(rows: int, columns: int, seeds: int, step: float = 0.0, uneven: float = 0.0, boards: int = BOARDS) -> Count:
    """Return what is marked on boards of one table each, all made by `standing` in one call.

    Args:
        step: by how many standard deviations each row is truly below the one above it.
        uneven: how much rows differ in their spread (standard deviation of its logarithm).
    """
    draws = np.random.default_rng([rows, columns, seeds, int(10 * step), int(10 * uneven)])
    shape = (boards, columns, rows)
    spread = np.exp(uneven * draws.standard_normal(shape))[..., None]
    accuracies = 70 + draws.standard_normal((boards, columns, 1, seeds)) - step * np.arange(rows)[:, None]
    accuracies = accuracies + spread * draws.standard_normal((*shape, seeds))
    board, column, row = (index.ravel() for index in np.indices(shape))
    places = {"table": board, "method": "set", "ipc": "10", "column": column.astype(str), "row": row.astype(str)}
    cells = pandas.DataFrame({**places, "mean": accuracies.mean(axis=3).ravel()})
    number, seed = (index.ravel() for index in np.indices((len(cells), seeds)))
    records = pandas.DataFrame({"cell": number, "seed": seed, "accuracy": accuracies.ravel()})
    tied = standing(cells, records)["tied"].to_numpy().reshape(shape)
    worse = tied[..., 1:] if step else np.zeros(1)
    return Count(float((tied.sum(axis=2) == 1).any(axis=1).mean()), float(1 - tied[..., 0].mean()), float(worse.mean()))


def limit(share: float) -> float:
    """Return what a share of so many boards stays below in 999 of 1,000 counts."""
    return share + 3.1 * (share * (1 - share) / BOARDS) ** 0.5


@pytest.mark.parametrize("uneven", [0.0, 1.0])
@pytest.mark.parametrize(("rows", "columns", "seeds"), [(2, 1, 3), (2, 6, 5), (3, 3, 3), (6, 6, 3), (6, 6, 10), (12, 2, 5)])
def test_without_a_true_difference_a_single_winner_is_rare(rows, columns, seeds, uneven):
    boards = count(rows, columns, seeds, uneven=uneven)
    print(f"{rows} rows, {columns} columns, {seeds} seeds, spread {uneven}: {boards}")
    assert boards.winner <= limit(0.05)
    assert boards.lost <= limit(0.05)


@pytest.mark.parametrize("seeds", [3, 5, 10])
def test_the_truly_best_row_is_among_the_ties_and_more_seeds_leave_fewer_of_them(seeds):
    boards, more = (count(4, 2, n, step=2.0) for n in (seeds, 3 * seeds))
    print(f"{seeds} seeds, two standard deviations apart: {boards}; {3 * seeds} seeds: {more}")
    assert boards.lost <= limit(0.05)
    assert more.tied < boards.tied
