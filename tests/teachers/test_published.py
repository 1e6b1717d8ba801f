"""A teacher made of a published checkpoint: described, converted, held against its accuracy."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision

from harness import teachers
from harness.boards.board import TeacherSpec
from harness.core.errors import BadOption, DataError
from harness.core.spec import Spec
from harness.datasets.base import Dataset, normalise
from harness.planning.artefacts import Artefacts
from harness.planning.preparation import Preparation
from harness.teachers.files import TeacherFile
from tests.teachers.publishing import MODEL, converted, described, fitted, inputs, network, published, saved


def test_a_checkpoint_as_good_as_expected_becomes_a_teacher(
    digits: Dataset, teacher: TeacherFile, checkpoint: Path, tmp_path: Path
) -> None:
    made = converted(checkpoint, digits, tmp_path, expect=teacher.accuracy + 0.9)
    assert (made.accuracy, made.model, made.digest) == (teacher.accuracy, MODEL, teacher.digest)
    assert teachers.read_header(made.path)[0] == made
    ours, theirs = (teachers.load([file], digits, "cpu").logits(inputs(digits)) for file in (made, teacher))
    assert torch.equal(ours, theirs)


def test_what_was_done_to_a_head_is_kept_with_the_teacher(digits: Dataset, teacher: TeacherFile, tmp_path: Path) -> None:
    path = published(teacher, tmp_path / "wide.pth", order=[*range(10), *range(10)])
    made = converted(path, digits, tmp_path, expect=teacher.accuracy)
    notes = teachers.read_header(made.path)[0].notes
    assert notes[0] == "the first 10 of the 20 classes of its head" and [note[:10] for note in notes[1:]] == ["padding=1:"]


def test_a_blueprint_is_json_and_names_the_bytes_the_model_the_data_and_the_normalisation(
    digits: Dataset, checkpoint: Path, tmp_path: Path
) -> None:
    found = described(checkpoint, digits)
    assert json.loads(json.dumps(found)) == found == described(checkpoint, digits, expect=50.0, tolerance=2.0, seed=3)
    assert "mean" not in found
    assert described(checkpoint, digits, mean=list(digits.mean), std=list(digits.std)) == found
    other = saved({"model": network(shape=(1, 16, 16), classes=10).state_dict()}, tmp_path / checkpoint.name)
    changed = [
        described(other, digits),
        described(checkpoint, digits, model="convnet2(width=4)"),
        described(checkpoint, digits, mean=[0.5], std=[0.5]),
        described(checkpoint, replace(digits, mean=(0.1,))),
    ]
    assert all(each != found for each in changed)


def test_a_subset_of_classes_is_part_of_the_blueprint(digits: Dataset, checkpoint: Path) -> None:
    subset = replace(digits)
    object.__setattr__(subset, "class_indices", tuple(range(10, 20)))
    assert described(checkpoint, subset)["rows"] == list(range(10, 20))


@pytest.mark.parametrize(
    "changes",
    [{"mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5]}, {"mean": [0.5], "std": [0.0]}, {"mean": [float("nan")], "std": [1.0]}],
)
def test_statistics_that_do_not_fit_the_images_are_refused(digits: Dataset, checkpoint: Path, changes: dict[str, Any]) -> None:
    with pytest.raises(BadOption, match="mean and std must be 1 numbers each for digits"):
        described(checkpoint, digits, **changes)


def test_a_teacher_that_was_kept_is_held_against_what_is_expected_too(
    digits: Dataset, teacher: TeacherFile, checkpoint: Path, tmp_path: Path
) -> None:
    made = converted(checkpoint, digits, tmp_path, mean=[0.9], std=[0.1])
    assert teachers.confirm(made, checkpoint, digits, "cpu", None) is made
    assert teachers.confirm(made, checkpoint, digits, "cpu", made.accuracy + 0.5) is made
    with pytest.raises(DataError, match=r"with the statistics of digits it reaches .* give teacher\.mean = \[0.3052\]") as caught:
        teachers.confirm(made, checkpoint, digits, "cpu", teacher.accuracy)
    assert str(caught.value).startswith(f"{checkpoint}: {MODEL} reaches {made.accuracy:.1f} %")


def test_a_board_takes_a_checkpoint_that_lies_beside_it_and_holds_it_against_what_it_expects(
    tiny: Any, teacher: TeacherFile, checkpoint: Path, tmp_path: Path
) -> None:
    def files(**expected: float) -> list[TeacherFile]:
        board = tiny(model=MODEL, teacher={"model": MODEL, "checkpoint": checkpoint.name} | expected)
        shop = Preparation(
            board, "board.toml", Artefacts(tmp_path / "artefacts", tmp_path), device="cpu", folder=checkpoint.parent
        )
        return shop.teacher_files()

    assert [(file.digest, file.accuracy) for file in files()] == [(teacher.digest, teacher.accuracy)]
    assert files(expect=teacher.accuracy) == files()
    with pytest.raises(DataError, match=f"board.toml: teacher: {checkpoint}: .* reaches .* expected 50 within 1"):
        files(expect=50.0)


def test_a_teacher_of_other_statistics_sees_images_as_its_authors_do(digits: Dataset, checkpoint: Path, tmp_path: Path) -> None:
    mean, std = (0.2,), (0.7,)
    made = converted(checkpoint, digits, tmp_path, mean=list(mean), std=list(std))
    assert made.blueprint["mean"] == [0.2]
    plain = network(shape=(1, 16, 16), classes=10).eval()
    plain.load_state_dict(fitted(checkpoint, shape=(1, 16, 16), classes=10).state)
    with torch.no_grad():
        theirs = plain(normalise(digits.test.images[:50], mean, std))
    loaded = teachers.load([made], digits, "cpu")
    assert torch.allclose(loaded.logits(inputs(digits)), theirs, atol=1e-4)
    features = loaded.features(inputs(digits))
    assert torch.allclose(plain.classifier(features), theirs, atol=1e-4)
    assert not loaded.networks[0].training


def test_the_statistics_are_part_of_a_teachers_digest(digits: Dataset, checkpoint: Path, tmp_path: Path) -> None:
    first = converted(checkpoint, digits, tmp_path)
    second = converted(checkpoint, digits, tmp_path, mean=[0.2], std=[0.7])
    assert first.digest != second.digest
    both = teachers.load([first, second], digits, "cpu")
    alone = [teachers.load([file], digits, "cpu").logits(inputs(digits)) for file in (first, second)]
    assert torch.allclose(both.logits(inputs(digits)), sum(alone) / 2, atol=1e-5)
    assert not torch.allclose(*alone, atol=1e-2)


def test_torchvisions_weights_on_a_thousand_classes_serve_a_subset(digits: Dataset, tmp_path: Path) -> None:
    path = saved(torchvision.models.resnet18().state_dict(), tmp_path / "imagenet-1k_resnet18.pth")
    images = replace(digits.test, images=digits.test.images[:30].expand(-1, 3, -1, -1), labels=digits.test.labels[:30])
    subset = Dataset("imagenette", images, images, digits.classes, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    object.__setattr__(subset, "class_indices", (0, 217, 482, 491, 497, 566, 569, 571, 574, 701))
    spec = TeacherSpec(models=(Spec(name="resnet18"),))
    blueprint = teachers.checkpoint_blueprint(path, spec.models[0], subset, spec)
    made = teachers.convert(blueprint, path, subset, tmp_path, "cpu")
    assert made.notes == ("10 of the 1000 classes of its head",)
