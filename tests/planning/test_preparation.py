"""A board's mistakes show before a teacher is trained or a set is made."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from harness.boards.board import Board, checked
from harness.boards.native import STATISTICS
from harness.core.errors import GiftbenchError
from harness.datasets.base import Dataset, Split
from harness.planning.preparation import Artefacts, Preparation
from harness.running.opening import open_board
from harness.running.options import Options
from harness.running.overrides import Overrides
from harness.running.planning import plan
from harness.running.run import run_board
from tests.conftest import TINY, board_text

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


@pytest.mark.parametrize(
    ("protocol", "stated", "statistics"),
    [
        ("native:rded", {}, STATISTICS["imagenet"]),
        ("native:rded", {"mean": (0.5, 0.5, 0.5), "std": (0.25, 0.25, 0.25)}, ((0.5, 0.5, 0.5), (0.25, 0.25, 0.25))),
        ({"name": "native:rded", "normalisation": "dataset"}, {}, None),
        ("native:gvbsm", {}, None),
        ("paper", {}, None),
    ],
)
@pytest.mark.parametrize("published", [False, True])
def test_a_teacher_sees_images_as_its_students_authors_normalise_them(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    protocol: object,
    stated: dict[str, tuple[float, ...]],
    statistics: tuple[tuple[float, ...], ...] | None,
    published: bool,
) -> None:
    """RDED's own code normalises CIFAR by ImageNet's statistics, for the teacher as for the student."""
    pixels = Split(torch.zeros(2, 3, 32, 32, dtype=torch.uint8), torch.tensor([0, 1]))
    cifar = Dataset("cifar10", pixels, pixels, ("a", "b"), (0.4, 0.4, 0.4), (0.2, 0.2, 0.2))
    monkeypatch.setattr("harness.datasets.load", lambda name, data_dir: cifar)
    (tmp_path / "weights.pt").write_bytes(b"weights")
    teacher = {"model": "convnet1(width=4)", **stated, **({"checkpoint": "weights.pt"} if published else {})}
    read = checked(Board, {**TINY, "dataset": "cifar10", "protocol": protocol, "teacher": teacher}, "board.toml")
    artefacts = Artefacts(tmp_path / "artefacts", tmp_path / "cache")
    (file,) = Preparation(read, "board.toml", artefacts, None, "cpu", folder=tmp_path).rehearsal().teacher_files()
    own = (cifar.mean, cifar.std)
    assert file.statistics(cifar) == (statistics or own)
    assert ("mean" in file.blueprint) == (statistics is not None), "a teacher that the dataset's statistics serve is found again"
