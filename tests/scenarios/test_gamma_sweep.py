"""gamma-sweep: which gammas it asks for, and what its table says of the best."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest

from harness.boards.records import Record
from harness.boards.trial import Trial
from harness.core.errors import BadOption
from harness.running.scenario import named
from tests.scenarios.looking import cell, fake, tables_of

Planner = Callable[..., list[Trial]]
Run = Callable[..., list[Record]]


def test_gamma_is_swept_with_the_other_parameters_held(plan: Planner) -> None:
    trials = plan(scenarios=[{"name": "gamma-sweep", "gammas": [0, 0.5], "loss": "gift(alpha=0.2)"}])
    assert [t.loss.options["gamma"] for t in trials] == [0.0, 0.5]
    assert {t.loss.options["alpha"] for t in trials} == {0.2}
    assert {t.labels.loss for t in trials} == {"gift(alpha=0.2)"}


def test_a_loss_without_gamma_is_refused(plan: Planner) -> None:
    with pytest.raises(BadOption, match="'kl' has no parameter 'gamma'"):
        plan(scenarios=[{"name": "gamma-sweep", "loss": "kl"}])


def test_the_best_gamma_stands_beside_its_interval_and_those_as_good(plan: Planner) -> None:
    trials = plan(seeds=3, scenarios=[{"name": "gamma-sweep", "gammas": [0.0, 0.1, 0.5]}])
    level = {0.0: [70, 71, 72], 0.1: [80, 82, 84], 0.5: [81, 80, 83]}
    (table,) = tables_of(fake(trials, lambda t: float(level[t.loss.options["gamma"]][t.seed])))
    assert cell(table, column="best")["value"] == "0.1"
    there = cell(table, column="accuracy there")
    half = 4.302652729911275 * 2 / math.sqrt(3)  # Student's t of 2 degrees of freedom, at 97.5 %
    assert (there["low"], there["high"]) == (pytest.approx(82 - half), pytest.approx(82 + half))
    assert there["value"] == f"82.0 [{82 - half:.1f}, {82 + half:.1f}]"
    assert cell(table, column="as good")["value"] == "0.1, 0.5"
    assert any("picked on the test split" in note for note in table.notes)
    assert any("Holm-corrected over the table's rows" in note for note in table.notes)
    (figure,) = named("gamma-sweep").figures([table])
    ((line,),) = [panel.lines for panel in figure.panels]
    assert (line.x, line.y) == ((0.0, 0.1, 0.5), (71.0, 82.0, pytest.approx(81.333, abs=1e-3)))
