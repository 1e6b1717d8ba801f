"""SVHN's cropped digits from MATLAB files as published: X [32, 32, 3, N] uint8, y [N, 1] in 1..10."""

from __future__ import annotations

from pathlib import Path

import numpy
import pytest
import scipy.io

from harness import datasets
from harness.core.errors import DataError

COUNTS = {"train": 12, "test": 10}


def pixels(split: str) -> numpy.ndarray:
    return numpy.random.default_rng(COUNTS[split]).integers(0, 256, (32, 32, 3, COUNTS[split]), dtype=numpy.uint8)


def write(folder: Path, **changed: object) -> Path:
    """Write both files, as MATLAB saves them; `changed` are other values of the test file's variables."""
    folder.mkdir(parents=True, exist_ok=True)
    for split, count in COUNTS.items():
        labels = (numpy.arange(count, dtype=numpy.uint8) % 10 + 1)[:, None]
        content = {"X": pixels(split), "y": labels} | (changed if split == "test" else {})
        kept = {name: value for name, value in content.items() if value is not None}
        scipy.io.savemat(folder / f"{split}_32x32.mat", kept, do_compression=True)
    return folder


@pytest.mark.parametrize("inside", [".", "svhn", "SVHN"])
def test_images_and_labels_are_read_and_ten_is_the_digit_zero(tmp_path: Path, inside: str) -> None:
    write(tmp_path / inside)
    svhn = datasets.load("svhn", tmp_path)
    assert svhn.shape == (3, 32, 32)
    assert svhn.test.labels.tolist() == [1, 2, 3, 4, 5, 6, 7, 8, 9, 0]
    for split, read in (("train", svhn.train), ("test", svhn.test)):
        for image in range(COUNTS[split]):
            assert numpy.array_equal(read.images[image].permute(1, 2, 0).numpy(), pixels(split)[..., image])
    assert (svhn.mean, svhn.std) == ((0.4377, 0.4438, 0.4728), (0.1980, 0.2010, 0.1970))
    assert datasets.at_hand("svhn", tmp_path)[0]


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"X": None}, ("X is absent", "[32, 32, 3, N]")),
        ({"y": None}, ("its y is []", "[10, 1]")),
        ({"X": numpy.zeros((32, 32, 10), numpy.uint8)}, ("uint8 [32, 32, 10]",)),
        ({"X": numpy.zeros((32, 32, 3, 10))}, ("double [32, 32, 3, 10]",)),
        ({"y": numpy.ones((9, 1), numpy.uint8)}, ("[9, 1]",)),
        ({"y": numpy.zeros((10, 1), numpy.uint8)}, ("labels 0..0", "1..10")),
        ({"y": numpy.full((10, 1), 11, numpy.uint8)}, ("labels 11..11", "1..10")),
    ],
)
def test_what_is_not_as_published_is_refused(tmp_path: Path, refused, changed: dict[str, object], words: tuple[str, ...]) -> None:
    write(tmp_path, **changed)
    with refused(DataError, tmp_path / "test_32x32.mat", *words):
        datasets.load("svhn", tmp_path)


@pytest.mark.parametrize(
    "damage", [lambda b: b[:200], lambda b: b[:-40], lambda b: b"<html>no such file</html>" * 40, lambda b: b[:130] + bytes(99)]
)
def test_a_damaged_file_is_one_line(tmp_path: Path, refused, damage) -> None:
    file = write(tmp_path) / "train_32x32.mat"
    file.write_bytes(damage(file.read_bytes()))
    with refused(DataError, file):
        datasets.load("svhn", tmp_path)


def test_absent_files_are_named_with_where_they_belong(tmp_path: Path, refused) -> None:
    with refused(DataError, tmp_path, "train_32x32.mat", "svhn/"):
        datasets.load("svhn", tmp_path)
    write(tmp_path / "downloads" / "svhn")
    with refused(DataError, f"--data-dir {tmp_path / 'downloads'}"):
        datasets.load("svhn", tmp_path)
