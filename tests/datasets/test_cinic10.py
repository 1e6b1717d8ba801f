"""CINIC-10 as its archive unpacks: class folders of PNGs in train/, valid/ and test/."""

from __future__ import annotations

from pathlib import Path

import numpy
import pytest
from PIL import Image

from harness import datasets
from harness.core.errors import DataError
from harness.datasets.cards import CIFAR10
from harness.files import decoding


def write(root: Path) -> Path:
    for split in ("train", "valid", "test"):
        for index, name in enumerate(CIFAR10):
            (root / split / name).mkdir(parents=True)
            pixels = numpy.random.default_rng(index).integers(0, 256, (32, 32, 3), dtype=numpy.uint8)
            Image.fromarray(pixels).save(root / split / name / f"n0{index}.png")
            Image.fromarray(pixels[..., 0]).save(root / split / name / "cifar10-grey.png")
    return root


@pytest.fixture(autouse=True)
def no_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoding, "IMAGES_PER_WORKER", 1 << 20)


@pytest.mark.parametrize("inside", [".", "CINIC-10", "cinic-10", "CINIC-10/CINIC-10"])
def test_class_folders_become_splits(tmp_path: Path, inside: str) -> None:
    write(tmp_path / inside)
    cinic = datasets.load("cinic10", tmp_path)
    assert (cinic.shape, cinic.classes) == ((3, 32, 32), CIFAR10)
    assert cinic.test.labels.tolist() == [index for index in range(10) for _ in range(2)]
    assert cinic.train.labels.tolist() == cinic.test.labels.tolist()
    assert (cinic.mean, cinic.std) == ((0.4789, 0.4723, 0.4305), (0.2421, 0.2383, 0.2587))
    assert datasets.at_hand("cinic10", tmp_path)[0]


def test_absent_files_are_answered_by_the_line_that_helps(tmp_path: Path, refused) -> None:
    with refused(DataError, "cinic10", "put CINIC-10/"):
        datasets.load("cinic10", tmp_path)
    write(tmp_path / "sets" / "CINIC-10")
    with refused(DataError, f"--data-dir {tmp_path / 'sets'}"):
        datasets.load("cinic10", tmp_path)


def test_another_dataset_in_class_folders_is_not_taken_for_it(tmp_path: Path) -> None:
    for split in ("train", "test"):
        (tmp_path / split / "airplane").mkdir(parents=True)
    assert not datasets.at_hand("cinic10", tmp_path)[0]
