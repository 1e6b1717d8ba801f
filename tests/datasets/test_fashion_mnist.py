"""Fashion-MNIST from IDX files, whole and broken."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy
import pytest
import torch

from harness import datasets
from harness.core.errors import BadOption, DataError
from harness.datasets.fashion_mnist import DEBIAN
from harness.datasets.presence import IDX_FILES

NUMBERS = {"train": 12, "test": 10}


def idx(content: numpy.ndarray) -> bytes:
    return bytes((0, 0, 8, content.ndim)) + struct.pack(f">{content.ndim}I", *content.shape) + content.tobytes()


def pixels(split: str) -> numpy.ndarray:
    return numpy.random.default_rng(NUMBERS[split]).integers(0, 256, (NUMBERS[split], 28, 28), dtype=numpy.uint8)


def write(folder: Path, packed: bool) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for split, (images, labels) in IDX_FILES.items():
        for name, content in ((images, pixels(split)), (labels, numpy.arange(NUMBERS[split], dtype=numpy.uint8) % 10)):
            if packed:
                (folder / f"{name}.gz").write_bytes(gzip.compress(idx(content)))
            else:
                (folder / name).write_bytes(idx(content))
    return folder


@pytest.mark.parametrize("packed", [True, False], ids=["gz", "plain"])
@pytest.mark.parametrize("inside", [".", "fashion-mnist", "FashionMNIST/raw"])
def test_files_are_found_where_people_keep_them(tmp_path: Path, inside: str, packed: bool) -> None:
    write(tmp_path / inside, packed)
    fashion = datasets.load("fashion-mnist", tmp_path)
    assert (len(fashion.train), len(fashion.test)) == (12, 10)
    assert len(fashion.classes) == 10
    assert fashion.test.labels.tolist() == list(range(10))


def test_images_are_padded_with_zeros_from_28_to_32_px_and_otherwise_untouched(tmp_path: Path) -> None:
    fashion = datasets.load("fashion-mnist", write(tmp_path, packed=False))
    assert fashion.shape == (1, 32, 32)
    for split, found in (("train", fashion.train), ("test", fashion.test)):
        expected = numpy.pad(pixels(split), ((0, 0), (2, 2), (2, 2)))
        assert numpy.array_equal(found.images[:, 0].numpy(), expected)


def test_images_stay_at_28_px_where_a_board_says_so(tmp_path: Path) -> None:
    fashion = datasets.load("fashion-mnist(size=28)", write(tmp_path, packed=False))
    assert fashion.shape == (1, 28, 28) == datasets.card("fashion-mnist(size=28)").shape
    assert numpy.array_equal(fashion.test.images[:, 0].numpy(), pixels("test"))
    assert fashion.mean[0] == pytest.approx(pixels("train").mean() / 255, abs=1e-4)
    with pytest.raises(BadOption, match="size must be 28 or 32, not 30"):
        datasets.load("fashion-mnist(size=30)", tmp_path)
    assert "size" not in datasets.registry.resolve("fashion-mnist(size=32)").options  # what it was before there was a choice


def test_normalisation_is_that_of_the_padded_train_split(tmp_path: Path) -> None:
    fashion = datasets.load("fashion-mnist", write(tmp_path, packed=True))
    padded = numpy.pad(pixels("train"), ((0, 0), (2, 2), (2, 2))) / 255
    assert fashion.mean == (round(float(padded.mean()), 4),)
    assert fashion.std == (round(float(padded.std()), 4),)


def test_packed_and_plain_files_are_the_same_dataset(tmp_path: Path) -> None:
    packed, plain = write(tmp_path / "packed", packed=True), write(tmp_path / "plain", packed=False)
    assert datasets.load("fashion-mnist", packed).digest == datasets.load("fashion-mnist", plain).digest


def test_folder_without_the_files_is_named_with_where_they_were_looked_for(tmp_path: Path, refused) -> None:
    with refused(DataError, tmp_path, "train-images-idx3-ubyte", "FashionMNIST/raw"):
        datasets.load("fashion-mnist", tmp_path)
    with refused(DataError, tmp_path / "absent"):
        datasets.load("fashion-mnist", tmp_path / "absent")


@pytest.mark.parametrize("packed", [True, False], ids=["gz", "plain"])
@pytest.mark.parametrize("name", [name for pair in IDX_FILES.values() for name in pair][1:])
def test_one_missing_file_is_named(tmp_path: Path, name: str, packed: bool, refused) -> None:
    write(tmp_path, packed)
    (tmp_path / f"{name}{'.gz' if packed else ''}").unlink()
    with refused(DataError, tmp_path / name, "no such file"):
        datasets.load("fashion-mnist", tmp_path)


def test_labels_outside_the_ten_classes_are_refused(tmp_path: Path, refused) -> None:
    write(tmp_path, packed=False)
    (tmp_path / IDX_FILES["test"][1]).write_bytes(idx(numpy.full(10, 10, numpy.uint8)))
    with refused(DataError, "fashion-mnist", "test split", "0..9"):
        datasets.load("fashion-mnist", tmp_path)


def test_without_files_and_network_the_remedies_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refused) -> None:
    import torchvision.datasets

    asked = []

    def offline(root: str, download: bool) -> None:
        asked.append(root)
        raise OSError("no route to host")

    monkeypatch.setattr("harness.datasets.fashion_mnist.DEBIAN", tmp_path / "absent")
    monkeypatch.setattr(torchvision.datasets, "FashionMNIST", offline)
    with refused(DataError, "no route to host", "--data-dir", "GIFTBENCH_DATA", "dataset-fashion-mnist"):
        datasets.load("fashion-mnist")
    assert asked == [str(tmp_path / "home" / "data")]


@pytest.mark.skipif(not DEBIAN.is_dir(), reason="Debian's package dataset-fashion-mnist is not installed")
def test_debians_files_are_read_without_being_asked_for() -> None:
    fashion = datasets.load("fashion-mnist")
    assert (len(fashion.train), len(fashion.test)) == (60_000, 10_000)
    assert fashion.train.labels.bincount().tolist() == [6000] * 10
    assert fashion.test.labels.bincount().tolist() == [1000] * 10
    assert fashion.shape == (1, 32, 32)
    raw = fashion.train.images[:, :, 2:-2, 2:-2].double() / 255
    assert torch.allclose(raw.mean(), torch.tensor(0.2860, dtype=torch.float64), atol=1e-4)  # the published mean at 28 px
    small = datasets.load("fashion-mnist(size=28)")
    for data, name in ((fashion, "fashion-mnist"), (small, "fashion-mnist(size=28)")):
        card = datasets.card(name)
        assert (card.shape, card.mean, card.std) == (data.shape, data.mean, data.std)
