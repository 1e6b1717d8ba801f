"""The one bilinear warp, against slices and torch's own grids."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from harness.augmentation.warp import at_least_float32, like, normalise, stretch, warp
from harness.core.errors import DataError

IMAGES = torch.rand(2, 3, 8, 16, generator=torch.Generator().manual_seed(0))


def centres(side: int) -> Tensor:
    return normalise(torch.arange(0.5, side)[None].expand(2, -1), side)


def test_the_centres_of_pixels_lie_where_torch_puts_them() -> None:
    identity = torch.eye(2, 3)[None].expand(2, -1, -1)
    grid = F.affine_grid(identity, [2, 3, 8, 16], align_corners=False)
    assert torch.allclose(grid[..., 0], centres(16)[:, None, :].expand(2, 8, 16), atol=1e-6)
    assert torch.equal(warp(IMAGES, centres(16), 1j * centres(8)), IMAGES)


def test_a_displacement_by_whole_pixels_is_exact_and_zero_outside() -> None:
    across = normalise(torch.arange(0.5, 16)[None].expand(2, -1) + 3, 16)
    moved = warp(IMAGES, across, 1j * centres(8))
    assert torch.equal(moved[..., :13], IMAGES[..., 3:])
    assert not moved[..., 13:].any()


def test_a_part_is_stretched_over_the_whole_side_without_its_neighbours() -> None:
    start, part = torch.tensor([[0.0], [0.5]]), torch.full((2, 1), 0.5)
    resized = warp(IMAGES, stretch(IMAGES, 16, start, part), 1j * centres(8))
    for image, half, found in zip(IMAGES, (slice(0, 8), slice(8, 16)), resized, strict=True):
        expected = F.interpolate(image[None, :, :, half], size=(8, 16), mode="bilinear", align_corners=False)[0]
        assert torch.allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize(("dtype", "computed"), [(torch.float16, torch.float32), (torch.float64, torch.float64)])
def test_positions_are_computed_in_float32_at_least(dtype: torch.dtype, computed: torch.dtype) -> None:
    assert at_least_float32(IMAGES.to(dtype)).dtype == computed


def test_whole_numbers_are_refused(refused) -> None:
    with refused(DataError, "floating-point images", "torch.uint8"):
        at_least_float32(IMAGES.to(torch.uint8))


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_a_result_has_dtype_and_memory_format_of_its_batch(memory_format: torch.memory_format) -> None:
    batch = IMAGES.half().contiguous(memory_format=memory_format)
    result = like(IMAGES.clone(), batch)
    assert result.dtype == torch.float16
    assert result.is_contiguous(memory_format=memory_format)
