"""Colour jitter and lighting against the same done image by image."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from harness.augmentation.jitter import DIRECTIONS, VARIANCES, ColorJitter, Lighting
from harness.augmentation.pipeline import augmentation
from harness.augmentation.words import changes_pixels, known_augmentation
from harness.core.errors import BadOption, DataError

STATISTICS = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
MEAN, STD = (torch.tensor(values).view(3, 1, 1) for values in STATISTICS)
STEPS = "color-jitter(strength=0.4)+lighting(deviation=0.1)"


def images(count: int = 4) -> Tensor:
    return torch.rand(count, 3, 6, 8, generator=torch.Generator().manual_seed(0)).sub(MEAN).div(STD)


def jittered(image: Tensor, order: list[int], amounts: list[float]) -> Tensor:
    pixels = image * STD + MEAN
    for kind in order:
        red, green, blue = pixels
        grey = 0.299 * red + 0.587 * green + 0.114 * blue
        other = (torch.zeros_like(pixels), torch.full_like(pixels, float(grey.mean())), grey.expand(3, -1, -1))[kind]
        pixels = torch.lerp(pixels, other, amounts[kind])
    return (pixels - MEAN) / STD


def test_each_image_is_jittered_in_its_own_order() -> None:
    batch = images(3)
    order = torch.tensor([[0, 1, 2], [2, 1, 0], [1, 2, 0]])
    amounts = torch.tensor([[0.4, -0.2, 0.1], [-0.4, 0.3, 0.2], [0.0, 0.1, -0.3]])
    made = ColorJitter(0.4, STATISTICS).apply(batch, order, amounts)
    for number, image in enumerate(batch):
        assert torch.allclose(made[number], jittered(image, order[number].tolist(), amounts[number].tolist()), atol=1e-5)


def test_light_moves_along_its_three_directions() -> None:
    batch, amounts = images(2), torch.tensor([[0.1, -0.2, 0.3], [0.0, 0.0, 0.0]])
    made = Lighting(0.1, STATISTICS).apply(batch, amounts)
    for channel in range(3):
        moved = sum(DIRECTIONS[channel][k] * float(amounts[0, k]) * VARIANCES[k] for k in range(3))
        expected = batch[0, channel] + moved / STATISTICS[1][channel]
        assert torch.allclose(made[0, channel], expected, atol=1e-6)
    assert torch.equal(made[1], batch[1])


def test_amounts_are_drawn_as_far_as_they_say() -> None:
    draws = torch.Generator().manual_seed(0)
    flat = torch.ones(4000, 3, 1, 1).sub(MEAN).div(STD)  # white: only brightness changes it
    made = ColorJitter(0.4, STATISTICS)(flat, generator=draws) * STD + MEAN
    kept = made[:, 0, 0, 0]
    assert (float(kept.min()), float(kept.max())) == pytest.approx((0.6, 1.4), abs=0.01)
    light = (Lighting(0.1, STATISTICS)(flat, generator=draws) - flat) * STD
    inverse = torch.linalg.pinv(torch.tensor(DIRECTIONS)) / torch.tensor(VARIANCES)[:, None]
    assert (light[:, :, 0, 0] @ inverse.T).std(0).tolist() == pytest.approx([0.1] * 3, rel=0.05)


def test_trainings_together_draw_what_each_draws_alone() -> None:
    made = augmentation(STEPS, statistics=STATISTICS)
    together = made(images(4), generator=[torch.Generator().manual_seed(seed) for seed in range(2)])
    alone = [made(images(4)[2 * n : 2 * n + 2], generator=torch.Generator().manual_seed(n)) for n in range(2)]
    assert torch.equal(together, torch.cat(alone))


def test_both_are_steps_of_a_pipeline_that_change_pixels() -> None:
    assert known_augmentation("color-jitter+lighting") == STEPS
    assert changes_pixels(STEPS)
    for text, said in (("color-jitter(strength=2)", "strength must be from 0 to 1"), ("lighting(deviation=-1)", "at least 0")):
        with pytest.raises(BadOption, match=said):
            known_augmentation(text)


@pytest.mark.parametrize("step", ["color-jitter", "lighting"])
def test_images_without_pixels_are_refused_and_light_of_one_channel(step: str) -> None:
    with pytest.raises(DataError, match="changes pixels, and images that were whitened have none"):
        augmentation(step)
    with pytest.raises(DataError, match="three channels, not 1"):
        augmentation("lighting", statistics=((0.5,), (0.25,)))
