"""The scenario that asks whether a set holds for other students."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from harness import models
from harness.boards.trial import Trial
from harness.planning.preparation import Preparation
from harness.running.scenario import named
from tests.leaderboard.conftest import Planter

Planner = Callable[..., list[Trial]]


@pytest.fixture(autouse=True)
def no_teacher(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Preparation, "teacher_files", lambda self: [])


class Seen:
    """A view that tells what is varied."""

    def vary(self, **changes: Any) -> list[Any]:
        return [changes]


def test_the_default_students_are_those_of_the_paper_and_all_are_registered() -> None:
    scenario = named("cross-architecture")
    varied = [str(changes["model"]) for changes in scenario.trials(Seen(), scenario.Options())]  # type: ignore[arg-type]
    assert varied == ["convnet3", "resnet18", "resnet101", "efficientnet-b0", "mobilenet-v2", "swin-v2-tiny"]
    assert {*varied} <= {*models.names()}


def test_a_board_names_students_with_parameters(plan: Planner) -> None:
    students = ["convnet1(width=4)", {"name": "convnet2", "width": 8}]
    trials = plan(losses=["ce"], scenarios=[{"name": "cross-architecture", "models": students}])
    assert [trial.labels.model for trial in trials] == ["convnet1(width=4)", "convnet2(width=8)"]
    assert [trial.model.name for trial in trials] == ["convnet1", "convnet2"]
    assert {trial.optimizer.name for trial in trials} == {"adamw"}


def test_a_transformer_is_trained_at_the_papers_rate_and_says_how_it_was_fitted(plan: Planner) -> None:
    models_ = ["convnet1(width=4)", "timm/vit_tiny_patch16_224"]
    convnet, vit = plan(losses=["ce"], scenarios=[{"name": "cross-architecture", "models": models_}])
    assert (convnet.labels.learning_rate, vit.labels.learning_rate) == (1e-3, 1e-4)
    assert (convnet.labels.adaptation, vit.labels.adaptation) == ("", "patch 2")
    assert convnet.labels.optimizer == vit.labels.optimizer == "adamw"


def test_the_tables_have_a_column_a_student() -> None:
    scenario = named("cross-architecture")
    assert (scenario.name, scenario.version, scenario.rows, scenario.columns) == ("cross-architecture", 1, "loss", "model")


def test_its_figure_has_a_panel_for_each_student_and_intervals() -> None:
    planter = Planter()
    for model, accuracy in (("convnet3", 50.0), ("resnet18", 60.0)):
        for loss in ("kl", "gift"):
            planter.cell(accuracy, accuracy + 1, scenario="cross-architecture", loss=loss, model=model)
    scenario = named("cross-architecture")
    (figure,) = scenario.figures(scenario.tables(planter.frame))
    assert [panel.title for panel in figure.panels] == ["IPC 10, convnet3", "IPC 10, resnet18"]
    assert figure.categories == ("kl", "gift")
    assert figure.title == "Accuracy by student — digits"
    assert figure.caption == "Bars: 95 % intervals."
