"""Trained networks on disk: one file each, by the digest of its weights."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from harness import models, teachers
from harness.core.errors import DataError, UnknownName
from harness.datasets.base import Dataset
from harness.teachers.files import FORMAT, TeacherFile
from tests.teachers.training import MODEL, blueprint


def test_weights_are_saved_by_their_digest_and_nothing_else_is_left(quarters: Dataset, file: TeacherFile) -> None:
    assert [path.name for path in file.path.parent.iterdir()] == [f"teacher-{file.digest[:20]}.safetensors"]
    read, _ = teachers.read_header(file.path)
    assert read == file
    assert (read.model, read.blueprint) == (MODEL, blueprint(quarters))


def edit(file: TeacherFile, change: Callable[[dict[str, Any], dict[str, torch.Tensor]], None]) -> TeacherFile:
    """Edit what a file says (its facts) or holds (its tensors), keep the rest, and read it again."""
    with safe_open(str(file.path), framework="pt") as opened:
        header = dict(opened.metadata())
    facts, state = json.loads(header["teacher"]), {name: t.clone() for name, t in load_file(str(file.path)).items()}
    change(facts, state)
    file.path.unlink()
    save_file(state, str(file.path), metadata=header | {"teacher": json.dumps(facts)})
    return teachers.read_header(file.path)[0]


def one_line(error: pytest.ExceptionInfo[DataError], path: Path) -> bool:
    return str(error.value).startswith(f"{path}: ") and "\n" not in str(error.value)


@pytest.mark.parametrize(
    "change",
    [
        lambda facts, state: state["classifier.bias"].add_(1e-6),
        lambda facts, state: state.pop("classifier.bias"),
        lambda facts, state: state.update(more=torch.zeros(1)),
        lambda facts, state: state.update({"classifier.bias": state["classifier.bias"].double()}),
        lambda facts, state: facts["recipe"]["model"]["options"].update(norm="instance"),
        lambda facts, state: facts.update(digest="0" * 64),
    ],
)
def test_edited_weights_are_refused(quarters: Dataset, copied: TeacherFile, change) -> None:
    edited = edit(copied, change)
    with pytest.raises(DataError, match="do not have the digest") as caught:
        teachers.load([edited], quarters, "cpu")
    assert one_line(caught, copied.path)


def test_a_teacher_of_another_number_of_classes_is_refused(quarters: Dataset, file: TeacherFile) -> None:
    with pytest.raises(DataError, match="does not fit") as caught:
        teachers.load([file], replace(quarters, classes=("a", "b", "c", "d")), "cpu")
    assert one_line(caught, file.path)


@pytest.mark.parametrize("content", [None, b"", b"weights", 100, -1])
def test_a_file_that_is_absent_or_cut_short_is_refused(
    quarters: Dataset, copied: TeacherFile, content: bytes | int | None
) -> None:
    whole = copied.path.read_bytes()
    copied.path.unlink()
    if content is not None:
        copied.path.write_bytes(whole[:content] if isinstance(content, int) else content)
    for read in (lambda: teachers.read_header(copied.path), lambda: teachers.load([copied], quarters, "cpu")):
        with pytest.raises(DataError) as caught:
            read()
        assert one_line(caught, copied.path)


@pytest.mark.parametrize(
    "metadata",
    [
        None,
        {"format": "giftbench.distilled-set/1"},
        {"format": FORMAT},
        {"format": FORMAT, "teacher": "{"},
        {"format": FORMAT, "teacher": "[]"},
        {"format": FORMAT, "teacher": "{}"},
        {"format": FORMAT, "teacher": "[" * 100_000},
    ],
)
def test_safetensors_that_are_no_teacher_are_refused(tmp_path: Path, metadata: dict[str, str] | None) -> None:
    save_file({"weight": torch.zeros(1)}, str(tmp_path / "x.safetensors"), metadata=metadata)
    with pytest.raises(DataError, match="not a teacher file") as caught:
        teachers.read_header(tmp_path / "x.safetensors")
    assert one_line(caught, tmp_path / "x.safetensors")


def test_a_teacher_whose_model_nobody_has_is_refused(quarters: Dataset, file: TeacherFile, tmp_path: Path) -> None:

    network = models.build(MODEL, quarters.shape, 3)
    models.registry.register("visiting")(lambda shape, classes: network)
    try:
        made = teachers.save(network, blueprint(quarters) | {"model": {"name": "visiting", "options": {}}}, 50.0, tmp_path)
    finally:
        models.registry.remove("visiting")
    with pytest.raises(UnknownName, match="visiting"):
        teachers.load([made], quarters, "cpu")


@pytest.mark.parametrize("board", ["continual-strategies", "rded-choices"])
def test_teachers_that_boards_carry_keep_their_digests(digits: Dataset, board: str) -> None:
    paths = list((Path(__file__).parents[2] / "leaderboards" / board / "artefacts").glob("teacher-*.safetensors"))
    assert paths
    for path in paths:
        file = teachers.read_header(path)[0]
        assert teachers.load([file], digits, "cpu").digests == (file.digest,)
        assert file.path.stem == f"teacher-{file.digest[:20]}"


def file_of(digest: str) -> TeacherFile:
    return TeacherFile(Path(), digest, MODEL, 0.0, {})


def test_how_an_ensemble_is_averaged_is_part_of_what_a_trial_says() -> None:
    files = [file_of("a"), file_of("b")]
    plain, norm = teachers.trial_digests(files, "mean"), teachers.trial_digests(files, "norm")
    assert plain == ("a", "b")
    assert norm != plain
    assert teachers.from_trial(plain) == (("a", "b"), "mean")
    assert teachers.from_trial(norm) == (("a", "b"), "norm")
    assert teachers.trial_digests(files[:1], "norm") == ("a",)  # of one network both are the same
    assert teachers.from_trial(()) == ((), "mean")
