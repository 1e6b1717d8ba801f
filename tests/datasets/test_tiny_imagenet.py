"""Tiny-ImageNet as its archive unpacks, as people sort it, and as it must not be."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy
import pytest
import torch
from PIL import Image

from harness import datasets
from harness.core.errors import DataError
from harness.files import decoding

WNIDS = [f"n{9_000_000 + 7 * i:08d}" for i in range(200)]
VAL = 2  # images a class


@pytest.fixture(autouse=True)
def no_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Decode in this process: starting others takes longer than so few images do."""
    monkeypatch.setattr(decoding, "IMAGES_PER_WORKER", 1 << 20)


def picture(file: Path, seed: int, size: tuple[int, int] = (64, 64), grey: bool = False) -> None:
    """Write a JPEG of smooth noise."""
    file.parent.mkdir(parents=True, exist_ok=True)
    draws = numpy.random.default_rng(seed)
    small = Image.fromarray(draws.integers(0, 256, (8, 8) if grey else (8, 8, 3), dtype=numpy.uint8))
    small.resize(size, Image.Resampling.BILINEAR).save(file, "JPEG", quality=90)


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write what tiny-imagenet-200.zip unpacks to: two val images and one train image a class; the first val image is grey."""
    root = tmp_path_factory.mktemp("tiny") / "tiny-imagenet-200"
    (root / "val" / "images").mkdir(parents=True)
    listed = [WNIDS[(7 * i) % 200] for i in range(200)]  # the archive's list is not sorted
    (root / "wnids.txt").write_text("\n".join(listed) + "\n")
    (root / "words.txt").write_text("".join(f"{w}\tthing {w[-4:]}, object\n" for w in [*WNIDS[1:], "n00001740"]))
    rows = []
    for i in range(200 * VAL):
        picture(root / "val" / "images" / f"val_{i}.JPEG", i, grey=i == 0)
        rows.append(f"val_{i}.JPEG\t{WNIDS[(11 * i) % 200]}\t0\t32\t44\t62\n")
    (root / "val" / "val_annotations.txt").write_text("".join(rows))
    for i, wnid in enumerate(WNIDS):
        picture(root / "train" / wnid / "images" / f"{wnid}_0.JPEG", 1000 + i)
        (root / "train" / wnid / f"{wnid}_boxes.txt").write_text(f"{wnid}_0.JPEG\t0\t10\t63\t58\n")
    return root


@pytest.fixture
def root(archive: Path, tmp_path: Path) -> Path:
    """Return a copy of the archive that may be changed."""
    shutil.copytree(archive, tmp_path / "data" / "tiny-imagenet-200", copy_function=lambda a, b: Path(b).hardlink_to(a))
    for name in ("wnids.txt", "words.txt", "val/val_annotations.txt"):
        file = tmp_path / "data" / "tiny-imagenet-200" / name
        text = file.read_text()
        file.unlink()
        file.write_text(text)
    return tmp_path / "data" / "tiny-imagenet-200"


def by_folder(root: Path, inner: str) -> None:
    """Sort val/ into a folder a class, as the scripts that go around do."""
    for line in (root / "val" / "val_annotations.txt").read_text().splitlines():
        name, wnid = line.split("\t")[:2]
        place = root / "val" / wnid / inner
        place.mkdir(parents=True, exist_ok=True)
        (root / "val" / "images" / name).rename(place / name)
    (root / "val" / "images").rmdir()


def test_the_archive_is_read_in_the_order_of_sorted_wordnet_ids(root: Path) -> None:
    tiny = datasets.load("tiny-imagenet", root.parent)
    assert tiny.shape == (3, 64, 64)
    assert (len(tiny.classes), len(tiny.test), len(tiny.train)) == (200, 400, 200)
    assert tiny.classes[:2] == (WNIDS[0], f"thing {WNIDS[1][-4:]}")  # words.txt lacks the first
    expected = sorted(((11 * i) % 200, f"val_{i}.JPEG") for i in range(400))
    assert tiny.test.labels.tolist() == [label for label, _ in expected]
    for place, (_, name) in enumerate(expected[:5]):
        with Image.open(root / "val" / "images" / name) as opened:
            pixels = torch.from_numpy(numpy.asarray(opened.convert("RGB")).copy()).permute(2, 0, 1)
        assert torch.equal(tiny.test.images[place], pixels)
    assert tiny.train.labels.tolist() == list(range(200))


def test_the_train_split_is_what_torchvision_reads(root: Path) -> None:
    from torchvision.datasets import ImageFolder
    from torchvision.transforms import PILToTensor

    train = datasets.load("tiny-imagenet", root.parent).train
    theirs = ImageFolder(str(root / "train"), PILToTensor())
    assert theirs.classes == WNIDS
    assert torch.equal(train.images[:], torch.stack([image for image, _ in theirs]))
    assert train.labels.tolist() == theirs.targets


@pytest.mark.parametrize("inner", ["", "images"])
def test_a_sorted_val_is_the_same_dataset(root: Path, inner: str) -> None:
    expected = datasets.load("tiny-imagenet", root.parent)
    by_folder(root, inner)
    found = datasets.load("tiny-imagenet", root.parent)
    assert found.digest == expected.digest
    assert torch.equal(found.test.images, expected.test.images)


def test_every_usual_place_serves(root: Path) -> None:
    expected = datasets.load("tiny-imagenet", root.parent).digest
    assert datasets.load("tiny-imagenet", root).digest == expected
    root.rename(root.with_name("tiny-imagenet"))
    assert datasets.load("tiny-imagenet", root.parent).digest == expected


def test_evaluation_decodes_no_train_image_and_needs_none(root: Path, refused) -> None:
    before = decoding.decoded
    whole = datasets.load("tiny-imagenet", root.parent)
    assert (whole.shape, len(whole.digest)) == ((3, 64, 64), 64)
    assert decoding.decoded - before == 400
    shutil.rmtree(root / "train")
    alone = datasets.load("tiny-imagenet", root.parent)
    assert torch.equal(alone.test.images, whole.test.images)
    assert alone.shape == (3, 64, 64)
    assert alone.digest != whole.digest
    for ask in (lambda: alone.train.images, lambda: alone.train.labels, lambda: len(alone.train)):
        with refused(DataError, root / "train", "teachers"):
            ask()


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("wnids.txt", ["no wnids.txt", "tiny-imagenet-200/"]),
        ("val", ["no", "val", "unpack"]),
        ("val/images", ["val/images/", "val_annotations.txt"]),
        ("val/val_annotations.txt", ["val/images/", "val_annotations.txt"]),
    ],
)
def test_what_is_missing_is_named(root: Path, name: str, words: list[str], refused) -> None:
    gone = root / name
    gone.unlink() if gone.is_file() else shutil.rmtree(gone)
    with refused(DataError, "tiny-imagenet", *words):
        datasets.load("tiny-imagenet", root.parent)


def test_without_a_data_folder_the_remedy_is_told(refused) -> None:
    with refused(DataError, "tiny-imagenet", "--data-dir", "GIFTBENCH_DATA"):
        datasets.load("tiny-imagenet")


def test_a_class_too_few_is_refused(root: Path, refused) -> None:
    (root / "wnids.txt").write_text("\n".join(WNIDS[:-1]))
    with refused(DataError, "wnids.txt", "199", "200"):
        datasets.load("tiny-imagenet", root.parent)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("../../secret.JPEG\tn09000000", ["leaves the folder"]),
        ("/etc/passwd\tn09000000", ["no relative path"]),
        ("val_9999.JPEG\tn09000000", ["no image", "val_9999.JPEG"]),
        ("val_0.JPEG\tn00000000", ["n00000000", "no class"]),
        ("val_3.JPEG\tn09000000", ["val_3.JPEG", "twice"]),
        ("val_0.JPEG", ["no class"]),
    ],
)
def test_a_wrong_annotation_is_refused_by_name(root: Path, line: str, words: list[str], refused) -> None:
    file = root / "val" / "val_annotations.txt"
    rows = file.read_text().splitlines()
    file.write_text("\n".join([*rows[1:], line]))
    with refused(DataError, *words):
        datasets.load("tiny-imagenet", root.parent)


def test_an_image_without_annotation_is_refused(root: Path, refused) -> None:
    file = root / "val" / "val_annotations.txt"
    file.write_text("\n".join(file.read_text().splitlines()[1:]))
    with refused(DataError, file, "val_0.JPEG"):
        datasets.load("tiny-imagenet", root.parent)


@pytest.mark.parametrize("link", ["val/images/val_5.JPEG", "val", "wnids.txt"])
def test_a_link_out_of_the_folder_is_not_followed(root: Path, link: str, tmp_path: Path, refused) -> None:
    (root / link).rename(tmp_path / "outside")
    (root / link).symlink_to(tmp_path / "outside")
    with refused(DataError, "leaves"):
        datasets.load("tiny-imagenet", root.parent)


def test_an_unreadable_image_is_named_and_nothing_is_kept(root: Path, cache: Path, refused) -> None:
    file = root / "val" / "images" / "val_7.JPEG"
    whole = file.read_bytes()
    file.unlink()
    file.write_bytes(whole[: len(whole) // 2])
    with refused(DataError, file, "not a readable image"):
        datasets.load("tiny-imagenet", root.parent)
    assert not [kept for kept in cache.rglob("*") if kept.is_file() and kept.suffix != ".lock"]


def test_an_image_of_another_size_is_named(root: Path, refused) -> None:
    file = root / "val" / "images" / "val_7.JPEG"
    file.unlink()
    picture(file, 1, (63, 64))
    with refused(DataError, file, "63x64"):
        datasets.load("tiny-imagenet", root.parent)


def test_byte_order_marks_before_its_lists_are_no_part_of_them(archive: Path, tmp_path: Path) -> None:
    root = tmp_path / "tiny-imagenet-200"
    shutil.copytree(archive, root)
    for name in ("wnids.txt", "words.txt", "val/val_annotations.txt"):
        (root / name).write_bytes(b"\xef\xbb\xbf" + (root / name).read_bytes())
    assert datasets.load("tiny-imagenet", tmp_path).digest == datasets.load("tiny-imagenet", archive.parent).digest
