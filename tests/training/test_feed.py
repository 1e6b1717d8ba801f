"""What trainings that see the same are given: batches of each seed, and what the teacher says of them."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from harness import optimizers
from harness.boards.stages import Stage
from harness.training.batches import Shuffled
from harness.training.feed import Feed
from harness.training.values import Material, Recipe
from tests.training.small import CLASSES

RECIPE = Recipe(3, 4, optimizers.resolve("adamw"), optimizers.schedules.resolve("constant"), "color_crop_flip", mixing="cutmix")


def teach(images: Tensor) -> Tensor:
    return images.flatten(1)[:, :CLASSES] * 2


@pytest.mark.parametrize("seeds", [[5], [5, 6]])
def test_a_step_is_that_of_its_seeds_and_what_the_teacher_says_of_it(material: Material, seeds: list[int]) -> None:
    feed, source = Feed(material, RECIPE, seeds, teach), Shuffled(material, RECIPE, seeds)
    for given, index in zip(feed.epoch(1), source.epoch(1), strict=True):
        step, expected = feed.step(given), source.step(index)
        assert torch.equal(step.images, expected.images)
        assert step.taught is not None
        assert torch.equal(step.taught, teach(expected.images))


def test_trainings_of_one_seed_take_the_same_place_of_a_step(material: Material) -> None:
    feed = Feed(material, RECIPE, [5, 6], teach)
    step = feed.step(next(iter(feed.epoch(1))))
    shared = step.of([1, 0, 1])
    first, second = step.images.chunk(2)
    assert torch.equal(shared.images, torch.cat([second, first, second]))
    assert all(batch is step.batches[place] for batch, place in zip(shared.batches, [1, 0, 1], strict=True))
    assert shared.taught is not None
    assert torch.equal(shared.taught, teach(shared.images))


def test_the_teacher_is_not_asked_in_stages_of_hard_labels(material: Material) -> None:
    recipe = replace(RECIPE, stages=(Stage(soft=1), Stage(hard=2)))
    feed = Feed(material, recipe, [5], teach)
    taught = [[feed.step(given).taught is not None for given in feed.epoch(number)] for number in (1, 2, 3)]
    assert [all(epoch) for epoch in taught] == [True, False, False]
    assert not any(taught[1] + taught[2])
    assert feed.hard is not None
