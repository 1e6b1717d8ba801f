"""gradient-scale: what a multiplier changes, and what its table and figure say of it."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
import torch

import harness
from harness.boards.records import Record
from harness.boards.trial import Trial
from harness.core.errors import BadOption
from harness.losses.targets import Targets
from harness.running.scenario import named
from harness.running.workbench import Workbench
from tests.scenarios.looking import cell, fake, tables_of

Planner = Callable[..., list[Trial]]
Run = Callable[..., list[Record]]


def test_the_multiplier_is_part_of_the_trial_and_of_its_loss(plan: Planner) -> None:
    trials = plan(losses=["ce"], scenarios=[{"name": "gradient-scale", "multipliers": ["1/400", 2], "optimizers": ["sgd"]}])
    assert [t.options for t in trials] == [{"multiplier": 1 / 400}, {"multiplier": 2.0}]
    assert len({t.id for t in trials}) == 2
    loss = named("gradient-scale").loss(trials[1], Workbench("cpu"))
    logits, targets = torch.randn(4, 10), Targets(torch.arange(4))
    assert loss(logits, targets) == 2 * torch.nn.functional.cross_entropy(logits, targets.labels())


@pytest.mark.parametrize("wrong", [0, -1, "1/0", "much", [1]])
def test_a_multiplier_that_is_none_is_refused(plan: Planner, wrong: object) -> None:
    with pytest.raises(
        BadOption, match=r"scenarios\[0\]\.multipliers\[0\] must be a number above 0, or a fraction such as \"1/400\", not"
    ):
        plan(scenarios=[{"name": "gradient-scale", "multipliers": [wrong]}])


def test_the_multiplier_changes_training_under_sgd(run: Run) -> None:
    scenario = {"name": "gradient-scale", "multipliers": [1, "1/400"], "optimizers": ["sgd"]}
    first, second = run(scenario, losses=["ce"], protocol={"name": "smoke", "epochs": 30})
    assert first.metrics["accuracy"] > second.metrics["accuracy"]


def test_the_gain_over_one_is_paired_by_seed(plan: Planner) -> None:
    scenario = {"name": "gradient-scale", "multipliers": [1, 20], "optimizers": ["sgd", "adamw"]}
    trials = plan(losses=["ce", "mse"], seeds=2, scenarios=[scenario])
    level = {("sgd", 1.0): 20, ("sgd", 20.0): 80, ("adamw", 1.0): 90, ("adamw", 20.0): 88}
    made = fake(trials, lambda t: level[t.optimizer.name, t.options["multiplier"]] + (3.0 if t.seed else 0.0))
    (table,) = tables_of(made)
    assert [row for _, row in table.row_labels] == ["ce, sgd", "ce, adamw", "mse, sgd", "mse, adamw"]
    gain = cell(table, row="ce, sgd", column="gain over 1")
    assert (gain["mean"], gain["std"], gain["value"]) == (60.0, 0.0, "+60.0 [49.0, 71.0]")  # of two pairs, read in threes
    assert cell(table, row="ce, sgd", column="best")["value"] == "× 20"
    assert cell(table, row="ce, adamw", column="gain over 1")["value"] == "—"
    (figure,) = named("gradient-scale").figures([table])
    assert [panel.title for panel in figure.panels] == ["random, sgd", "random, adamw"]
    assert figure.x_scale == "log"
    assert [label for _, label in figure.x_ticks] == ["1", "20"]


def test_the_gains_interval_allows_for_the_multipliers_that_the_best_was_picked_from(plan: Planner) -> None:
    """Without a true difference the best of five is above 1 by its 95 % interval more often than in 5 % of rows."""
    scenario = {"name": "gradient-scale", "multipliers": [1, 5, 20, 400], "optimizers": ["sgd"]}
    trials = plan(losses=["ce"], seeds=3, scenarios=[scenario])
    draws = random.Random(4)
    made = fake(trials, lambda t: 90.0 * (t.options["multiplier"] == 20) + draws.uniform(1, 9))
    (table,) = tables_of(made)
    seeds = [table.seeds("random", "ce, sgd", "1", multiplier) for multiplier in ("20", "1")]
    expected = harness.statistics.paired_difference(*seeds, 1 - 0.05 / 3)
    gain = cell(table, row="ce, sgd", column="gain over 1")
    assert (gain["low"], gain["high"]) == (expected.low, expected.high)


def test_a_figure_of_half_the_records_has_every_point_on_its_own_line(plan: Planner) -> None:
    """A cell that nobody ran must not lend its row another loss or optimizer."""
    scenario = {"name": "gradient-scale", "multipliers": [1, 20], "optimizers": ["sgd", "adamw"]}
    trials = plan(losses=["ce", "mse"], scenarios=[scenario])
    level = {("ce", "sgd"): 10.0, ("ce", "adamw"): 20.0, ("mse", "sgd"): 30.0, ("mse", "adamw"): 40.0}
    ran = [t for t in trials if t.options["multiplier"] == 1 or (t.loss.name == "ce" and t.optimizer.name == "sgd")]
    tables = tables_of(fake(ran, lambda t: level[t.loss.name, t.optimizer.name]))
    (figure,) = named("gradient-scale").figures(tables)
    found = {(line.label, panel.title): line.y[0] for panel in figure.panels for line in panel.lines}
    assert found == {(loss, f"random, {optimizer}"): y for (loss, optimizer), y in level.items()}
    missing = cell(tables[0], row="mse, adamw", column="20")
    assert (missing["loss"], missing["optimizer"], missing["n"]) == ("", "", 0)
