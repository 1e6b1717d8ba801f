"""label-ablation: which parts of GIFT it takes alone, and what its table compares."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest

from harness.boards.records import Record
from harness.boards.trial import Trial
from harness.core.errors import BadOption
from tests.scenarios.looking import RANDOM, RDED, cell, tables_of

Planner = Callable[..., list[Trial]]
Run = Callable[..., list[Record]]


def test_the_ablation_takes_each_part_of_gift_alone(plan: Planner) -> None:
    trials = plan(sets=[RDED, {**RANDOM, "native": "soft_ce"}], scenarios=[{"name": "label-ablation", "gamma": 0.2}])
    found = [(t.labels.method, t.labels.own["labels"], t.labels.loss) for t in trials]
    assert found == [
        ("RDED", "native", "kl"),
        ("RDED", "native + refinement", "refined(gamma=0.2)"),
        ("RDED", "cosine", "cosine"),
        ("RDED", "gift", "gift(gamma=0.2)"),
        ("Random", "native", "soft_ce"),
        ("Random", "native + refinement", "refined(native=soft_ce, gamma=0.2)"),
        ("Random", "cosine", "cosine"),
        ("Random", "gift", "gift(gamma=0.2)"),
    ]


def test_the_ablation_may_leave_rows_out(plan: Planner) -> None:
    trials = plan(sets=[RDED], scenarios=[{"name": "label-ablation", "labels": ["native", "cosine", "gift"]}])
    assert [t.labels.own["labels"] for t in trials] == ["native", "cosine", "gift"]


def test_a_row_that_there_is_not_is_named_with_those_that_there_are(plan: Planner) -> None:
    rows = r"'native', 'native \+ refinement', 'cosine' or 'gift'"
    with pytest.raises(BadOption, match=rf"scenarios\[0\]\.labels\[1\] must be {rows}, not 'cosin'; did you mean 'cosine'"):
        plan(sets=[RDED], scenarios=[{"name": "label-ablation", "labels": ["native", "cosin"]}])


def test_a_set_trained_with_gift_has_no_second_gift_row(plan: Planner) -> None:
    trials = plan(sets=[{**RANDOM, "native": "gift"}], scenarios=["label-ablation"])
    assert [t.labels.own["labels"] for t in trials] == ["native", "native + refinement", "cosine"]


def test_sets_of_different_native_losses_stand_in_one_table_with_gains_over_their_own(run: Run) -> None:
    records = run({"name": "label-ablation"}, sets=[RDED, {**RANDOM, "native": "mse"}])
    (table,) = tables_of(records)
    assert {method for method, _ in table.row_labels} == {"RDED", "Random"}
    accuracy = {(r.trial.labels.method, r.trial.labels.own["labels"]): r.metrics["accuracy"] for r in records}
    for method in ("RDED", "Random"):
        assert math.isnan(cell(table, method=method, row="native")["gain"])
        for row in ("native + refinement", "cosine", "gift"):
            gain = accuracy[method, row] - accuracy[method, "native"]
            assert cell(table, method=method, row=row)["gain"] == pytest.approx(gain)
