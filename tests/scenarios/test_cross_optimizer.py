"""The scenario that asks whether a set holds under other optimizers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

import harness
from harness.boards.trial import Trial
from harness.planning.preparation import Preparation
from harness.running.options import Options
from harness.running.overrides import Overrides
from harness.running.run import run_board
from harness.running.scenario import named
from tests.leaderboard.conftest import Planter

Planner = Callable[..., list[Trial]]


@pytest.fixture
def no_teacher(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Preparation, "teacher_files", lambda self: [])


@pytest.mark.usefixtures("no_teacher")
def test_the_default_optimizers_are_those_of_the_paper(plan: Planner) -> None:
    trials = plan(losses=["ce"])
    assert [trial.optimizer.name for trial in trials] == ["sgd", "adam", "adamw"]
    assert [trial.labels.learning_rate for trial in trials] == [0.1, 1e-3, 1e-3]
    assert {trial.scenario for trial in trials} == {"cross-optimizer"}


@pytest.mark.usefixtures("no_teacher")
def test_a_board_names_optimizers_with_parameters_and_those_of_timm(plan: Planner) -> None:
    optimizers = ["sgd(momentum=0)", {"name": "adamw", "lr": 0.01}, "lion"]
    trials = plan(losses=["ce"], scenarios=[{"name": "cross-optimizer", "optimizers": optimizers}])
    assert [trial.labels.optimizer for trial in trials] == ["sgd(momentum=0.0)", "adamw(lr=0.01)", "lion"]


@pytest.mark.usefixtures("no_teacher")
def test_only_the_optimizer_varies(plan: Planner) -> None:
    trials = plan(losses=["ce"])
    assert len({(trial.model, trial.loss, trial.protocol, trial.distilled, trial.seed) for trial in map(Frozen, trials)}) == 1


class Frozen:
    """A trial's values in a form that a set can hold."""

    def __init__(self, trial: object) -> None:
        for name in ("model", "loss", "protocol", "distilled", "seed"):
            setattr(self, name, str(getattr(trial, name)))


def test_the_tables_have_a_column_an_optimizer() -> None:
    scenario = named("cross-optimizer")
    assert (scenario.name, scenario.version, scenario.rows, scenario.columns) == ("cross-optimizer", 1, "loss", "optimizer")


def test_it_runs_to_a_record_with_an_accuracy_for_every_optimizer(tmp_path: Path) -> None:
    (tmp_path / "board.toml").write_text(
        'dataset = "digits"\nmodel = "convnet1(width=8)"\nprotocol = "smoke"\nlosses = "ce"\nseeds = 1\n'
        'sets = [{ method = "random", ipc = 1 }]\nscenarios = [{ name = "cross-optimizer", optimizers = ["sgd", "adamw"] }]\n'
    )
    summary = run_board(tmp_path, Overrides(), Options(device="cpu", jobs=1))
    assert (summary.planned, summary.ran, summary.failed) == (2, 2, {})
    frame = harness.records(tmp_path)
    assert frame["optimizer"].tolist() == ["sgd", "adamw"]
    assert frame["accuracy"].between(0, 100).all()
    assert (frame["best_accuracy"] >= frame["accuracy"]).all()
    assert (frame["top5_accuracy"] >= frame["accuracy"]).all()


def test_its_figure_has_a_panel_for_each_optimizer_and_intervals() -> None:
    planter = Planter()
    for optimizer, accuracy in (("sgd", 50.0), ("adamw", 60.0)):
        for loss in ("kl", "gift"):
            planter.cell(accuracy, accuracy + 1, scenario="cross-optimizer", loss=loss, optimizer=optimizer)
    scenario = named("cross-optimizer")
    (figure,) = scenario.figures(scenario.tables(planter.frame))
    assert [panel.title for panel in figure.panels] == ["IPC 10, sgd", "IPC 10, adamw"]
    assert figure.categories == ("kl", "gift")
    assert figure.title == "Accuracy by optimizer — digits"
    assert figure.caption == "Bars: 95 % intervals."
