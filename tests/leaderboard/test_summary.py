"""What a board says over all its cells."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from harness.leaderboard.render import render
from harness.leaderboard.summary import summary
from harness.leaderboard.tables import pivot
from harness.running.scenario import named


def board(planter, ahead=2.0, datasets=4, **changes):
    """Plant three losses under two optimizers on so many datasets, the first ahead of the others by so many points."""
    draws = np.random.default_rng(0)
    for number in range(datasets):
        for optimizer in ("sgd", "adamw"):
            for loss, worth in (("gift", ahead), ("kl", 0.0), ("ce", -1.0)):
                runs = 70 + 5 * number + worth + draws.normal(0, 0.1, 3)
                planter.cell(*runs, loss=loss, optimizer=optimizer, dataset=f"d{number}", data=str(number) * 64, **changes)
    return summary(pivot(planter.frame))


def test_a_loss_that_is_ahead_in_every_block_is_called_the_best(planter):
    [losses] = board(planter).comparisons
    first = losses.entrants[0]
    assert (losses.asked, losses.cells, losses.blocks) == ("loss", 8, 8)
    assert [entrant.name for entrant in losses.entrants] == ["gift", "kl", "ce"]
    assert (first.rank, first.rank_low, first.rank_high, first.wins, first.improvement) == (1.0, 1.0, 1.0, 8, 1.0)
    assert losses.sentence.startswith("gift is the best loss: over 8 blocks")


def test_too_few_blocks_tell_nothing_however_clear_each_is(planter):
    said = board(planter, datasets=2)
    assert said.sentence.startswith("Which loss is best cannot be told: ") and said.sentence.endswith("too few blocks to tell.")
    assert "So few blocks" in said.markdown()


def test_what_is_not_told_from_the_first_is_named(planter):
    assert board(planter, ahead=0.0).sentence.endswith("not told from kl.")


def test_the_interquartile_mean_is_that_of_all_runs(planter):
    [losses] = board(planter).comparisons
    frame = planter.frame
    for entrant in losses.entrants:
        runs = frame[frame["loss"] == entrant.name]["accuracy"]
        assert entrant.middle == pytest.approx(stats.trim_mean(runs, 0.25))
        assert entrant.middle_low < entrant.middle < entrant.middle_high


def test_the_interval_of_a_mean_rank_is_scipys_bootstrap_over_blocks(planter):
    draws = np.random.default_rng(1)
    for number in range(12):
        for loss in ("kl", "gift", "ce", "mse"):
            planter.cell(*draws.normal(70, 3, 2), loss=loss, dataset=f"d{number}", data=f"{number:x}" * 64)
    [losses] = summary(pivot(planter.frame)).comparisons
    frame = planter.frame.groupby(["dataset", "loss"])["accuracy"].mean().unstack()
    ranks = frame.rank(axis=1, ascending=False)
    for entrant in losses.entrants:
        column = ranks[entrant.name].to_numpy()
        theirs = stats.bootstrap((column,), np.mean, method="percentile", n_resamples=20_000, rng=0).confidence_interval
        assert entrant.rank == pytest.approx(column.mean())
        assert [entrant.rank_low, entrant.rank_high] == pytest.approx([theirs.low, theirs.high], abs=0.09)


def test_the_probability_of_improvement_is_mann_and_whitneys_over_the_pairs(planter):
    planter.cell(1.0, 3.0, 5.0, loss="kl")
    planter.cell(2.0, 3.0, 9.0, loss="gift")
    first, second = summary(pivot(planter.frame)).comparisons[0].entrants
    assert first.improvement == pytest.approx(stats.mannwhitneyu([2.0, 3.0, 9.0], [1.0, 3.0, 5.0]).statistic / 9)
    assert first.improvement + second.improvement == pytest.approx(1.0)


def test_only_what_shares_all_cells_is_compared_and_the_rest_is_named(planter):
    board(planter)
    planter.cell(99.0, 99.0, loss="mse", optimizer="sgd", dataset="d0", data="0" * 64)
    [losses] = summary(pivot(planter.frame)).comparisons
    assert losses.left_out == ("mse",)
    assert "mse" not in [entrant.name for entrant in losses.entrants]


def test_a_training_that_two_tables_show_counts_once(planter):
    board(planter)
    tables = pivot(planter.frame)
    assert summary([*tables, *tables]) == summary(tables)


def test_generalisation_is_one_number_over_students_with_an_interval_over_seeds(planter):
    for model, accuracies in (("a", (80.0, 84.0)), ("b", (60.0, 62.0))):
        for method, worse in (("RDED", 0.0), ("Random", 5.0)):
            runs = [accuracy - worse for accuracy in accuracies]
            planter.cell(*runs, model=model, method=method, distilled_on="a")
    [sets] = summary(pivot(planter.frame, columns="model")).comparisons
    rded = next(entrant for entrant in sets.entrants if entrant.name == "RDED")
    expected = stats.t.interval(0.95, 1, 71.5, stats.sem([70.0, 73.0]))
    assert (rded.accuracy, rded.gap) == (71.5, -21.0)
    assert [rded.accuracy_low, rded.accuracy_high] == pytest.approx(expected)
    assert "gap to its own student" in summary(pivot(planter.frame, columns="model")).markdown()


def test_where_no_set_says_what_it_was_distilled_on_there_is_no_gap(planter):
    said = board(planter)
    assert all(math.isnan(entrant.gap) for comparison in said.comparisons for entrant in comparison.entrants)
    assert "gap to its own student" not in said.markdown()


def test_a_board_opens_with_its_summary(planter, planted, tmp_path):
    board(planter)
    render(planter.board(tmp_path), named)
    readme = (tmp_path / "README.md").read_text("utf-8")
    assert readme.index("## Summary") < readme.index("## planted")
    assert "gift is the best loss" in readme


def test_nothing_to_compare_is_said():
    assert summary([]).sentence.startswith("Nothing here is compared")
