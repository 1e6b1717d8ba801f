"""What the tests of teachers share: a small dataset and its teacher; digits, their teacher, and its published checkpoint."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from harness import datasets
from harness.datasets.base import Dataset
from harness.teachers.files import TeacherFile
from tests.teachers import training
from tests.teachers.publishing import published, trained


@pytest.fixture(scope="session")
def digits() -> Dataset:
    return datasets.load("digits")


@pytest.fixture(scope="session")
def teacher(digits: Dataset, tmp_path_factory: pytest.TempPathFactory) -> TeacherFile:
    found = trained(digits, tmp_path_factory.mktemp("trained"))
    assert found.accuracy > 85
    return found


@pytest.fixture(scope="session")
def checkpoint(teacher: TeacherFile, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return published(teacher, tmp_path_factory.mktemp("published") / "digits_conv2.pth")


@pytest.fixture(scope="session")
def quarters() -> Dataset:
    return Dataset("quarters", training.split(60, 0), training.split(45, 1), ("a", "b", "c"), (0.4,), (0.25,), teacher_epochs=2)


@pytest.fixture(scope="session")
def file(quarters: Dataset, tmp_path_factory: pytest.TempPathFactory) -> TeacherFile:
    """A trained teacher; tests that damage it work on a copy."""
    return training.trained(quarters, tmp_path_factory.mktemp("teacher"))


@pytest.fixture
def copied(file: TeacherFile, tmp_path: Path) -> TeacherFile:
    path = tmp_path / file.path.name
    path.write_bytes(file.path.read_bytes())
    return replace(file, path=path)
