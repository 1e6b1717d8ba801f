"""What every torch-saved format does: lower IPCs, provenance, refusals by file."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from harness.core.errors import BadOption, DataError
from harness.distilled.set import DistilledSet
from tests.distilled.readers.published_files import TENSORS, imported, write
from tests.distilled.readers.publishing import read
from tests.distilled.readers.torch_saved import (
    DIGITS,
    HARD,
    IPC,
    PUBLISHED,
    Refused,
    first_of_each_class,
    learned_logits,
    normalised,
    publish,
    publish_gift,
    save,
)

formats = pytest.mark.parametrize("name", PUBLISHED)


# -- all formats -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", TENSORS)
def test_an_imported_set_is_saved_and_loaded_with_the_same_digest(tmp_path: Path, form: str) -> None:
    made = imported(form, write(form, tmp_path / "set", DIGITS, IPC), DIGITS)
    again = DistilledSet.load(made.save(tmp_path / "set.safetensors"))
    assert again.digest == made.digest and again.metadata == made.metadata
    assert made.labels.tolist() == HARD.tolist() and made.ipc == IPC


@pytest.mark.parametrize("form", TENSORS)
def test_a_lower_ipc_is_the_publishers_first_k_of_each_class(tmp_path: Path, form: str) -> None:
    path = write(form, tmp_path / "set", DIGITS, IPC)
    whole, fewer = imported(form, path, DIGITS), imported(form, path, DIGITS, ipc=2)
    places = first_of_each_class(10 * IPC, IPC)
    assert torch.equal(fewer.images, whole.images[places]) and torch.equal(fewer.labels, whole.labels[places])
    if whole.soft_labels is not None:
        assert fewer.soft_labels is not None and torch.equal(fewer.soft_labels, whole.soft_labels[places])
    assert fewer.provenance["ipc"] == 2 and fewer.digest != whole.digest


@pytest.mark.parametrize("form", TENSORS)
def test_the_provenance_has_the_digest_of_every_file(tmp_path: Path, form: str) -> None:
    path = write(form, tmp_path / "set", DIGITS, IPC)
    files = {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in path.rglob("*.pt")}
    made = imported(form, path, DIGITS)
    assert made.provenance["files"] == files and made.provenance["format"] == form


def test_classes_in_turn_are_cut_to_the_first_k_in_their_own_order(tmp_path: Path) -> None:
    hard = torch.arange(10).repeat(IPC)
    images = torch.arange(30.0).view(30, 1, 1, 1).expand(30, 1, 16, 16).contiguous()
    made = imported("mtt", save(tmp_path / "set", images_best=images, labels_best=hard), DIGITS, ipc=2)
    assert made.images[:, 0, 0, 0].tolist() == list(range(20)) and made.labels.tolist() == list(range(10)) * 2


@formats
def test_a_set_survives_saving_and_loading(tmp_path: Path, pixels: Tensor, name: str) -> None:
    made = read(name, publish(name, tmp_path, pixels), DIGITS)
    assert DistilledSet.load(made.save(tmp_path / "out" / "set.safetensors")).digest == made.digest
    assert made.dataset == "digits" and made.classes == 10


@formats
@pytest.mark.parametrize("ipc", [1, 2])
def test_a_lower_ipc_is_the_first_images_of_each_class(tmp_path: Path, pixels: Tensor, name: str, ipc: int) -> None:
    path = publish(name, tmp_path, pixels)
    whole = read(name, path, DIGITS)
    made = read(name, path / "data.pt" if name == "gift" else path, DIGITS, ipc=ipc)
    places = [label * 3 + image for label in range(10) for image in range(ipc)]
    assert torch.equal(made.images, whole.images[places]) and torch.equal(made.labels, whole.labels[places])
    if whole.soft_labels is not None:
        assert made.soft_labels is not None and torch.equal(made.soft_labels, whole.soft_labels[places])
    assert made.provenance["ipc"] == ipc and whole.provenance["ipc"] == 3


@formats
def test_the_provenance_tells_the_files_their_digests_and_what_was_assumed(tmp_path: Path, pixels: Tensor, name: str) -> None:
    path = publish(name, tmp_path, pixels)
    said: list[str] = []
    provenance = read(name, path, DIGITS, say=said.append).provenance
    found = {file.name: file for file in tmp_path.rglob("*.pt")}
    assert provenance["format"] == name and set(provenance["files"]) == set(found)
    assert all(sha == hashlib.sha256(found[file].read_bytes()).hexdigest() for file, sha in provenance["files"].items())
    assert "normalisation" in provenance["assumed"] and said


@formats
@pytest.mark.parametrize("ipc", [4, 0, -1])
def test_more_images_a_class_than_there_are_is_refused(
    tmp_path: Path, pixels: Tensor, refused: Refused, name: str, ipc: int
) -> None:
    path = publish(name, tmp_path, pixels)
    with refused(DataError, ".pt", f"{ipc} images a class", "it has 3"):
        read(name, path / "data.pt" if name == "gift" else path, DIGITS, ipc=ipc)


@formats
@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda images: images.to(torch.float32).where(images != images.max(), torch.nan), "finite"),
        (lambda images: images.where(images != images.max(), torch.inf), "finite"),
        (lambda images: (images * 10).to(torch.int32), "floats"),
        (lambda images: images[:, :, :8], "[N, 1, 16, 16]"),
        (lambda images: images.expand(-1, 3, -1, -1).contiguous(), "[N, 1, 16, 16]"),
        (lambda images: images[:29], "29 images"),
        (lambda images: images[:0], "[N, 1, 16, 16]"),
        (lambda images: {"images": images}, "tensor"),
    ],
    ids=["nan", "infinite", "integers", "shape", "channels", "one too few", "none", "no tensor"],
)
def test_images_that_do_not_fit_are_refused_by_file(
    tmp_path: Path, pixels: Tensor, refused: Refused, name: str, change: Callable[[Tensor], Any], words: str
) -> None:
    writer, images, labels = PUBLISHED[name]
    changed = change(images(pixels))
    if name == "dc":
        torch.save({"data": [[changed, HARD]]}, tmp_path / "res.pt")
        path = tmp_path / "res.pt"
    elif name == "gift":
        path = publish_gift(tmp_path, changed, labels())
    else:
        path = writer(tmp_path, images(pixels), labels())
        torch.save(changed, path / "images_best.pt")
    with refused(DataError, ".pt: ", words):
        read(name, path, DIGITS)


@pytest.mark.parametrize("name", ["mtt", "tesla", "dc", "gift"])
@pytest.mark.parametrize("form", [lambda hard: hard.float(), lambda hard: hard[:, None], lambda hard: hard.double()[:, None]])
def test_hard_labels_are_whole_numbers_of_any_type_n_or_n_by_one(
    tmp_path: Path, pixels: Tensor, name: str, form: Callable[[Tensor], Tensor]
) -> None:
    writer, images, _ = PUBLISHED[name]
    path = writer(tmp_path, images(pixels), form(HARD))
    made = read(name, path / "data.pt" if name == "gift" else path, DIGITS)
    assert torch.equal(made.labels, HARD) and made.soft_labels is None


@formats
@pytest.mark.parametrize(
    ("labels", "words"),
    [
        (HARD.float() + 0.5, "integers"),
        (HARD > 4, "integers"),
        (HARD[:29], "29 labels for 30 images"),
        (HARD + 1, "0..9"),
        (HARD - 1, "0..9"),
        (torch.cat([HARD[:-1], HARD[:1]]), "same number of images"),
        (learned_logits()[:, :9], "9"),
        (learned_logits()[:29], "29 labels"),
        (learned_logits().where(learned_logits() < 8, torch.nan), "finite"),
        (learned_logits().long(), "int"),
        ([1, 2, 3], "tensor"),
    ],
    ids=[
        "fractions",
        "bool",
        "one too few",
        "too high",
        "negative",
        "uneven",
        "classes",
        "soft too few",
        "nan",
        "soft integers",
        "list",
    ],
)
def test_labels_that_do_not_fit_are_refused_by_file(
    tmp_path: Path, pixels: Tensor, refused: Refused, name: str, labels: Any, words: str
) -> None:
    path = publish(name, tmp_path, pixels)
    if name == "dc":
        torch.save({"data": [[normalised(pixels), labels]]}, path)
    elif name == "gift":
        torch.save({"dataset": "digits", "data": pixels, "label": labels}, path / "data.pt")
    else:
        torch.save(labels, path / "labels_best.pt")
    soft = isinstance(labels, Tensor) and labels.dim() == 2
    hard = isinstance(labels, Tensor) and labels.dim() == 1
    if (name in ("mtt", "dc") and soft) or (name == "datm" and hard):  # of the other kind altogether
        words = "must be"
    with refused(DataError, ".pt: ", words):
        read(name, path, DIGITS)


@formats
def test_a_missing_file_and_an_empty_folder_are_refused(tmp_path: Path, pixels: Tensor, refused: Refused, name: str) -> None:
    (tmp_path / "empty").mkdir()
    with refused(DataError, "empty"):
        read(name, tmp_path / "empty", DIGITS)
    publish(name, tmp_path, pixels)
    for file in tmp_path.rglob("*.pt"):
        content = file.read_bytes()
        file.unlink()
        with refused(DataError, str(tmp_path), "no such" if name != "dc" else "no"):
            read(name, file if name in ("dc", "gift") else tmp_path, DIGITS)
        file.write_bytes(content)


@pytest.mark.parametrize("content", [[], {"data": []}, {"data": [[1, 2]]}, {"data": [[torch.rand(1)]]}, {"images": 1}, 3])
@pytest.mark.parametrize("name", ["dc", "gift"])
def test_a_file_of_another_layout_is_refused(tmp_path: Path, refused: Refused, name: str, content: Any) -> None:
    torch.save(content, tmp_path / "data.pt")
    with refused(DataError, "data.pt: ", '"data"'):
        read(name, tmp_path / "data.pt", DIGITS)


def test_an_option_that_a_reader_does_not_have_is_refused(tmp_path: Path, refused: Refused) -> None:
    with refused(BadOption, "zac"):
        read("mtt", tmp_path, DIGITS, zac=False)
    with refused(BadOption, "statistics"):
        read("dc", tmp_path, DIGITS, statistics="mine")
