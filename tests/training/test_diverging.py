"""Trainings whose last update leaves no answer that is a number: every way of training says that they diverged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import pytest
import torch
from torch import nn

from harness import losses, models, optimizers
from harness.training.evaluation import evaluate
from harness.training.graphs import Captured
from harness.training.loop import fit, fit_together
from harness.training.overlap import Overlapped
from harness.training.values import Fit, Material, Member, Recipe
from tests.training.small import CLASSES, SHAPE, weights
from tests.training.test_overlap import repeated

#: One step, whose loss is that of the weights before it.
RECIPE = Recipe(1, 10, optimizers.resolve("sgd(lr=1e20)"), optimizers.schedules.resolve("constant"), "none")
CROSS_ENTROPY = losses.create("ce")


def alone(members: Sequence[Member], material: Material, recipe: Recipe) -> list[Fit]:
    return [fit(m.student, material, m.loss, recipe, seed=m.seed, evaluate=m.evaluate) for m in members]


def replayed(kind: type[Captured] | type[Overlapped], members: Sequence[Member], material: Material, recipe: Recipe) -> list[Fit]:
    """Capture steps of a rate at which they can be held against each other, and replay them at the recipe's."""
    rate = recipe.optimizer.spec.options["lr"]
    mild = replace(recipe, optimizer=optimizers.resolve(recipe.optimizer.spec, lr=1e-3))
    made = kind(members, material, mild, None, repeated)
    for part in getattr(made, "parts", [made]):
        part._rates = [rate]
    return made.fit(members, recipe)


#: How trainings are made.
WAYS = {
    "alone": alone,
    "stacked": fit_together,
    "captured": partial(replayed, Captured),
    "side by side": partial(replayed, Overlapped),
}


def member(material: Material, seed: int, evaluated: bool) -> Member:
    torch.manual_seed(seed)
    student = models.build("convnet2(width=8, norm=none)", SHAPE, CLASSES).to(memory_format=torch.channels_last)
    return Member(student, CROSS_ENTROPY, seed, (lambda network: evaluate(network, material)) if evaluated else None)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("rate", "evaluated", "finite"), [(1e20, True, True), (3e38, False, False), (1e-3, True, True)])
def test_a_training_whose_last_step_leaves_no_answer_has_diverged(
    material: Material, way: str, rate: float, evaluated: bool, finite: bool
) -> None:
    recipe = replace(RECIPE, optimizer=optimizers.resolve(f"sgd(lr={rate}, weight_decay={0 if finite else 1000.0})"))
    members = [member(material, seed, evaluated) for seed in range(2)]
    fits = WAYS[way](members, material, recipe)
    assert [bool(weights(one.student).isfinite().all()) for one in members] == [finite, finite]
    assert [each.diverged for each in fits] == [rate > 1] * 2
    odd = [entry.get("not_finite", 0) for each in fits for entry in each.history]
    assert odd == ([10.0 if rate > 1 else 0] * 2 if evaluated else [])


def test_only_what_the_last_update_left_counts(material: Material) -> None:
    answers = iter([{"accuracy": 0.0, "not_finite": 3.0}, {"accuracy": 50.0}])
    one = replace(member(material, 0, False), evaluate=lambda network: next(answers))
    (outcome,) = fit_together([one], material, replace(RECIPE, epochs=2, evaluations=2, optimizer=optimizers.resolve("adamw")))
    assert not outcome.diverged
    assert [entry.get("not_finite") for entry in outcome.history] == [3.0, None]


def test_a_weight_that_is_not_learned_may_be_infinite(material: Material) -> None:
    one = member(material, 0, True)
    one.student.register_parameter("mask", nn.Parameter(torch.tensor(-torch.inf), requires_grad=False))
    recipe = replace(RECIPE, optimizer=optimizers.resolve("adamw"))
    assert not fit(one.student, material, CROSS_ENTROPY, recipe, seed=0).diverged
