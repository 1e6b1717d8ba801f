"""Trainings beside each other: what each gives alone, and the teacher asked once a step for all."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from harness import losses, models, optimizers
from harness.core import seeds
from harness.training import convolutions, first_block
from harness.training.evaluation import evaluate
from harness.training.in_step import Part, fit_in_step
from harness.training.loop import fit
from harness.training.values import Fit, Material, Member, Recipe
from tests.training.small import CLASSES, SHAPE, dropping, weights

RECIPE = Recipe(
    3, 4, optimizers.resolve("adamw"), optimizers.schedules.resolve("constant"), "color_crop_cutout_flip_scale_rotate"
)


def parts(material: Material, kinds: Sequence[Sequence[str]], recipe: Recipe = RECIPE, seed: int = 3) -> list[Part]:
    """A part for each of (model, loss, optimizer, schedule); a student may draw from torch's own stream."""
    made = []
    for model, loss, optimizer, schedule in kinds:
        seeds.begin(seed, "init")
        student = dropping() if model == "dropout" else models.build(model, SHAPE, CLASSES)
        student = student.to(memory_format=torch.channels_last)
        seeds.begin(seed, "dropout")
        member = Member(student, losses.create(loss), seed, lambda network: evaluate(network, material), seeds.Place())
        own = replace(recipe, optimizer=optimizers.resolve(optimizer), schedule=optimizers.schedules.resolve(schedule))
        made.append(Part([member], own))
    return made


def alone(part: Part, material: Material, teach: Callable[[Tensor], Tensor]) -> Fit:
    (member,) = part.members
    with member.place or nullcontext():
        return fit(member.student, material, member.loss, part.recipe, seed=member.seed, teacher=teach, evaluate=member.evaluate)


KINDS = [
    ("convnet2(width=8, norm=batch)", "gift", "adamw", "multistep"),
    ("dropout", "kl", "sgd(lr=0.1)", "cosine"),
    ("dropout", "ce", "adam", "constant"),
    ("convnet2(width=4)", "mse", "lamb", "multistep"),
]


@pytest.mark.parametrize("mixing", ["none", "cutmix"])
def test_trainings_beside_each_other_give_what_each_gives_alone_to_the_bit(material: Material, mixing: str) -> None:
    recipe = replace(RECIPE, epochs=4, evaluations=2, mixing=mixing, augmentation="color_crop_cutout_flip_scale_rotate")
    calls = 0

    def teach(images: Tensor) -> Tensor:
        nonlocal calls
        calls += 1
        return images.flatten(1)[:, :CLASSES] * 3

    beside = parts(material, KINDS, recipe)
    fits = fit_in_step(beside, material, teacher=teach)
    once = calls
    for part, ours in zip(parts(material, KINDS, recipe), fits, strict=True):
        before = calls
        own = alone(part, material, teach)
        assert calls - before == once  # however many there are, the teacher is asked once a step
        assert (ours.history, ours.epochs, ours.steps, ours.diverged) == (own.history, own.epochs, own.steps, own.diverged)
    expected = parts(material, KINDS, recipe)
    for part in expected:
        alone(part, material, teach)
    for ours, own in zip(beside, expected, strict=True):
        assert torch.equal(weights(ours.members[0].student), weights(own.members[0].student))


def test_one_that_diverges_ends_as_it_does_alone_and_leaves_the_others_be(material: Material) -> None:
    kinds = [KINDS[0], ("convnet2(width=4)", "mse", "sgd(lr=1e20)", "constant")]
    recipe = replace(RECIPE, epochs=60)
    steps: list[int] = []

    def teach(images: Tensor) -> Tensor:
        return images.flatten(1)[:, :CLASSES]

    beside = parts(material, kinds, recipe)
    lost = beside[1].members[0]
    lost.student.register_forward_hook(lambda *_: steps.append(1) if lost.student.training else None)
    fits = fit_in_step(beside, material, teacher=teach)
    own = [alone(part, material, teach) for part in parts(material, kinds, recipe)]
    assert [(fit.diverged, fit.epochs, fit.steps) for fit in fits] == [(fit.diverged, fit.epochs, fit.steps) for fit in own]
    assert [fit.diverged for fit in fits] == [False, True]
    assert len(steps) == fits[1].steps < fits[0].steps
    assert fits[0].history == own[0].history


def test_what_several_have_in_common_is_no_one_elses_time(material: Material) -> None:
    fits = fit_in_step(parts(material, KINDS[:2]), material, teacher=lambda images: images.flatten(1)[:, :CLASSES])
    assert all(fit.train_seconds > 0 for fit in fits)


def test_what_first_blocks_see_is_made_once_a_step(material: Material, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(convolutions, "HELD", 0)
    kinds = [("convnet2(width=32, norm=batch)", loss, "adamw", "constant") for loss in ("gift", "kl", "mse")]
    calls: list[int] = []
    patches = first_block._patches

    def teach(images: Tensor) -> Tensor:
        return images.flatten(1)[:, :CLASSES]

    def trained(several: list[Part]) -> list[Fit]:
        for part in several:
            assert convolutions.made_fast(part.members[0].student)
        return fit_in_step(several, material, teacher=teach)

    monkeypatch.setattr(first_block, "_patches", lambda *images: calls.append(1) or patches(*images))
    beside = parts(material, kinds)
    fits = trained(beside)
    assert len(calls) == fits[0].steps
    for number, own in enumerate(parts(material, kinds)):
        trained([own])
        assert torch.equal(weights(own.members[0].student), weights(beside[number].members[0].student))
