"""Numpy's files of images and labels, under any usual names, channels first or last."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy
import pytest
import torch

from harness.core.errors import DataError
from harness.datasets.cards import Card
from tests.distilled.readers.publishing import read, smooth

CARD = Card("cifar10", (3, 8, 8), 10, (0.5, 0.5, 0.5), (0.2, 0.2, 0.2))
GREY = Card("digits", (1, 8, 8), 10)
IMAGES = smooth(20, CARD)
LABELS = torch.arange(20) // 2
SOFT = torch.nn.functional.one_hot(LABELS, 10) * 5.0 + torch.rand(20, 10, generator=torch.Generator().manual_seed(0))


def save(folder: Path, **arrays: Any) -> Path:
    numpy.savez_compressed(folder / "set.npz", **{name: numpy.asarray(array) for name, array in arrays.items()})
    return folder


@pytest.mark.parametrize("names", [("images", "labels"), ("x_train", "y_train"), ("arr_0", "arr_1"), ("Data", "Targets")])
@pytest.mark.parametrize("last", [False, True])
def test_arrays_of_usual_names_are_found_in_either_layout(tmp_path: Path, names: tuple[str, str], last: bool) -> None:
    images = IMAGES.permute(0, 2, 3, 1) if last else IMAGES
    made = read("npz", save(tmp_path, **{names[0]: images, names[1]: LABELS, "epoch": 3}), CARD)
    assert torch.equal(made.images, IMAGES) and torch.equal(made.labels, LABELS) and made.soft_labels is None
    assert made.provenance["assumed"]["arrays"] == {"images": names[0], "labels": names[1]}


@pytest.mark.parametrize("kind", ["uint8", "int16", "float32", "float64"])
def test_labels_are_whole_numbers_of_any_type_n_or_n_by_one_or_one_hot(tmp_path: Path, kind: str) -> None:
    numbers = LABELS.numpy().astype(kind)
    for labels in (numbers, numbers[:, None], numpy.eye(10, dtype="float32")[LABELS]):
        made = read("npz", save(tmp_path, x=IMAGES, y=labels), CARD)
        assert torch.equal(made.labels, LABELS) and made.soft_labels is None


def test_images_are_pixels_of_8_bits_in_whatever_numbers_or_in_0_to_1(tmp_path: Path, refused) -> None:
    assert torch.equal(read("npz", save(tmp_path, x=IMAGES.long(), y=LABELS), CARD).images, IMAGES)
    assert torch.equal(read("npz", save(tmp_path, x=IMAGES.double() / 255, y=LABELS), CARD).images, (IMAGES / 255))
    grey = IMAGES[:, :1]
    assert torch.equal(read("npz", save(tmp_path, x=grey[:, 0], y=LABELS), GREY).images, grey)
    normalised = (IMAGES / 255 - 0.5) / 0.2
    with refused(DataError, "set.npz", "npz(normalised=true)"):
        read("npz", save(tmp_path, x=normalised, y=LABELS), CARD)
    made = read("npz", tmp_path, CARD, normalised=True)
    assert made.normalised and torch.equal(made.images, normalised)


def test_soft_labels_are_read_beside_hard_ones_and_alone(tmp_path: Path) -> None:
    both = read("npz", save(tmp_path, x=IMAGES, y=LABELS.flip(0), logits=SOFT), CARD)
    assert torch.equal(both.labels, LABELS.flip(0)) and torch.equal(both.soft_labels, SOFT) and both.soft_kind == "logits"
    alone = read("npz", save(tmp_path, x=IMAGES, y=SOFT.softmax(1)), CARD)
    assert torch.equal(alone.labels, LABELS) and alone.soft_kind == "probabilities"


def test_other_names_are_stated_and_what_there_is_is_listed(tmp_path: Path, refused) -> None:
    save(tmp_path, pictures=IMAGES, kinds=LABELS)
    with refused(DataError, "set.npz", "pictures [20, 3, 8, 8], kinds [20]", "give npz(images=NAME)"):
        read("npz", tmp_path, CARD)
    with refused(DataError, "give npz(labels=NAME)"):
        read("npz", tmp_path, CARD, images="pictures")
    with refused(DataError, "no such array", "did you mean 'kinds'"):
        read("npz", tmp_path, CARD, images="pictures", labels="kind")
    assert torch.equal(read("npz", tmp_path, CARD, images="pictures", labels="kinds").labels, LABELS)


def test_its_bytes_are_those_in_the_file(tmp_path: Path) -> None:
    made = read("npz", save(tmp_path, x=IMAGES, y=LABELS), CARD)
    assert 0 < made.image_bytes < IMAGES.nbytes and 0 < made.label_bytes < LABELS.nbytes
    assert made.image_bytes + made.label_bytes < (tmp_path / "set.npz").stat().st_size
    assert read("npz", tmp_path, CARD, ipc=1).image_bytes == 10 * 3 * 64  # of a part, as pixels
