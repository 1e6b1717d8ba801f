"""What networks share when they meet images they were not made for."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from harness import models
from harness.core.errors import BadOption
from harness.models.fitting import Renormalised, Resized, checked_rate, fit, next_multiple


def test_resizing_is_recorded_and_keeps_values_and_memory_format() -> None:
    seen: list[torch.Tensor] = []

    class Probe(nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            seen.append(images)
            return images.mean((2, 3))

    model = fit(Probe(), (4, 6), (8, 12), "patch 2", "")
    images = torch.full((2, 3, 4, 6), 0.5).to(memory_format=torch.channels_last)
    assert torch.equal(model(images), torch.full((2, 3), 0.5))
    assert seen[0].shape == (2, 3, 8, 12)
    assert seen[0].is_contiguous(memory_format=torch.channels_last)
    assert models.adaptation(model) == "patch 2, input upsampled 4x6 -> 8x12 px"


def test_a_model_that_fits_its_images_is_left_bare() -> None:
    bare = nn.Identity()
    assert fit(bare, (8, 8), (8, 8), "", "window 7") is bare
    assert not isinstance(bare, Resized)
    assert models.adaptation(bare) == "window 7"


def test_a_renormalised_model_sees_images_as_its_own_statistics_make_them() -> None:
    pixels = torch.rand(2, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    come, own = ((0.5, 0.4, 0.3), (0.2, 0.3, 0.4)), ((0.1, 0.2, 0.3), (0.6, 0.5, 0.4))

    def normalised(statistics: tuple[tuple[float, ...], tuple[float, ...]]) -> torch.Tensor:
        mean, std = (torch.tensor(each).view(1, 3, 1, 1) for each in statistics)
        return (pixels - mean) / std

    seen = Renormalised(nn.Identity(), come, own)(normalised(come))
    assert torch.allclose(seen, normalised(own), atol=1e-5)


@pytest.mark.parametrize(("size", "of", "expected"), [((32, 33), 16, (32, 48)), ((1, 224), 7, (7, 224))])
def test_the_next_multiple_is_the_smallest_that_is_large_enough(
    size: tuple[int, int], of: int, expected: tuple[int, int]
) -> None:
    assert next_multiple(size, of) == expected


@pytest.mark.parametrize("rate", [-0.1, 1, True, "half"])
def test_a_rate_lies_from_zero_to_below_one(rate: object, refused) -> None:
    assert checked_rate("drop", 0) == 0.0
    with refused(BadOption, "drop must be in [0, 1)", repr(rate)):
        checked_rate("drop", rate)  # type: ignore[arg-type]
