"""label-regime: which labels each set meets, and what its table compares them with."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from harness.boards.records import Record
from harness.boards.trial import Trial
from harness.core.errors import BoardError
from harness.running.scenario import named
from tests.scenarios.looking import RANDOM, RDED, cell, fake, tables_of

Planner = Callable[..., list[Trial]]
Run = Callable[..., list[Record]]


def test_each_set_meets_three_kinds_of_labels(plan: Planner) -> None:
    trials = plan(losses=["gift", "ce"], sets=[RDED, RANDOM], scenarios=["label-regime"])
    found = [(t.labels.own["labels"], t.labels.method, t.protocol.labels, bool(t.teacher)) for t in trials]
    assert found == [
        ("hard (ce)", "RDED", "hard", False),
        ("hard (ce)", "Random", "hard", False),
        ("soft fixed (gift)", "RDED", "fixed", True),
        ("soft fixed (gift)", "Random", "fixed", True),
        ("soft online (gift)", "RDED", "teacher", True),
        ("soft online (gift)", "Random", "teacher", True),
    ]
    assert len({(t.protocol.epochs, t.protocol.batch_size) for t in trials}) == 1


def test_regimes_take_the_same_number_of_steps(run: Run) -> None:
    records = run({"name": "label-regime"}, sets=[RDED, RANDOM])
    assert len({r.metrics["steps"] for r in records}) == 1


def test_gains_are_over_the_random_images_under_the_same_labels(plan: Planner) -> None:
    trials = plan(seeds=2, sets=[RANDOM, RDED], scenarios=["label-regime"])
    level = {"hard": 50.0, "fixed": 60.0, "teacher": 70.0}
    ahead = {("RDED", "hard", 0): 4, ("RDED", "hard", 1): 6, ("RDED", "teacher", 0): -2, ("RDED", "teacher", 1): -4}
    made = fake(trials, lambda t: level[t.protocol.labels] + t.seed + ahead.get((t.labels.method, t.protocol.labels, t.seed), 0))
    (table,) = tables_of(made)
    assert (table.groups, table.rows) == ("labels", "set")
    gain = {r: cell(table, method=r, row="RDED", column="gain over random")["mean"] for r, _ in table.row_labels}
    assert gain == {"hard (ce)": 5.0, "soft fixed (gift)": 0.0, "soft online (gift)": -3.0}
    assert cell(table, method="hard (ce)", row="RDED", column="")["rank"] == 1
    assert cell(table, method="soft online (gift)", row="Random", column="")["rank"] == 1
    (figure,) = named("label-regime").figures([table])
    assert figure.zero
    assert figure.categories == ("RDED",)


def test_without_random_images_there_is_nothing_to_compare_with(plan: Planner) -> None:
    with pytest.raises(BoardError, match="no random images to compare with"):
        plan(sets=[RDED], scenarios=["label-regime"])
    with pytest.raises(BoardError, match="baseline: no set 'Nobody'"):
        plan(sets=[RDED, RANDOM], scenarios=[{"name": "label-regime", "baseline": "Nobody"}])


def test_hard_losses_alone_leave_no_regime_to_compare(plan: Planner) -> None:
    with pytest.raises(BoardError, match="none of the losses uses soft labels"):
        plan(losses=["ce"], sets=[RANDOM], scenarios=["label-regime"])
