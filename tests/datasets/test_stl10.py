"""STL-10 from binary files as published: planes of red, green and blue, each column by column; labels from 1."""

from __future__ import annotations

from pathlib import Path

import numpy
import pytest

from harness import datasets
from harness.core.errors import DataError
from harness.datasets import stl10

COUNTS = {"train": 4, "test": 10}


def pixels(split: str) -> numpy.ndarray:
    """Images [N, height, width, channel], as one would look at them."""
    return numpy.random.default_rng(COUNTS[split]).integers(0, 256, (COUNTS[split], 96, 96, 3), dtype=numpy.uint8)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(stl10, "IMAGES", COUNTS)
    root = tmp_path / "stl10_binary"
    root.mkdir()
    for split, count in COUNTS.items():
        with (root / f"{split}_X.bin").open("wb") as file:
            for image in pixels(split):
                for channel in range(3):
                    for column in range(96):
                        file.write(image[:, column, channel].tobytes())
        (root / f"{split}_y.bin").write_bytes(bytes(1 + i % 10 for i in range(count)))
    return root


def test_images_stand_upright_and_labels_begin_at_zero(folder: Path) -> None:
    stl = datasets.load("stl10", folder.parent)
    assert stl.shape == (3, 96, 96)
    for split, read in (("train", stl.train), ("test", stl.test)):
        assert numpy.array_equal(read.images.permute(0, 2, 3, 1).numpy(), pixels(split))
    assert stl.test.labels.tolist() == list(range(10))
    assert stl.classes[0] == "airplane"
    assert stl.classes[7] == "monkey"
    assert (stl.mean, stl.std) == ((0.4467, 0.4398, 0.4066), (0.2603, 0.2566, 0.2713))


@pytest.mark.parametrize("name", ["train_X.bin", "test_y.bin"])
def test_a_file_of_another_size_is_refused(folder: Path, name: str, refused) -> None:
    whole = (folder / name).read_bytes()
    (folder / name).write_bytes(whole[:-1])
    with refused(DataError, folder / name, len(whole) - 1, len(whole)):
        datasets.load("stl10", folder.parent)


@pytest.mark.parametrize("label", [0, 11])
def test_labels_outside_one_to_ten_are_refused(folder: Path, label: int, refused) -> None:
    (folder / "test_y.bin").write_bytes(bytes([label] * 10))
    with refused(DataError, folder / "test_y.bin", f"{label}..{label}", "1..10"):
        datasets.load("stl10", folder.parent)


def test_what_lies_elsewhere_is_answered_by_the_line_that_helps(folder: Path, tmp_path: Path, refused) -> None:
    with refused(DataError, "stl10", f"--data-dir {tmp_path}"):
        datasets.load("stl10", folder)
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "stl10_binary.tar.gz").touch()
    with refused(DataError, f"tar -xf {tmp_path}/empty/stl10_binary.tar.gz -C {tmp_path}/empty"):
        datasets.load("stl10", tmp_path / "empty")
