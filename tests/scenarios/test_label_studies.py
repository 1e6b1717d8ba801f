"""loss-comparison, label-ablation, gamma-sweep, gradient-scale and label-regime: what they ask for, and what their tables say."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from harness.boards.board import Board
from harness.boards.records import Record, to_frame
from harness.boards.trial import Trial
from harness.core.errors import BadOption, BoardError
from harness.losses.targets import Targets
from harness.planning.artefacts import Artefacts
from harness.planning.preparation import Workshop
from harness.running.planning import plan as planned
from harness.running.scenario import named
from harness.running.workbench import Workbench
from tests.scenarios.looking import cell, tables_of

Planner = Callable[..., list[Trial]]
Run = Callable[..., list[Record]]

RDED = {"method": "rded", "title": "RDED", "ipc": 1, "candidates": 2, "crops": 1}
RANDOM = {"method": "random", "title": "Random", "ipc": 1, "native": "kl"}


# -- loss-comparison -----------------------------------------------------------------------------------------------------


def test_every_loss_meets_every_set_and_ipc_makes_the_columns(run: Run) -> None:
    sets = [RDED, {**RANDOM, "ipc": [1, 2]}]
    records = run({"name": "loss-comparison"}, losses=["gift", "kl", "ce"], sets=sets)
    assert len(records) == 3 * 3
    (table,) = tables_of(records)
    assert table.column_labels == (("1", ""), ("2", ""))
    assert table.row_labels[:3] == (("RDED", "kl"), ("RDED", "gift"), ("RDED", "ce"))  # native first
    assert cell(table, method="RDED", row="kl", ipc="1")["native"]
    gains = cell(table, method="Random", row="ce", ipc="2")["gain"]
    by_loss = {r.trial.loss.name: r.metrics["accuracy"] for r in records if r.trial.labels["ipc"] == 2}
    assert gains == pytest.approx(by_loss["ce"] - by_loss["kl"])
    (figure,) = named("loss-comparison").figures([table])
    assert figure.categories == ("kl", "gift", "ce")


# -- label-ablation ------------------------------------------------------------------------------------------------------


def test_the_ablation_takes_each_part_of_gift_alone(plan: Planner) -> None:
    trials = plan(sets=[RDED, {**RANDOM, "native": "soft_ce"}], scenarios=[{"name": "label-ablation", "gamma": 0.2}])
    found = [(t.labels["method"], t.labels["labels"], t.labels["loss"]) for t in trials]
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
    assert [t.labels["labels"] for t in trials] == ["native", "cosine", "gift"]


def test_a_set_trained_with_gift_has_no_second_gift_row(plan: Planner) -> None:
    trials = plan(sets=[{**RANDOM, "native": "gift"}], scenarios=["label-ablation"])
    assert [t.labels["labels"] for t in trials] == ["native", "native + refinement", "cosine"]


def test_sets_of_different_native_losses_stand_in_one_table_with_gains_over_their_own(run: Run) -> None:
    records = run({"name": "label-ablation"}, sets=[RDED, {**RANDOM, "native": "mse"}])
    (table,) = tables_of(records)
    assert {method for method, _ in table.row_labels} == {"RDED", "Random"}
    accuracy = {(r.trial.labels["method"], r.trial.labels["labels"]): r.metrics["accuracy"] for r in records}
    for method in ("RDED", "Random"):
        assert math.isnan(cell(table, method=method, row="native")["gain"])
        for row in ("native + refinement", "cosine", "gift"):
            gain = accuracy[method, row] - accuracy[method, "native"]
            assert cell(table, method=method, row=row)["gain"] == pytest.approx(gain)


# -- gamma-sweep ---------------------------------------------------------------------------------------------------------


def test_gamma_is_swept_with_the_other_parameters_held(plan: Planner) -> None:
    trials = plan(scenarios=[{"name": "gamma-sweep", "gammas": [0, 0.5], "loss": "gift(alpha=0.2)"}])
    assert [t.loss.options["gamma"] for t in trials] == [0.0, 0.5]
    assert {t.loss.options["alpha"] for t in trials} == {0.2}
    assert {t.labels["loss"] for t in trials} == {"gift(alpha=0.2)"}


def test_a_loss_without_gamma_is_refused(plan: Planner) -> None:
    with pytest.raises(BadOption, match="'kl' has no parameter 'gamma'"):
        plan(scenarios=[{"name": "gamma-sweep", "loss": "kl"}])


def planted(records: list[Record], accuracy: Callable[[Record], float]) -> list[Record]:
    """Return the records with accuracies that a test knows."""
    return [r.model_copy(update={"metrics": {**r.metrics, "accuracy": accuracy(r)}}) for r in records]


def fake(trials: list[Trial], accuracy: Callable[[Trial], float]) -> list[Record]:
    """Return records of trials that nobody ran."""
    return [Record.of(t, "done", metrics={"accuracy": accuracy(t)}, environment={"device": "CPU"}) for t in trials]


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
    (figure,) = named("gamma-sweep").figures([table])
    ((line,),) = [panel.lines for panel in figure.panels]
    assert (line.x, line.y) == ((0.0, 0.1, 0.5), (71.0, 82.0, pytest.approx(81.333, abs=1e-3)))


# -- gradient-scale ------------------------------------------------------------------------------------------------------


def test_the_multiplier_is_part_of_the_trial_and_of_its_loss(plan: Planner) -> None:
    trials = plan(losses=["ce"], scenarios=[{"name": "gradient-scale", "multipliers": ["1/400", 2], "optimizers": ["sgd"]}])
    assert [t.options for t in trials] == [{"multiplier": 1 / 400}, {"multiplier": 2.0}]
    assert len({t.id for t in trials}) == 2
    loss = named("gradient-scale").loss(trials[1], Workbench("cpu"))
    logits, targets = torch.randn(4, 10), Targets(torch.arange(4))
    assert loss(logits, targets) == 2 * torch.nn.functional.cross_entropy(logits, targets.labels())


@pytest.mark.parametrize("wrong", [0, -1, "1/0", "much", [1]])
def test_a_multiplier_that_is_none_is_refused(plan: Planner, wrong: object) -> None:
    with pytest.raises(BadOption, match=r"scenarios\[0\]\.multipliers"):
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
    assert (gain["mean"], gain["low"], gain["high"], gain["value"]) == (60.0, 60.0, 60.0, "+60.0 [60.0, 60.0]")
    assert cell(table, row="ce, sgd", column="best")["value"] == "× 20"
    assert cell(table, row="ce, adamw", column="gain over 1")["value"] == "—"
    (figure,) = named("gradient-scale").figures([table])
    assert [panel.title for panel in figure.panels] == ["random, sgd", "random, adamw"]
    assert figure.x_scale == "log"
    assert [label for _, label in figure.x_ticks] == ["1", "20"]


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


# -- label-regime --------------------------------------------------------------------------------------------------------


def test_each_set_meets_three_kinds_of_labels(plan: Planner) -> None:
    trials = plan(losses=["gift", "ce"], sets=[RDED, RANDOM], scenarios=["label-regime"])
    found = [(t.labels["labels"], t.labels["method"], t.protocol.labels, bool(t.teacher)) for t in trials]
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


def test_fixed_labels_are_the_teachers_logits_on_the_clean_images(tiny: Callable[..., Board], tmp_path: Path) -> None:
    artefacts = Artefacts(tmp_path / "artefacts")
    board = tiny(sets=[RANDOM], scenarios=[{"name": "label-regime"}])
    fixed = next(t for t in planned(Workshop(board, "b", artefacts, device="cpu")) if t.protocol.labels == "fixed")
    workbench = Workbench("cpu", artefacts)
    material, teacher = workbench.material(fixed), workbench.teacher(fixed)
    assert teacher is not None
    images = workbench.distilled(fixed).images
    assert torch.allclose(material.soft, teacher.logits(teacher.normalise(images)), atol=1e-5)  # type: ignore[arg-type]
    assert workbench.soft_labels(fixed) is None  # nobody asks the teacher again


def test_gains_are_over_the_random_images_under_the_same_labels(plan: Planner) -> None:
    trials = plan(seeds=2, sets=[RANDOM, RDED], scenarios=["label-regime"])
    level = {"hard": 50.0, "fixed": 60.0, "teacher": 70.0}
    ahead = {("RDED", "hard", 0): 4, ("RDED", "hard", 1): 6, ("RDED", "teacher", 0): -2, ("RDED", "teacher", 1): -4}
    made = fake(
        trials, lambda t: level[t.protocol.labels] + t.seed + ahead.get((t.labels["method"], t.protocol.labels, t.seed), 0)
    )
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


@pytest.mark.parametrize("name", ["loss-comparison", "label-ablation", "gamma-sweep", "gradient-scale", "label-regime"])
def test_a_table_of_half_the_records_holds_what_there_is(plan: Planner, name: str) -> None:
    trials = plan(seeds=2, sets=[RANDOM, RDED], scenarios=[name])
    made = fake(trials, lambda t: 50.0)[::3]
    failed: Any = Record.of(trials[1], "failed", error="boom")
    tables = named(name).tables(to_frame([*made, failed]))
    assert tables
    assert sum(int(n) for table in tables for n in table.cells["n"].fillna(0)) >= len(made)
