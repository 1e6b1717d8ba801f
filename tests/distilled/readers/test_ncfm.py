"""NCFM's mosaics: each tile is an image of its own, at full size, as its authors decode them."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from harness import DistilledSet
from harness.core.errors import BadOption, DataError
from harness.datasets.cards import Card
from harness.distilled.files import read_set_header
from tests.distilled.readers.publishing import read

CARD = Card("cifar10", (3, 8, 8), 10)


def images(count: int, side: int = 8) -> Tensor:
    return torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(0))


def tiles_of(image: Tensor, factor: int) -> list[Tensor]:
    """The tiles of one image, row by row, written out."""
    side = image.shape[-1]
    beyond = (factor - side % factor) % factor
    canvas = torch.full((3, side + beyond, side + beyond), 0.5)
    canvas[:, :side, :side] = image
    tile, large = math.ceil(side / factor), nn.Upsample(size=(side, side), mode="bilinear")
    return [
        large(canvas[None, :, top : top + tile, left : left + tile])[0]
        for top in range(0, tile * factor, tile)
        for left in range(0, tile * factor, tile)
    ]


@pytest.mark.parametrize(("factor", "side"), [(1, 8), (2, 8), (2, 7), (3, 8)])
def test_one_stored_image_is_factor_squared_to_train_on(tmp_path: Path, factor: int, side: int) -> None:
    card = Card("cifar10", (3, side, side), 10)
    stored, order = images(20, side), torch.randperm(20, generator=torch.Generator().manual_seed(1))
    targets = (torch.arange(20) // 2)[order]
    torch.save([stored, targets], tmp_path / "data_20000.pt")
    made = read("ncfm", tmp_path, card, factor=factor)
    wanted = []
    for label in range(10):  # of each class all first tiles, then all second ones
        mosaics = [tiles_of(stored[place], factor) for place in (targets == label).nonzero()[:, 0]]
        wanted += [mosaic[tile] for tile in range(factor**2) for mosaic in mosaics]
    assert torch.equal(made.images, torch.stack(wanted))
    assert made.labels.tolist() == [label for label in range(10) for _ in range(2 * factor**2)]
    assert (made.ipc, made.provenance["ipc"], made.factor, made.native_loss) == (2, 2, 1, "ce")


def test_its_ipc_and_its_bytes_are_those_of_the_stored_images_on_disk_too(tmp_path: Path) -> None:
    torch.save([images(20), torch.arange(20) // 2], tmp_path / "data_1.pt")
    made = read("ncfm", tmp_path / "data_1.pt", CARD)
    assert (len(made), made.image_bytes, made.label_bytes) == (80, 20 * 3 * 64 * 4, 20 * 8)
    header = read_set_header(made.save(tmp_path / "set.safetensors"))
    assert header.ipc == 2 and header.stored_bytes() == {
        "image_bytes": 20 * 3 * 64 * 4,
        "pixel_bytes": 20 * 3 * 64,
        "label_bytes": 160,
    }
    assert DistilledSet.load(header.path).ipc == 2
    assert read("ncfm", tmp_path / "data_1.pt", CARD, ipc=1).image_bytes == 10 * 3 * 64 * 4


def test_pixels_are_clamped_and_the_last_iteration_is_read_and_both_are_said(tmp_path: Path) -> None:
    for iteration, shift in ((900, 0.0), (20000, 0.5)):
        torch.save([images(10) + shift, torch.arange(10).float()[:, None]], tmp_path / f"data_{iteration}.pt")
    said: list[str] = []
    made = read("ncfm", tmp_path, CARD, say=said.append, factor=1)
    assert torch.equal(made.images, (images(10) + 0.5).clamp(0, 1))
    assert any("of 2 iterations the last is read, data_20000.pt" in line for line in said)
    assert any("are clamped to [0, 1]" in line for line in said)


def test_what_a_factor_is_not_is_refused(tmp_path: Path, refused) -> None:
    for factor in (0, -1, 99):
        with refused(BadOption, "factor must be 1 to 8"):
            read("ncfm", tmp_path, CARD, factor=factor)
    with refused(DataError, tmp_path, "one data_ITERATION.pt is wanted, the folder has 0 files"):
        read("ncfm", tmp_path, CARD)
