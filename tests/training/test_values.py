"""Material that is normalised before or by the batch, and the part of a recipe that its steps depend on."""

from __future__ import annotations

from dataclasses import fields, replace

import pytest
import torch
from torch import Tensor

from harness import optimizers
from harness.boards.stages import Stage
from harness.training import values
from harness.training.values import Material, Recipe

SHAPE = (3, 4, 6)
MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.3, 0.4)
LABELS = torch.tensor([0, 1, 2, 0, 1])
RECIPE = Recipe(
    7, 4, optimizers.resolve("adamw"), optimizers.schedules.resolve("cosine"), "flip", "bf16", evaluations=3, mixing="cutmix"
)


def pixels() -> Tensor:
    return torch.randint(0, 256, (5, *SHAPE), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def by_hand(images: Tensor) -> Tensor:
    """Return pixels normalised a channel at a time, in float64."""
    channels = [(images[:, c].double() / 255 - MEAN[c]) / STD[c] for c in range(3)]
    return torch.stack(channels, dim=1)


@pytest.mark.parametrize("limit", [values.KEEP_FLOAT_BYTES, 0])
def test_a_batch_is_normalised_whether_floats_fit_or_not(monkeypatch: pytest.MonkeyPatch, limit: int) -> None:
    monkeypatch.setattr(values, "KEEP_FLOAT_BYTES", limit)
    material = Material.on_device("cpu", pixels(), LABELS, mean=MEAN, std=STD)
    assert material.images.dtype == (torch.float32 if limit else torch.uint8)
    assert bool(material.mean) == (limit == 0), "what is normalised already must not be normalised again"
    index = torch.tensor([4, 0, 4])
    batch = material.batch(index)
    torch.testing.assert_close(batch.double(), by_hand(pixels())[index], rtol=0, atol=1e-5)
    assert batch.is_contiguous(memory_format=torch.channels_last)


def test_floats_are_kept_up_to_the_limit_and_no_further(monkeypatch: pytest.MonkeyPatch) -> None:
    needed = pixels().numel() * 4
    for limit, dtype in ((needed, torch.float32), (needed - 1, torch.uint8)):
        monkeypatch.setattr(values, "KEEP_FLOAT_BYTES", limit)
        assert Material.on_device("cpu", pixels(), LABELS, mean=MEAN, std=STD).images.dtype == dtype


def test_images_that_are_normalised_already_are_taken_as_they_are() -> None:
    images = torch.randn(5, *SHAPE, generator=torch.Generator().manual_seed(1))
    material = Material.on_device("cpu", images, LABELS)
    assert torch.equal(material.images, images)
    assert material.images.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(material.batch(torch.arange(5)), images)


def test_images_labels_and_soft_labels_are_taken_at_one_index() -> None:
    images, soft = torch.randn(5, *SHAPE), torch.randn(5, 3)
    index = torch.tensor([3, 1])
    taken = Material(images, LABELS, soft).at(index)
    assert all(torch.equal(part, whole[index]) for part, whole in zip(taken, (images, LABELS, soft), strict=True))  # type: ignore[arg-type]
    assert Material(images, LABELS).at(index)[2] is None


def test_recipes_of_other_lengths_evaluations_and_schedules_have_one_step_and_all_others_another() -> None:
    alike = {"epochs": 1, "evaluations": 1, "schedule": optimizers.schedules.resolve("multistep(gamma=0.5)")}
    others = {
        "batch_size": 5,
        "optimizer": optimizers.resolve("adamw(lr=0.5)"),
        "augmentation": "crop",
        "precision": "float32",
        "mixing": "mixup",
        "cutout": "inner",
        "stages": (Stage(soft=1), Stage(hard=1)),
        "accumulation": 2,
        "ema": 0.5,
        "ranks": "ema",
    }
    assert {*alike, *others} == {field.name for field in fields(Recipe)}
    assert all(replace(RECIPE, **{name: value}).step == RECIPE.step for name, value in alike.items())
    assert all(replace(RECIPE, **{name: value}).step != RECIPE.step for name, value in others.items())
