"""The mean of the weights: what it is after every step, who is tested under which name, what remains of a training."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from harness import losses, models, optimizers
from harness.training.loop import Job, fit, fit_together
from harness.training.stack import Alone
from harness.training.values import Material, Member, Recipe
from tests.training.small import CLASSES, SHAPE, student, trained, weights

DECAY, EPOCHS = 0.75, 3
PLAIN = Recipe(
    EPOCHS, 10, optimizers.resolve("sgd(lr=0.5)"), optimizers.schedules.resolve("constant"), "none", evaluations=EPOCHS
)
MEAN = replace(PLAIN, ema=DECAY, ranks="ema")


def told(network: nn.Module) -> dict[str, float]:
    return {"accuracy": float(weights(network).double().sum()), "top5_accuracy": float(weights(network)[0])}


def by_hand(material: Material, seed: int = 0) -> list[Tensor]:
    """The mean after each epoch of one step, of the weights that trainings of one epoch, two, … end with."""
    mean, means = weights(student()).double(), []
    for epochs in range(1, EPOCHS + 1):
        mean = DECAY * mean + (1 - DECAY) * trained(material, replace(PLAIN, epochs=epochs), seed=seed).double()
        means.append(mean)
    return means


def test_the_mean_is_that_of_the_weights_after_every_step_and_the_weights_go_their_way(material: Material) -> None:
    network = student()
    result = fit(network, material, losses.create("ce"), replace(MEAN, ranks="raw"), seed=0, evaluate=told)
    assert torch.equal(weights(network), trained(material, PLAIN))
    sums = [float(mean.sum()) for mean in by_hand(material)]
    assert [entry["ema_accuracy"] for entry in result.history] == pytest.approx(sums, rel=1e-5)
    assert {*result.history[0]} == {"epoch", "loss", "accuracy", "top5_accuracy", "ema_accuracy", "ema_top5_accuracy"}


def test_where_the_mean_ranks_it_is_tested_as_the_student_and_remains_of_it(material: Material) -> None:
    network = student()
    result = fit(network, material, losses.create("ce"), MEAN, seed=0, evaluate=told)
    mean, raw = by_hand(material)[-1], trained(material, PLAIN)
    assert torch.allclose(weights(network).double(), mean, atol=1e-6)
    assert not torch.allclose(mean, raw.double(), atol=1e-3)
    last = result.history[-1]
    assert last["accuracy"] == pytest.approx(float(weights(network).double().sum()), rel=1e-6)
    assert last["raw_accuracy"] == pytest.approx(float(raw.double().sum()), rel=1e-6)


@pytest.mark.parametrize("ranks", ["raw", "ema"])
def test_several_that_are_made_together_have_the_mean_that_each_has_alone(material: Material, ranks: Any) -> None:
    recipe = replace(MEAN, ranks=ranks, batch_size=4)
    together = [student(seed) for seed in range(2)]
    members = [Member(network, losses.create("ce"), seed, told) for seed, network in enumerate(together)]
    fits = fit_together(members, material, recipe)
    for seed, network in enumerate(together):
        alone = student(seed)
        own = fit(alone, material, losses.create("ce"), recipe, seed=seed, evaluate=told)
        assert torch.allclose(weights(network), weights(alone), atol=1e-4)
        for ours, theirs in zip(fits[seed].history, own.history, strict=True):
            assert ours == pytest.approx(theirs, rel=1e-3)


def test_the_means_network_has_the_students_own_buffers_when_it_is_tested(material: Material) -> None:
    torch.manual_seed(0)
    network = models.build("convnet2(width=8, norm=batch)", SHAPE, CLASSES).to(memory_format=torch.channels_last)
    seen: list[list[Tensor]] = []

    def buffers(tested: nn.Module) -> dict[str, float]:
        seen.append([buffer.clone() for buffer in tested.buffers()])
        return {"accuracy": 0.0}

    fit(network, material, losses.create("ce"), replace(MEAN, evaluations=1), seed=0, evaluate=buffers)
    raw, mean = seen
    assert len(raw) > 0
    assert all(torch.equal(own, other) for own, other in zip(raw, mean, strict=True))


def test_a_training_without_a_mean_makes_none(material: Material) -> None:
    job = Job([Member(student(), losses.create("ce"), 0)], material, PLAIN)
    assert job.averages is None
    assert isinstance(job.network, Alone)
