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
        told: boards on which some row is told from the best of its column.
        lost: columns whose truly best row is not among those tied.
        tied: of the rows that are truly worse, those tied all the same.
    """

    winner: float
    told: float
    lost: float
    tied: float


def count(
    rows: int, columns: int, seeds: int, step: float = 0.0, uneven: float = 0.0, image: float = 0.0, boards: int = BOARDS
) -> Count:
    """Return what is marked on boards of one table each, all made by `standing` in one call.

    Args:
        step: by how many standard deviations each row is truly below the one above it.
        uneven: how much rows differ in their spread (standard deviation of its logarithm).
        image: what an image of the test split is worth, in standard deviations; 0 for a split of any size.
    """
    draws = np.random.default_rng([rows, columns, seeds, int(10 * step), int(10 * uneven)])
    shape = (boards, columns, rows)
    spread = np.exp(uneven * draws.standard_normal(shape))[..., None]
    accuracies = 70 + draws.standard_normal((boards, columns, 1, seeds)) - step * np.arange(rows)[:, None]
    accuracies = accuracies + spread * draws.standard_normal((*shape, seeds))
    board, column, row = (index.ravel() for index in np.indices(shape))
    accuracies = np.round(accuracies / image) * image if image else accuracies
    places = {"table": board, "method": "set", "ipc": "10", "column": column.astype(str), "row": row.astype(str)}
    cells = pandas.DataFrame({**places, "mean": accuracies.mean(axis=3).ravel()})
    number, seed = (index.ravel() for index in np.indices((len(cells), seeds)))
    records = pandas.DataFrame({"cell": number, "seed": seed, "accuracy": accuracies.ravel()})
    tied = standing(cells, records)["tied"].to_numpy().reshape(shape)
    worse = tied[..., 1:] if step else np.zeros(1)
    winner, told = (tied.sum(axis=2) == 1).any(axis=1).mean(), (~tied).any(axis=(1, 2)).mean()
    return Count(float(winner), float(told), float(1 - tied[..., 0].mean()), float(worse.mean()))


def limit(share: float, boards: int = BOARDS) -> float:
    """Return what a share of so many boards stays below in 999 of 1,000 counts."""
    return share + 3.1 * (share * (1 - share) / boards) ** 0.5


@pytest.mark.parametrize("uneven", [0.0, 1.0])
@pytest.mark.parametrize(("rows", "columns", "seeds"), [(2, 1, 3), (2, 6, 5), (3, 3, 3), (6, 6, 3), (6, 6, 10), (12, 2, 5)])
def test_without_a_true_difference_a_single_winner_is_rare(rows, columns, seeds, uneven):
    """Of two rows one wins in 5 % to the digit, which is the level of the test itself: ten times as many boards show it."""
    boards = 10 * BOARDS if rows == 2 else BOARDS
    counted = count(rows, columns, seeds, uneven=uneven, boards=boards)
    noise = 196 * (0.05 * 0.95 / boards) ** 0.5
    print(f"{rows} rows, {columns} columns, {seeds} seeds, spread {uneven}: {counted}, of {boards} (5 ± {noise:.1f} %)")
    assert counted.winner <= limit(0.05, boards)
    assert counted.lost <= limit(0.025, boards)


@pytest.mark.parametrize("image", [0.5, 1.0, 2.0])
@pytest.mark.parametrize(("rows", "columns", "seeds"), [(2, 1, 2), (2, 6, 3), (6, 6, 3), (6, 2, 10)])
def test_a_small_test_split_on_which_seeds_differ_by_few_images_makes_no_winner_either(rows, columns, seeds, image):
    counted = count(rows, columns, seeds, image=image)
    print(f"{rows} rows, {columns} columns, {seeds} seeds, an image is worth {image} standard deviations: {counted}")
    assert counted.winner <= limit(0.05)
    assert counted.lost <= limit(0.025)


@pytest.mark.parametrize("seeds", [3, 5, 10])
def test_the_truly_best_row_is_among_the_ties_and_more_seeds_leave_fewer_of_them(seeds):
    boards, more = (count(4, 2, n, step=2.0) for n in (seeds, 3 * seeds))
    print(f"{seeds} seeds, two standard deviations apart: {boards}; {3 * seeds} seeds: {more}")
    assert boards.lost <= limit(0.05)
    assert more.tied < boards.tied
