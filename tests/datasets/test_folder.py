"""A folder of images as a dataset, and every way in which it can be wrong."""

from __future__ import annotations

import shutil
import struct
import zlib
from pathlib import Path

import numpy
import pytest
import torch
from PIL import Image

from harness import datasets
from harness.core.errors import BadOption, DataError
from harness.files.decoding import decode


def picture(file: Path, value: int, size: tuple[int, int] = (8, 8), mode: str = "RGB") -> None:
    """Write an image of (width, height) filled with `value`, in colour unless `mode` is grey."""
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, (value, value // 2, 255 - value) if mode == "RGB" else value).save(file)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two classes, three train images and one test image each."""
    root = tmp_path / "pets"
    for c, name in enumerate(("cat", "dog")):
        for i in range(3):
            picture(root / "train" / name / f"{i}.png", 100 * c + 10 * i)
        picture(root / "test" / name / "0.png", 100 * c + 50)
    return root


def test_classes_are_the_sorted_folder_names_and_images_the_sorted_files(root: Path) -> None:
    pets = datasets.load(f"folder:{root}")
    assert pets.name == "folder:pets"
    assert pets.classes == ("cat", "dog")
    assert pets.train.labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert pets.train.images[:, 0, 0, 0].tolist() == [0, 10, 20, 100, 110, 120]
    assert pets.train.images[1, :, 3, 3].tolist() == [10, 5, 245]
    assert pets.test.images[:, 0, 0, 0].tolist() == [50, 150]
    assert pets.shape == (3, 8, 8)


def test_normalisation_is_that_of_the_train_split(root: Path) -> None:
    pets = datasets.load(f"folder:{root}")
    pixels = pets.train.images.numpy() / 255
    assert pets.mean == tuple(round(float(v), 4) for v in pixels.mean((0, 2, 3)))
    assert pets.std == tuple(round(float(v), 4) for v in pixels.std((0, 2, 3)))


def test_val_stands_in_for_test_and_test_comes_first(root: Path) -> None:
    with_test = datasets.load(f"folder:{root}").digest
    shutil.copytree(root / "train", root / "val")
    assert datasets.load(f"folder:{root}").digest == with_test
    shutil.rmtree(root / "val")
    (root / "test").rename(root / "val")
    assert datasets.load(f"folder:{root}").digest == with_test


def test_path_is_relative_to_the_data_folder(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = datasets.load(f"folder:{root}").digest
    assert datasets.load("folder:pets", root.parent).digest == expected
    monkeypatch.setenv("GIFTBENCH_DATA", str(root.parent))
    assert datasets.load("folder:pets").digest == expected


def test_images_that_are_all_grey_give_one_channel(root: Path) -> None:
    for file in root.rglob("*.png"):
        with Image.open(file) as opened:
            grey = opened.convert("L")
        grey.save(file)
    pets = datasets.load(f"folder:{root}")
    assert pets.shape == (1, 8, 8)
    assert len(pets.mean) == 1


@pytest.mark.parametrize("coloured", ["train/dog/2.png", "test/cat/0.png"])
def test_one_coloured_image_in_either_split_gives_three_channels(root: Path, coloured: str) -> None:
    for file in root.rglob("*.png"):
        if file != root / coloured:
            picture(file, 7, mode="L")
    assert datasets.load(f"folder:{root}").shape == (3, 8, 8)


def test_size_resizes_the_shorter_side_and_keeps_the_centre(root: Path) -> None:
    wide = numpy.zeros((8, 24, 3), numpy.uint8)
    wide[:, 8:16] = (255, 0, 0)
    Image.fromarray(wide).save(root / "train" / "cat" / "0.png")
    pets = datasets.load(f"folder:{root}(size=4)")
    assert pets.shape == (3, 4, 4)
    assert pets.train.images[0, 0].min() > 200
    assert pets.train.images[0, 1].max() < 50


def test_size_that_images_have_already_changes_nothing(root: Path) -> None:
    assert datasets.load(f"folder:{root}(size=8)").digest == datasets.load(f"folder:{root}").digest


def test_images_of_differing_sizes_are_refused_with_the_remedy(root: Path, refused) -> None:
    picture(root / "train" / "dog" / "1.png", 3, (9, 7))
    with refused(DataError, root / "train" / "dog" / "1.png", "9x7", "size=PIXELS"):
        datasets.load(f"folder:{root}")
    assert datasets.load(f"folder:{root}(size=6)").shape == (3, 6, 6)


def test_train_and_test_of_differing_sizes_are_refused_with_the_remedy(root: Path, refused) -> None:
    for name in ("cat", "dog"):
        picture(root / "test" / name / "0.png", 3, (9, 9))
    with refused(DataError, root, "differ in size", "size=PIXELS"):
        datasets.load(f"folder:{root}")


@pytest.mark.parametrize("name", ["train", "test"])
def test_missing_split_is_named(root: Path, name: str, refused) -> None:
    shutil.rmtree(root / name)
    with refused(DataError, root, f"no {name}/"):
        datasets.load(f"folder:{root}")


def test_absent_folder_is_named(tmp_path: Path, refused) -> None:
    with refused(DataError, tmp_path / "absent", "train/"):
        datasets.load(f"folder:{tmp_path / 'absent'}")


def test_split_without_classes_is_named(root: Path, refused) -> None:
    shutil.rmtree(root / "train")
    (root / "train").mkdir()
    with refused(DataError, root / "train", "one folder a class"):
        datasets.load(f"folder:{root}")


@pytest.mark.parametrize("split", ["train", "test"])
def test_class_that_only_one_split_has_is_named(root: Path, split: str, refused) -> None:
    picture(root / split / "eel" / "0.png", 3)
    with refused(DataError, root, "differ in their classes", "eel"):
        datasets.load(f"folder:{root}")


def test_class_without_images_is_named(root: Path, refused) -> None:
    for file in (root / "test" / "dog").iterdir():
        file.rename(file.with_suffix(".txt"))
    with refused(DataError, root / "test" / "dog", "no images", ".png"):
        datasets.load(f"folder:{root}")


def png(width: int, height: int) -> bytes:
    """A PNG of a few bytes that claims width x height pixels."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b"")


@pytest.mark.parametrize("side", [8200, 12_000, 60_000])
@pytest.mark.filterwarnings("ignore:Image size:PIL.Image.DecompressionBombWarning")
def test_image_that_claims_a_huge_size_is_refused_before_it_is_decoded(root: Path, side: int, refused) -> None:
    file = root / "train" / "cat" / "1.png"
    file.write_bytes(png(side, side))
    with refused(DataError, file, "limit"):
        datasets.load(f"folder:{root}(size=8)")


@pytest.mark.parametrize(
    "damage", [lambda b: b"", lambda b: b"not an image", lambda b: b[: len(b) // 2], lambda b: png(8, 8), lambda b: b[:30]]
)
def test_unreadable_image_is_named(root: Path, damage, refused) -> None:
    file = root / "train" / "cat" / "1.png"
    file.write_bytes(damage(file.read_bytes()))
    with refused(DataError, file, "not a readable image"):
        datasets.load(f"folder:{root}")


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
@pytest.mark.parametrize("extension", ["png", "jpg", "bmp", "webp", "ppm", "tif"])
def test_no_broken_byte_of_any_format_ends_in_a_traceback(tmp_path: Path, extension: str) -> None:
    draws = numpy.random.default_rng(0)
    file = tmp_path / f"image.{extension}"
    Image.fromarray(draws.integers(0, 256, (8, 8, 3), dtype=numpy.uint8)).save(file)
    whole = file.read_bytes()
    for _ in range(60):
        broken = bytearray(whole)
        broken[draws.integers(0, min(len(broken), 120))] = draws.integers(0, 256)
        file.write_bytes(broken[: draws.integers(len(broken) // 2, len(broken) + 1)])
        try:
            assert decode([file], (3, 8, 8), resize=8).shape == (1, 3, 8, 8)
        except DataError as error:
            assert str(error).startswith(f"{file}: ")


def test_pixels_of_more_than_8_bits_are_refused_instead_of_cut_off(root: Path, refused) -> None:
    file = root / "train" / "cat" / "1.png"
    Image.fromarray(numpy.full((8, 8), 40_000, numpy.uint16)).save(file)
    with refused(DataError, file, "8 bits"):
        datasets.load(f"folder:{root}")


def test_negative_size_is_refused(root: Path, refused) -> None:
    with refused(BadOption, "size", "-3"):
        datasets.load(f"folder:{root}(size=-3)")


def test_other_files_in_the_folders_are_left_alone(root: Path) -> None:
    expected = datasets.load(f"folder:{root}").digest
    (root / "README.md").write_text("pets")
    (root / "train" / "list.txt").write_text("cat dog")
    (root / "train" / "cat" / "Thumbs.db").write_bytes(b"\0")
    assert datasets.load(f"folder:{root}").digest == expected
    assert torch.equal(datasets.load(f"folder:{root}").train.labels.bincount(), torch.tensor([3, 3]))
