"""RDED's mosaics: how they are built, and how a student sees them."""

from __future__ import annotations

import math
from collections import Counter

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from harness.augmentation import MosaicCrop, MosaicCropParameters, augmentation, mosaic
from harness.core.errors import BadOption, DataError


def generator(seed: int = 0, device: str = "cpu") -> torch.Generator:
    return torch.Generator(device).manual_seed(seed)


def images(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(*shape, generator=generator(seed), dtype=torch.float64).to(dtype)


def assert_near(actual: Tensor, expected: Tensor, tolerance: float = 1e-5) -> None:
    assert actual.shape == expected.shape
    difference = (actual.double() - expected.double()).abs().max().item()
    assert difference <= tolerance, f"off by {difference:.1e}"


DRAWS = 100_000


@pytest.mark.parametrize(("factor", "height", "width"), [(2, 32, 32), (2, 8, 12), (3, 18, 12), (4, 28, 28), (2, 2, 2)])
@pytest.mark.parametrize("channels", [1, 3])
def test_each_tile_is_what_interpolate_makes_of_it(factor: int, height: int, width: int, channels: int) -> None:
    tiles = torch.arange(-1, factor**2)
    batch = images(len(tiles), channels, height, width)
    result = MosaicCrop(factor).apply(batch, MosaicCropParameters(tiles.float()))
    assert_near(result[0], batch[0])
    h, w = height // factor, width // factor
    for tile in range(factor**2):
        row, column = divmod(tile, factor)
        part = batch[tile + 1 :, :, row * h : (row + 1) * h, column * w : (column + 1) * w][:1]
        expected = F.interpolate(part, size=(height, width), mode="bilinear", align_corners=False)
        assert_near(result[tile + 1 : tile + 2], expected)


def test_a_tile_shows_nothing_of_its_neighbours() -> None:
    mosaics = mosaic(torch.arange(9.0).reshape(9, 1, 1, 1).expand(-1, 3, 5, 5), 3).expand(9, -1, -1, -1)
    result = MosaicCrop(3).apply(mosaics, MosaicCropParameters(torch.arange(9.0)))
    assert_near(result, torch.arange(9.0).reshape(9, 1, 1, 1).expand(-1, 3, 15, 15))


@pytest.mark.parametrize("factor", [2, 3])
def test_the_whole_is_kept_as_often_as_said_and_tiles_come_alike(factor: int) -> None:
    counts = Counter(MosaicCrop(factor).draw(DRAWS, generator=generator()).tile.tolist())
    assert sorted(counts) == list(range(-1, factor**2))
    kept = 1 / factor**2
    for tile, count in counts.items():
        probability = kept if tile == -1 else (1 - kept) / factor**2
        assert count / DRAWS == pytest.approx(probability, abs=5 * math.sqrt(probability / DRAWS))


def test_the_mosaic_crop_replays_and_follows_its_generator() -> None:
    batch, crop_ = images(16, 3, 8, 8), MosaicCrop(2)
    first = crop_(batch, generator=generator(1))
    assert torch.equal(crop_.apply(batch, crop_.draw(16, generator=generator(1))), first)
    assert torch.equal(crop_(batch, generator=generator(1)), first)
    assert not torch.equal(crop_(batch, generator=generator(2)), first)


def test_factor_one_returns_the_batch_itself() -> None:
    batch = images(2, 3, 7, 7)
    assert MosaicCrop(1)(batch) is batch
    assert augmentation("none", 1)(batch) is batch


def test_factors_that_cannot_be_are_refused() -> None:
    for factor in (0, -1, 1.5):
        with pytest.raises(BadOption, match="mosaic factor"):
            MosaicCrop(factor)  # type: ignore[arg-type]
        with pytest.raises(BadOption, match="mosaic factor"):
            mosaic(images(4, 3, 2, 2), factor)  # type: ignore[arg-type]
    with pytest.raises(DataError, match="2 does not divide images of 8x7"):
        MosaicCrop(2)(images(2, 3, 8, 7))
    with pytest.raises(DataError, match="6 tiles do not fill"):
        mosaic(images(6, 3, 2, 2), 2)


@pytest.mark.parametrize(("factor", "count", "shape"), [(2, 3, (3, 4, 5)), (3, 2, (1, 2, 2)), (1, 4, (3, 4, 4))])
def test_tile_k_of_mosaic_i_is_the_crop_of_rank_k_n_plus_i(factor: int, count: int, shape: tuple[int, int, int]) -> None:
    tiles = images(count * factor**2, *shape)
    built = mosaic(tiles, factor)
    channels, h, w = shape
    assert built.shape == (count, channels, factor * h, factor * w)
    for i in range(count):
        for k in range(factor**2):
            row, column = divmod(k, factor)
            tile = built[i, :, row * h : (row + 1) * h, column * w : (column + 1) * w]
            assert torch.equal(tile, tiles[k * count + i])
