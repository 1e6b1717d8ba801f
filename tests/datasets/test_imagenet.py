"""ImageNet-1K and its subsets from class folders: crops, classes, and what is refused."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy
import pytest
import torch
from PIL import Image

from harness import datasets
from harness.core.errors import BadOption, DataError
from harness.datasets.subsets import SUBSETS
from harness.files import decoding

NETTE = list(SUBSETS["imagenette"].values())


@pytest.fixture(autouse=True)
def no_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Decode in this process: starting others takes longer than so few images do."""
    monkeypatch.setattr(decoding, "IMAGES_PER_WORKER", 1 << 20)


def picture(file: Path, seed: int, size: tuple[int, int]) -> None:
    """Write a JPEG of smooth noise, (width, height) px."""
    file.parent.mkdir(parents=True, exist_ok=True)
    small = Image.fromarray(numpy.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=numpy.uint8))
    small.resize(size, Image.Resampling.BICUBIC).save(file, "JPEG")


@pytest.fixture(scope="module")
def nette(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write the ten classes of Imagenette, two val images and one train image each, of many sizes, and one class more."""
    root = tmp_path_factory.mktemp("data") / "imagenet"
    sizes = [(300, 260), (200, 311), (256, 256), (90, 70), (640, 257)]
    for c, wnid in enumerate([*NETTE, "n09999999"]):
        for i in range(2):
            picture(root / "val" / wnid / f"ILSVRC2012_val_{7 - i:08d}.JPEG", 2 * c + i, sizes[(2 * c + i) % 5])
        picture(root / "train" / wnid / f"{wnid}_1.JPEG", 100 + c, (80, 60))
    return root


@pytest.fixture
def root(nette: Path, tmp_path: Path) -> Path:
    shutil.copytree(nette, tmp_path / "data" / "imagenet")
    return tmp_path / "data" / "imagenet"


@pytest.fixture(scope="module")
def thousand(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a val/ of a thousand classes, one small image each."""
    root = tmp_path_factory.mktemp("data") / "imagenet-1k"
    picture(root / "image.JPEG", 0, (12, 10))
    for i in range(1000):
        (root / "val" / f"n{i:08d}").mkdir(parents=True)
        (root / "val" / f"n{i:08d}" / "image.JPEG").hardlink_to(root / "image.JPEG")
    return root


@pytest.mark.parametrize(("size", "resize"), [(224, 256), (64, 73), (112, 128)])
def test_pixels_are_those_of_torchvision(nette: Path, size: int, resize: int) -> None:
    from torchvision.datasets import ImageFolder
    from torchvision.transforms import CenterCrop, Compose, PILToTensor, Resize

    found = datasets.load(f"imagenette(size={size})", nette.parent)
    theirs = ImageFolder(str(nette / "val"), Compose([Resize(resize), CenterCrop(size), PILToTensor()]))
    expected = [theirs[i] for i in range(20)]  # the eleventh class comes last
    assert torch.equal(found.test.images, torch.stack([image for image, _ in expected]))
    assert found.test.labels.tolist() == [label for _, label in expected]
    assert found.shape == (3, size, size)


def test_a_named_subset_takes_its_classes_and_knows_their_places(nette: Path) -> None:
    found = datasets.load("imagenette(size=32)", nette.parent)
    assert found.name == "imagenette"
    assert found.classes == tuple(NETTE)
    assert found.class_indices == (0, 217, 482, 491, 497, 566, 569, 571, 574, 701)
    assert (found.mean, found.std) == ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    assert found.train.images[:].shape == (10, 3, 32, 32)


def test_classes_are_taken_by_id_or_place_in_the_order_given(nette: Path) -> None:
    expected = datasets.load("imagenette(size=32)", nette.parent)
    found = datasets.load(f"imagenet-1k(size=32, classes=[217, {NETTE[0]}])", nette.parent)
    assert found.name == "imagenet-1k"
    assert found.classes == (NETTE[1], NETTE[0])
    assert found.class_indices == (217, 0)
    assert found.test.labels.tolist() == [0, 0, 1, 1]
    assert torch.equal(found.test.images, expected.test.images[[2, 3, 0, 1]])


@pytest.mark.parametrize(
    ("classes", "words"),
    [
        ("[1000, 0]", ["1000", "0..999"]),
        ("[-1, 0]", ["-1"]),
        ("[n01440765, 0]", ["n01440765", "n01440764"]),
        ("[0, n01440764]", ["n01440764", "twice"]),
        ("[0]", ["two or more"]),
        ("[true, 0]", ["True"]),
        ("[1.5, 0]", ["1.5"]),
    ],
)
def test_wrong_classes_are_refused(nette: Path, classes: str, words: list[str], refused) -> None:
    with refused(BadOption, "classes", *words):
        datasets.load(f"imagenet-1k(classes={classes})", nette.parent)


@pytest.mark.parametrize("size", [0, -3, 5000])
def test_a_size_out_of_range_is_refused(nette: Path, size: int, refused) -> None:
    with refused(BadOption, "size", size):
        datasets.load(f"imagenet-1k(size={size})", nette.parent)


def test_a_thousand_classes_are_imagenet(thousand: Path) -> None:
    found = datasets.load("imagenet-1k(size=8)", thousand)
    assert (len(found.classes), len(found.test)) == (1000, 1000)
    assert found.classes[:2] == ("n00000000", "n00000001")
    assert found.class_indices == ()
    assert found.test.labels.tolist() == list(range(1000))
    assert datasets.load("imagenet-1k(size=8)", thousand.parent).digest == found.digest


def test_other_than_a_thousand_classes_are_refused_with_two_remedies(nette: Path, refused) -> None:
    with refused(DataError, nette / "val", "11 class folders", "1000", "folder:PATH", "classes=["):
        datasets.load("imagenet-1k", nette.parent)


def test_a_folder_that_is_no_wordnet_id_is_refused(thousand: Path, tmp_path: Path, refused) -> None:
    shutil.copytree(thousand, tmp_path / "imagenet-1k", copy_function=lambda a, b: Path(b).hardlink_to(a))
    (tmp_path / "imagenet-1k" / "val" / "n00000007").rename(tmp_path / "imagenet-1k" / "val" / "00007")
    with refused(DataError, "00007", "WordNet id"):
        datasets.load("imagenet-1k(size=8)", tmp_path)


def test_a_flat_val_is_refused_with_what_to_do(tmp_path: Path, refused) -> None:
    picture(tmp_path / "val" / "ILSVRC2012_val_00000001.JPEG", 0, (8, 8))
    with refused(DataError, tmp_path / "val", "without class folders", "val/WNID/"):
        datasets.load("imagenet-1k", tmp_path)
    with refused(DataError, tmp_path / "val", "without class folders"):
        datasets.load("imagenet-1k(classes=[0, 1])", tmp_path)


@pytest.mark.parametrize(
    "place", [".", "imagenet-1k", "imagenet", "ILSVRC2012", "ILSVRC/Data/CLS-LOC", "imagenette2", "imagenette"]
)
def test_every_usual_place_serves(root: Path, place: str, tmp_path: Path) -> None:
    target = tmp_path / "elsewhere" / place
    target.parent.mkdir(parents=True, exist_ok=True)
    root.rename(target)
    assert len(datasets.load("imagenette(size=16)", tmp_path / "elsewhere").test) == 20


def test_train_is_not_read_for_an_evaluation_and_may_be_absent(root: Path, refused) -> None:
    before = decoding.decoded
    whole = datasets.load("imagenette(size=16)", root.parent)
    assert len(whole.digest) == 64
    assert decoding.decoded - before == 20
    shutil.rmtree(root / "train")
    alone = datasets.load("imagenette(size=16)", root.parent)
    assert torch.equal(alone.test.images, whole.test.images)
    with refused(DataError, "imagenette", root / "train", "teachers"):
        len(alone.train)


@pytest.mark.parametrize("split", ["val", "train"])
def test_an_absent_or_empty_class_is_named(root: Path, split: str, refused) -> None:
    for file in (root / split / NETTE[4]).iterdir():
        file.unlink()
    with refused(DataError, split, "no images", root / split / NETTE[4]):
        datasets.load("imagenette(size=16)", root.parent).digest  # noqa: B018
    (root / split / NETTE[4]).rmdir()
    with refused(DataError, split, "lacks 1 of 10", NETTE[4]):
        datasets.load("imagenette(size=16)", root.parent).digest  # noqa: B018


@pytest.mark.parametrize("link", [f"val/{NETTE[3]}", f"val/{NETTE[3]}/ILSVRC2012_val_00000007.JPEG", "val"])
def test_a_link_out_of_the_folder_is_not_followed(root: Path, link: str, tmp_path: Path, refused) -> None:
    (root / link).rename(tmp_path / "outside")
    (root / link).symlink_to(tmp_path / "outside")
    with refused(DataError, "leaves"):
        datasets.load("imagenette(size=16)", root.parent)


def test_an_unreadable_image_is_named(root: Path, refused) -> None:
    file = root / "val" / NETTE[3] / "ILSVRC2012_val_00000006.JPEG"
    file.write_bytes(b"\xff\xd8\xff\xe0 not much of a JPEG")
    with refused(DataError, file, "not a readable image"):
        datasets.load("imagenette(size=16)", root.parent)


def test_without_files_the_remedy_is_told(tmp_path: Path, refused) -> None:
    with refused(DataError, "imagenet-1k", "--data-dir", "GIFTBENCH_DATA"):
        datasets.load("imagenet-1k")
    with refused(DataError, "imagewoof", tmp_path, "imagewoof/", "val/WNID/"):
        datasets.load("imagewoof", tmp_path)


@pytest.mark.parametrize(("name", "said"), [("imagenette2", False), ("imagenette2-320", False), ("imagenette2-160", True)])
def test_images_of_the_smaller_versions_are_said_to_be_enlarged(nette: Path, tmp_path: Path, name: str, said: bool) -> None:
    shutil.copytree(nette / "val", tmp_path / name / "val")
    data = datasets.load("imagenette", tmp_path)
    assert data.shape == (3, 224, 224)
    assert any(f"{name}/ have 160 px on their shorter side, brought to 256 px" in note for note in data.notes) == said
    assert not any("shorter side" in note for note in datasets.load("imagenette(size=128)", tmp_path).notes)
