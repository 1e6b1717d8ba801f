"""Why a published teacher is not as good here: the usual mistakes are recognised."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from harness.core.errors import DataError
from harness.datasets.base import Dataset
from harness.teachers.files import TeacherFile
from tests.teachers.publishing import MODEL, converted, published, trained


def failure(path: Path, dataset: Dataset, folder: Path, expect: float, **changes: Any) -> str:
    with pytest.raises(DataError) as caught:
        converted(path, dataset, folder, expect, **changes)
    message = str(caught.value)
    assert message.startswith(f"{path}: {MODEL} reaches ")
    assert f"on the test split of {dataset.name}" in message
    assert f"expected {expect:g} within 1" in message
    assert "\n" not in message
    assert not list(folder.glob("teacher-*"))
    return message


def test_another_accuracy_than_expected_is_refused_with_both_numbers(
    digits: Dataset, teacher: TeacherFile, checkpoint: Path, tmp_path: Path
) -> None:
    message = failure(checkpoint, digits, tmp_path, expect=20.0)
    assert f"reaches {teacher.accuracy:.1f} %" in message
    assert "is it for this dataset, and this model?" in message


def test_a_teacher_of_minus_one_to_one_pixels_is_recognised(digits: Dataset, tmp_path: Path) -> None:
    file = trained(replace(digits, mean=(0.5,), std=(0.5,)), tmp_path / "trained")
    path = published(file, tmp_path / "net.pth")
    message = failure(path, digits, tmp_path, expect=file.accuracy)
    remedy = f"with pixels in [-1, 1] it reaches {file.accuracy:.1f} %: give teacher.mean = [0.5] and teacher.std = [0.5]"
    assert remedy in message
    made = converted(path, digits, tmp_path, expect=file.accuracy, mean=[0.5], std=[0.5])
    assert made.accuracy == file.accuracy


def test_a_teacher_of_imagenets_statistics_is_recognised(digits: Dataset, tmp_path: Path) -> None:
    def coloured(dataset: Dataset) -> Dataset:
        splits = (replace(split, images=split.images.expand(-1, 3, -1, -1)) for split in (dataset.train, dataset.test))
        return Dataset("coloured", *splits, dataset.classes, (0.1, 0.9, 0.3), (0.5, 0.2, 0.9))

    images = coloured(digits)
    authors = replace(images, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
    file = trained(authors, tmp_path / "trained")
    message = failure(published(file, tmp_path / "net.pth"), images, tmp_path, expect=file.accuracy)
    assert f"with ImageNet's statistics it reaches {file.accuracy:.1f} %: give teacher.mean = [0.485, 0.456, 0.406]" in message


def test_a_teacher_of_blue_green_red_images_is_recognised(digits: Dataset, tmp_path: Path) -> None:
    def coloured(dataset: Dataset, shares: tuple[int, ...]) -> Dataset:
        parts = torch.tensor(shares, dtype=torch.int16).view(1, 3, 1, 1)
        splits = (replace(s, images=(s.images.short() // parts).to(torch.uint8)) for s in (dataset.train, dataset.test))
        return Dataset("coloured", *splits, dataset.classes, (0.1, 0.1, 0.1), (0.3, 0.3, 0.3))

    file = trained(coloured(digits, (1, 4, 50)), tmp_path / "trained")
    message = failure(published(file, tmp_path / "net.pth"), coloured(digits, (50, 4, 1)), tmp_path, expect=file.accuracy)
    assert f"with blue, green, red images it reaches {file.accuracy:.1f} %" in message


def test_a_teacher_whose_classes_are_numbered_otherwise_is_recognised(
    digits: Dataset, teacher: TeacherFile, tmp_path: Path
) -> None:
    path = published(teacher, tmp_path / "net.pth", order=[3, 0, 1, 2, 4, 5, 9, 8, 7, 6])
    message = failure(path, digits, tmp_path, expect=teacher.accuracy)
    assert f"with its classes in another order it reaches {teacher.accuracy:.1f} %" in message
    assert "give teacher.mean" not in message
