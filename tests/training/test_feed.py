"""What trainings that see the same are given: batches of each seed, and what the teacher says of them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from harness import losses, optimizers
from harness.boards.stages import Stage
from harness.core import seeds
from harness.core.errors import DataError
from harness.training.batches import Shuffled
from harness.training.feed import Feed
from harness.training.in_step import Part, fit_in_step
from harness.training.loop import fit, fit_together
from harness.training.replay import Replay, Rule
from harness.training.values import Material, Member, Recipe
from tests.training.small import CLASSES, student, weights

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


def pooled(material: Material, order: str, epochs: int, steps: int) -> Material:
    """Material with `epochs` times `steps` stored batches, each of which tells its number by its logits."""
    rows, size = epochs * steps, 5
    replay = Replay(
        torch.arange(size).repeat(rows, 1),
        torch.tensor([0.0, 0.0, 1.0, 1.0]).repeat(rows, size, 1),
        torch.zeros(rows, size, dtype=torch.bool),
        torch.arange(size).repeat(rows, 1),
        torch.ones(rows, 1),
        torch.full((rows, 1, 4), -1),
        torch.arange(rows).view(rows, 1, 1).expand(rows, size, CLASSES).half(),
        size,
        counts=torch.full((rows,), size),
        rule=Rule(order, steps),  # type: ignore[arg-type]
    )
    return replace(material, replay=replay)


def told(feed: Feed, number: int) -> list[int]:
    """Which stored batches an epoch takes."""
    batches = [feed.step(given).batches[0] for given in feed.epoch(number)]
    return [int(batch.soft[0, 0]) for batch in batches if batch.soft is not None]


def test_stored_batches_are_drawn_by_the_seed_of_the_training_in_stages_too(material: Material) -> None:
    own = pooled(material, "sampled", 4, 2)
    stored = replace(RECIPE, augmentation="stored", mixing="stored", batch_size=5)
    staged = replace(stored, stages=(Stage(soft=1), Stage(hard=1, augmentation="flip", mixing="none"), Stage(soft=1)))
    for recipe in (stored, staged):
        drawn = [told(Feed(own, recipe, [seed], teach), 1) for seed in (5, 6)]
        assert drawn == [own.replay.rows(1, seed).tolist() for seed in (5, 6)]  # type: ignore[union-attr]
        assert drawn[0] != drawn[1]
    assert told(Feed(own, staged, [5], teach), 2) == []


def test_permuted_batches_are_those_that_hald_takes_in_each_stage(material: Material) -> None:
    """Its loop draws a permutation of all batches where a stage begins and where one is used up, in hard stages too."""
    steps, epochs = 2, 3
    lengths = (4, 5, 4)
    stages = (Stage(soft=lengths[0]), Stage(hard=lengths[1], augmentation="flip", mixing="none"), Stage(soft=lengths[2]))
    recipe = replace(RECIPE, epochs=13, augmentation="stored", mixing="stored", batch_size=5, stages=stages)
    feed, number, times = Feed(pooled(material, "permuted", epochs, steps), recipe, [5], teach), 0, 0
    for stage, length in zip(stages, lengths, strict=True):
        pool: list[int] = []
        for _ in range(length):
            number += 1
            if not pool:
                pool = torch.randperm(epochs * steps, generator=torch.Generator().manual_seed(42 + times)).tolist()
                times += 1
            taken, pool = pool[:steps], pool[steps:]
            assert told(feed, number) == (taken if stage.soft else []), number


COURSES = [{"stages": (Stage(soft=1), Stage(hard=2))}, {"ema": 0.9, "ranks": "ema"}, {"accumulation": 2}]


@pytest.mark.parametrize("changes", COURSES, ids=str)
def test_trainings_beside_each_other_go_through_stages_parts_and_means_as_each_does_alone(
    material: Material, changes: Any
) -> None:
    recipes = [replace(RECIPE, optimizer=optimizers.resolve(name), evaluations=3, **changes) for name in ("sgd", "adamw")]

    def measured(network: torch.nn.Module) -> dict[str, float]:
        return {"accuracy": float(weights(network).sum())}

    alone = [student() for _ in recipes]
    expected = [
        fit(network, material, losses.create("kl"), recipe, seed=4, teacher=teach, evaluate=measured)
        for network, recipe in zip(alone, recipes, strict=True)
    ]
    beside = [student() for _ in recipes]
    parts = [
        Part([Member(network, losses.create("kl"), 4, measured, place=seeds.Place())], recipe)
        for network, recipe in zip(beside, recipes, strict=True)
    ]
    fits = fit_in_step(parts, material, teacher=teach)
    assert [one.history for one in fits] == [one.history for one in expected]
    assert all(torch.equal(weights(one), weights(other)) for one, other in zip(beside, alone, strict=True))


def test_stored_augmentations_of_several_seeds_are_refused_however_the_trainings_are_made(material: Material) -> None:
    own = pooled(material, "sampled", 4, 2)
    stored = replace(RECIPE, augmentation="stored", mixing="stored", batch_size=5)
    members = [Member(student(), losses.create("kl"), seed) for seed in (5, 6)]
    with pytest.raises(DataError, match="stored augmentations are made one at a time"):
        Feed(own, stored, [5, 6])
    with pytest.raises(DataError, match="stored augmentations are made one at a time"):
        fit_together(members, own, stored)
