"""A board's mistakes show before a teacher is trained or a set is made."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from harness.core.errors import GiftbenchError
from harness.planning.preparation import Artefacts, Preparation
from harness.running.opening import open_board
from harness.running.options import Options
from harness.running.overrides import Overrides
from harness.running.planning import plan
from harness.running.run import run_board
from tests.conftest import board_text

CROSS_OPTIMIZER = {"name": "cross-optimizer"}


def board(folder: Path, scenario: dict[str, Any] = CROSS_OPTIMIZER) -> Path:
    text = board_text(sets=[{"method": "rded", "ipc": [1, 2]}], scenarios=[scenario])
    (folder / "board.toml").write_text(text)
    return folder


@pytest.mark.parametrize(
    ("scenario", "message"),
    [
        ({"optimizers": ["sgdd"]}, "no optimizer 'sgdd'; did you mean 'sgd'"),
        ({"name": "cross-architecture", "models": ["resnet81"]}, "no model 'resnet81'; did you mean 'resnet18'"),
        ({"optimisers": ["sgd"]}, "did you mean 'optimizers'"),
        ({"sets": "rdde"}, "no set 'rdde' on this board; did you mean 'rded'"),
        ({"ipc": 5}, "no set of this board has IPC 5"),
        ({"protocol": {"name": "smoke", "labels": "hard"}}, "loss 'gift' needs soft labels"),
    ],
)
@pytest.mark.usefixtures("cache")
def test_mistakes_are_answered_before_anything_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scenario: dict[str, Any], message: str
) -> None:
    monkeypatch.setattr("harness.teachers.teacher.train", lambda *a, **k: pytest.fail("trained a teacher first"))
    with pytest.raises(GiftbenchError) as error:
        run_board(board(tmp_path, CROSS_OPTIMIZER | scenario), Overrides(), Options(jobs=1))
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_a_rehearsal_plans_as_many_trials_as_the_real_plan_and_writes_nothing(tmp_path: Path) -> None:
    file, read, _ = open_board(board(tmp_path))
    preparation = Preparation(
        read, str(file), Artefacts(tmp_path / "artefacts", tmp_path / "cache"), None, "cpu", folder=tmp_path
    )
    rehearsed = plan(preparation.rehearsal())
    assert not (tmp_path / "artefacts").exists()
    real = plan(preparation)
    assert len(rehearsed) == len(real) == 6
    assert [t.labels.ipc for t in rehearsed] == [t.labels.ipc for t in real]
    assert {t.id for t in rehearsed}.isdisjoint(t.id for t in real)


def test_a_survey_plans_with_what_is_at_hand_names_what_is_not_and_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, read, _ = open_board(board(tmp_path))
    preparation = Preparation(
        read, str(file), Artefacts(tmp_path / "artefacts", tmp_path / "cache"), None, "cpu", folder=tmp_path
    )
    survey = preparation.survey()
    assert survey.networks() == {}
    plan(survey)
    teacher = "teacher convnet1(width=8) of digits"
    assert sorted(survey.absent) == ["rded of digits at IPC 1", "rded of digits at IPC 2", teacher]
    assert not (tmp_path / "artefacts").exists()
    assert not (tmp_path / "cache").exists()
    real = plan(preparation)
    monkeypatch.setattr("harness.teachers.teacher.train", lambda *a, **k: pytest.fail("trained a teacher"))
    (tmp_path / "artefacts" / f"set-{real[-1].distilled[:20]}.safetensors").unlink()
    survey = preparation.survey()
    surveyed = plan(survey)
    assert survey.absent == ["rded of digits at IPC 2"]
    assert [trial.id for trial in surveyed if trial.labels.ipc == 1] == [trial.id for trial in real if trial.labels.ipc == 1]
    assert {teacher: [model.name for model in models] for teacher, models in survey.networks().items()} == {
        real[0].teacher: ["convnet1"]
    }
