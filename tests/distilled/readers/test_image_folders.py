"""What every set of class folders does: names, order, a folder above the set's own, refusals."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
import torch

from harness import DistilledSet
from harness.core.errors import DataError
from harness.datasets.cards import Card
from tests.distilled.readers.publishing import COLOUR, NAMES, TINY, decoded, picture, publish_images, read

Refused = Callable[..., AbstractContextManager[None]]


@pytest.mark.parametrize("format", NAMES)
def test_images_labels_and_order_are_those_of_the_files(tmp_path: Path, format: str) -> None:
    publish_images(tmp_path / "set", format, COLOUR, 3)
    made = read(format, tmp_path / "set", COLOUR)
    assert made.images.shape == (30, 3, 32, 32)
    assert made.images.dtype == torch.uint8
    assert made.labels.tolist() == [label for label in range(10) for _ in range(3)]
    for place, image in enumerate(made.images):
        assert torch.equal(image, decoded(tmp_path / "set" / NAMES[format](place // 3, place % 3))), place
    assert (made.method, made.dataset, made.classes, made.soft_labels) == (format, "cifar10", 10, None)
    assert made.native_loss == ("mse_ce" if format == "gvbsm" else "kl")
    assert not made.normalised


@pytest.mark.parametrize("format", NAMES)
def test_a_lower_ipc_is_the_first_files_by_name(tmp_path: Path, format: str) -> None:
    publish_images(tmp_path, format, COLOUR, 12)
    said: list[str] = []
    made, whole = read(format, tmp_path, COLOUR, 2, said.append), read(format, tmp_path, COLOUR)
    places = torch.tensor([label * 12 + image for label in range(10) for image in range(2)])
    assert torch.equal(made.images, whole.images[places])
    assert torch.equal(made.labels, whole.labels[places])
    assert (made.ipc, made.provenance["ipc"], made.provenance["files"]) == (2, 2, 20)
    assert any("the first 2 of 12 images a class, by name" in line for line in said)


@pytest.mark.parametrize("format", NAMES)
def test_what_was_read_is_saved_and_loaded_with_the_same_digest(tmp_path: Path, format: str) -> None:
    made = read(format, publish_images(tmp_path / "set", format, COLOUR, 2), COLOUR)
    loaded = DistilledSet.load(made.save(tmp_path / "set.safetensors"))
    assert loaded.digest == made.digest
    assert loaded.metadata == made.metadata


def test_folders_named_by_wordnet_ids_are_classes_in_their_order(tmp_path: Path) -> None:
    publish_images(tmp_path, "rded", TINY, 2)
    (tmp_path / "00000").rename(tmp_path / "n02000000")
    (tmp_path / "00001").rename(tmp_path / "n01000000")
    said: list[str] = []
    made = read("rded", tmp_path, TINY, say=said.append)
    assert torch.equal(made.images[0], decoded(tmp_path / "n01000000" / "class00001_id00000.jpg"))
    assert any("these, sorted, from n01000000" in line for line in said)
    assert made.provenance["assumed"]["classes"] == "the folders' names, sorted"


# -- a folder above the set's own ------------------------------------------------------------------------------------------


def test_the_only_set_below_a_folder_is_found(tmp_path: Path) -> None:
    publish_images(tmp_path / "exp" / "toy_conv3_f1_mipc300_ipc2_cr5" / "syn_data", "rded", TINY, 2)
    assert len(read("rded", tmp_path, TINY)) == 4


def test_of_several_sets_the_one_of_the_dataset_and_the_ipc_is_read(tmp_path: Path) -> None:
    for dataset in ("cifar10", "cifar100", "imagenet-1k"):
        for ipc in (1, 2):
            card = Card(dataset, TINY.shape, 3 if dataset == "cifar10" else 2)
            publish_images(tmp_path / f"{dataset}_conv3_f1_mipc300_ipc{ipc}_cr5" / "syn_data", "rded", card, ipc)
    made = read("rded", tmp_path, Card("cifar10", TINY.shape, 3), 2)
    assert made.provenance["files"] == 6
    assert read("rded", tmp_path, Card("cifar100", TINY.shape, 2), 1).provenance["files"] == 2


def test_a_folder_of_a_larger_ipc_serves_a_smaller_one(tmp_path: Path) -> None:
    publish_images(tmp_path / "sre2l_in1k_rn18_4k_ipc3", "sre2l", TINY, 3)
    assert read("sre2l", tmp_path, TINY, 2).ipc == 2


@pytest.mark.parametrize("ipc", [None, 5])
def test_several_sets_that_may_be_meant_are_listed(tmp_path: Path, ipc: int | None, refused: Refused) -> None:
    for count in (6, 7):
        publish_images(tmp_path / f"toy_ipc{count}", "sre2l", TINY, count)
    with refused(DataError, tmp_path, "toy_ipc6, toy_ipc7", "give its own"):
        read("sre2l", tmp_path, TINY, ipc)


def test_sets_of_other_datasets_only_are_no_choice(tmp_path: Path, refused: Refused) -> None:
    for name in ("cifar100_ipc1", "tinyimagenet_ipc1"):
        publish_images(tmp_path / name, "sre2l", TINY, 1)
    with refused(DataError, tmp_path, "no folder is the set of cifar10", "cifar100_ipc1, tinyimagenet_ipc1"):
        read("sre2l", tmp_path, COLOUR)


# -- refusals --------------------------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return publish_images(tmp_path / "set", "sre2l", TINY, 2)


def test_a_folder_that_is_absent_empty_or_without_classes(tmp_path: Path, refused: Refused) -> None:
    with refused(DataError, tmp_path / "none"):
        read("sre2l", tmp_path / "none", TINY)
    (tmp_path / "empty").mkdir()
    with refused(DataError, tmp_path / "empty", "empty"):
        read("sre2l", tmp_path / "empty", TINY)
    (tmp_path / "empty" / "a.jpg").write_bytes(b"x")
    with refused(DataError, tmp_path / "empty", "no class folders"):
        read("sre2l", tmp_path / "empty", TINY)
    with refused(DataError, tmp_path / "empty" / "a.jpg", "folder"):
        read("sre2l", tmp_path / "empty" / "a.jpg", TINY)


def test_a_class_folder_too_few(folder: Path, refused: Refused) -> None:
    shutil.rmtree(folder / "new000")
    with refused(DataError, folder, "no folder of class 0"):
        read("sre2l", folder, TINY)


def test_a_class_folder_too_many(folder: Path, refused: Refused) -> None:
    shutil.copytree(folder / "new001", folder / "new002")
    with refused(DataError, folder / "new002", "a class too many", "toy has 2"):
        read("sre2l", folder, TINY)


def test_a_wordnet_folder_too_many_or_too_few(tmp_path: Path, refused: Refused) -> None:
    for count in (1, 3):
        root = tmp_path / str(count)
        for label in range(count):
            (root / f"n0000000{label}").mkdir(parents=True)
            picture(torch.zeros(3, 8, 8, dtype=torch.uint8)).save(root / f"n0000000{label}" / "a.jpg")
        with refused(DataError, root, f"{count} class folders", "toy has 2"):
            read("rded", root, TINY)


def test_one_class_under_two_names(folder: Path, refused: Refused) -> None:
    shutil.copytree(folder / "new001", folder / "00001")
    with refused(DataError, folder, "00001", "new001", "both class 1"):
        read("sre2l", folder, TINY)


def test_another_folder_among_the_classes(folder: Path, refused: Refused) -> None:
    (folder / "extra").mkdir()
    with refused(DataError, folder / "extra", "no class folder"):
        read("sre2l", folder, TINY)


def test_an_empty_class(folder: Path, refused: Refused) -> None:
    for file in (folder / "new001").iterdir():
        file.unlink()
    with refused(DataError, folder / "new001", "empty"):
        read("sre2l", folder, TINY)


def test_a_class_with_other_counts(folder: Path, refused: Refused) -> None:
    (folder / "new001" / "class001_id001.jpg").unlink()
    for ipc in (None, 1):
        with refused(DataError, folder / "new001", "1 images where new000 has 2"):
            read("sre2l", folder, TINY, ipc)


def test_a_class_with_other_numbers(folder: Path, refused: Refused) -> None:
    (folder / "new001" / "class001_id001.jpg").rename(folder / "new001" / "class001_id005.jpg")
    with refused(DataError, folder / "new001", "not numbered as those of new000"):
        read("sre2l", folder, TINY)


def test_more_images_than_there_are(folder: Path, refused: Refused) -> None:
    for ipc in (0, 3):
        with refused(DataError, folder, f"2 images a class, {ipc} are asked for"):
            read("sre2l", folder, TINY, ipc)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("class000_id001.jpg", "named after class 0 in the folder of class 1"),
        ("picture.jpg", "expected a name such as class00001_id00000.jpg"),
        ("class001_id000.png", "as class001_id000.jpg is"),
        ("class001_id0000.jpg", "as class001_id000.jpg is"),
        ("notes.txt", "1 images where new000 has 2"),
    ],
)
def test_a_name_that_does_not_match(folder: Path, refused: Refused, name: str, words: str) -> None:
    (folder / "new001" / "class001_id001.jpg").rename(folder / "new001" / name)
    with refused(DataError, folder / "new001", words):
        read("sre2l", folder, TINY)


def test_images_in_folders_below_a_class_are_read_and_what_is_none_is_counted(folder: Path) -> None:
    flat = read("sre2l", folder, TINY)
    for label in ("000", "001"):
        more = folder / f"new{label}" / "more"
        more.mkdir()
        (folder / f"new{label}" / f"class{label}_id001.jpg").rename(more / f"class{label}_id001.jpg")
    (folder / "new000" / "more" / "notes.txt").write_text("x")
    said: list[str] = []
    nested = read("sre2l", folder, TINY, say=said.append)
    assert torch.equal(nested.images, flat.images) and torch.equal(nested.labels, flat.labels)
    assert any(line.endswith("1 file passed over, no images of a class") for line in said)


def test_an_image_of_another_size(folder: Path, refused: Refused) -> None:
    picture(torch.zeros(3, 8, 9, dtype=torch.uint8)).save(folder / "new001" / "class001_id001.jpg")
    with refused(DataError, folder / "new001" / "class001_id001.jpg", "9x8 px where 8x8"):
        read("sre2l", folder, TINY)


def test_a_set_larger_than_memory_is_refused_before_it_is_decoded(folder: Path, refused: Refused) -> None:
    with refused(DataError, folder, "GiB of pixels", "above the limit"):
        read("sre2l", folder, Card("toy", (3, 100_000, 100_000), 2))


def test_provenance_says_which_files_were_read(tmp_path: Path) -> None:
    publish_images(tmp_path / "set", "sre2l", TINY, 2)
    facts = read("sre2l", tmp_path / "set", TINY).provenance
    total = hashlib.sha256()
    for file in sorted((tmp_path / "set").glob("*/*")):
        total.update(
            f"{file.relative_to(tmp_path / 'set').as_posix()} {hashlib.sha256(file.read_bytes()).hexdigest()}\n".encode()
        )
    assert facts["sha256"] == total.hexdigest()
    assert (facts["format"], facts["files"], facts["ipc"]) == ("sre2l", 4, 2)
    assert facts["assumed"]["classes"] == "the folders' numbers"


def test_hidden_files_and_notes_beside_the_class_folders_are_passed_over(tmp_path: Path) -> None:
    publish_images(tmp_path, "sre2l", TINY, 1)
    (tmp_path / "log.txt").write_text("made today")
    (tmp_path / ".cache").mkdir()
    (tmp_path / "new000" / ".DS_Store").write_bytes(b"x")
    assert len(read("sre2l", tmp_path, TINY)) == 2
