"""Crops, flip and patch shuffle, against torchvision and RDED."""

from __future__ import annotations

import math
from collections import Counter
from itertools import permutations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torchvision.transforms import RandomResizedCrop as Theirs
from torchvision.transforms.v2.functional import resized_crop

from harness.augmentation import (
    Crops,
    Flip,
    PadCrop,
    PatchShuffle,
    RandomResizedCrop,
    resized,
)
from harness.core.errors import BadOption, DataError


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def images(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=generator(seed))


def theirs(count: int, height: int, width: int, scale: float) -> Tensor:
    """Boxes [count, 4] as torchvision draws them: top, left, height, width."""
    image = torch.empty(1, height, width)
    return torch.tensor([Theirs.get_params(image, [scale, 1.0], [3 / 4, 4 / 3]) for _ in range(count)], dtype=torch.float64)


def ours(count: int, height: int, width: int, scale: float) -> Tensor:
    crops = RandomResizedCrop(scale).draw(count, height, width, generator=generator())
    return torch.stack([crops.top, crops.left, crops.height, crops.width], 1).double()


@pytest.mark.parametrize(("height", "width", "scale"), [(32, 32, 0.08), (224, 224, 0.5), (20, 50, 0.6), (50, 20, 0.6), (8, 8, 1)])
def test_crops_are_distributed_as_torchvisions(height: int, width: int, scale: float) -> None:
    torch.manual_seed(0)
    mine, its = ours(20_000, height, width, scale), theirs(6_000, height, width, scale)
    spread = its.std(0).clamp(min=1e-9)
    assert ((mine.mean(0) - its.mean(0)).abs() < 5 * spread * math.sqrt(1 / 6_000 + 1 / 20_000) + 1e-9).all()
    assert (mine.std(0) - its.std(0)).abs().le(0.05 * spread + 1e-9).all()
    for quantity in (lambda b: b[:, 2] * b[:, 3], lambda b: b[:, 3] / b[:, 2]):  # area and aspect, by their deciles
        levels = torch.linspace(0.1, 0.9, 9, dtype=torch.float64)
        wanted, found = quantity(its).quantile(levels), quantity(mine).quantile(levels)
        assert ((found - wanted).abs() <= 0.04 * quantity(its).mean()).all()
    assert mine[:, :2].min() >= 0
    assert (mine[:, 0] + mine[:, 2]).max() <= height
    assert (mine[:, 1] + mine[:, 3]).max() <= width


@pytest.mark.parametrize(("height", "width"), [(10, 50), (50, 10), (32, 32)])
def test_the_centre_is_taken_when_no_draw_fits(height: int, width: int) -> None:
    torch.manual_seed(0)
    mine, its = ours(200, height, width, 1.0), theirs(200, height, width, 1.0)
    assert Counter(map(tuple, mine.tolist())) == Counter(map(tuple, its.tolist()))
    assert len(set(map(tuple, mine.tolist()))) == 1


def test_a_crop_of_everything_is_the_batch_itself() -> None:
    batch = images(4, 3, 32, 32)
    assert RandomResizedCrop(1.0)(batch) is batch


@settings(max_examples=30, deadline=None)
@given(st.integers(2, 40), st.integers(2, 40), st.integers(1, 4), st.integers(0, 2**32))
def test_a_crop_is_resized_as_torchvision_resizes_it(height: int, width: int, channels: int, seed: int) -> None:
    batch = images(3, channels, height, width, seed=seed)
    crops = RandomResizedCrop(0.1).draw(3, height, width, generator=generator(seed))
    boxes = torch.stack([crops.top, crops.left, crops.height, crops.width], 1).long().tolist()
    expected = torch.stack([resized_crop(x, *b, size=[height, width], antialias=True) for x, b in zip(batch, boxes, strict=True)])
    assert torch.allclose(resized(batch, crops), expected, atol=2e-5)


def test_shares_become_the_very_pixels_that_they_were_made_of() -> None:
    crops = RandomResizedCrop(0.08).draw(5000, 224, 200, generator=generator())
    shares = torch.stack([crops.top / 224, crops.left / 200, crops.height / 224, crops.width / 200], 1)
    again = Crops.of_shares(shares, 224, 200)
    for name in ("top", "left", "height", "width"):
        assert torch.equal(getattr(again, name), getattr(crops, name))
    edges = Crops.of_shares(torch.tensor([[1.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 1.0], [0.5, 0.5, 1.0, 1.0]]), 8, 8)
    assert torch.equal(edges.top, torch.tensor([7.0, 0.0, 4.0]))
    assert torch.equal(edges.height, torch.tensor([1.0, 8.0, 4.0]))


@pytest.mark.parametrize("shape", [(9, 3, 32, 32), (9, 1, 13, 20)])
def test_a_padded_crop_is_the_padded_image_sliced(shape: tuple[int, ...]) -> None:
    batch, step = images(*shape), PadCrop(4)
    shifts = step.draw(9, generator=generator())
    shifts[:2] = torch.tensor([[-4.0, 4.0], [4.0, -4.0]])
    padded = F.pad(batch, (4, 4, 4, 4))
    expected = torch.stack(
        [
            p[:, 4 + int(d) : 4 + int(d) + shape[2], 4 + int(a) : 4 + int(a) + shape[3]]
            for p, (d, a) in zip(padded, shifts, strict=True)
        ]
    )
    assert torch.allclose(step.apply(batch, shifts), expected, atol=1e-5)


def test_every_window_and_both_sides_come_alike() -> None:
    counts = Counter(map(tuple, PadCrop(1).draw(90_000, generator=generator()).tolist()))
    assert len(counts) == 9
    assert all(abs(count - 10_000) < 500 for count in counts.values())
    assert abs(Flip().draw(90_000, generator=generator()).float().mean() - 0.5) < 0.01


def test_a_flip_mirrors_those_drawn() -> None:
    batch, flips = images(4, 3, 6, 7), torch.tensor([True, False, True, False])
    result = Flip().apply(batch, flips)
    assert torch.equal(result[flips], batch[flips].flip(3))
    assert torch.equal(result[~flips], batch[~flips])


def shuffled(image: Tensor, columns: list[int], rows: list[int]) -> Tensor:
    """RDED's shuffle of one image: its column strips in one order, then its row strips in another."""
    image = torch.cat([image.chunk(len(columns), 2)[i] for i in columns], 2)
    return torch.cat([image.chunk(len(rows), 1)[i] for i in rows], 1)


@pytest.mark.parametrize(("factor", "height", "width"), [(2, 8, 12), (3, 9, 6)])
def test_tiles_are_shuffled_by_columns_then_by_rows(factor: int, height: int, width: int) -> None:
    batch, step = images(8, 3, height, width), PatchShuffle(factor)
    orders = step.draw(8, generator=generator())
    expected = torch.stack([shuffled(x, *order.tolist()) for x, order in zip(batch, orders, strict=True)])
    assert torch.equal(step.apply(batch, orders), expected)


def test_all_orders_of_strips_come_alike_and_columns_do_not_follow_rows() -> None:
    orders = PatchShuffle(3).draw(36_000, generator=generator())
    counts = Counter((tuple(c), tuple(r)) for c, r in orders.tolist())
    assert set(counts) == {(c, r) for c in permutations(range(3)) for r in permutations(range(3))}
    assert all(abs(count - 1000) < 200 for count in counts.values())


def test_factors_that_cannot_be_are_refused() -> None:
    with pytest.raises(BadOption, match="mosaic factor"):
        PatchShuffle(0)
    with pytest.raises(DataError, match="patch-shuffle: factor 2 does not divide images of 8x7 pixels"):
        PatchShuffle(2)(images(2, 3, 8, 7))
    batch = images(2, 3, 7, 7)
    assert PatchShuffle(1)(batch) is batch
