"""Captured steps: on the CPU with a recorder that repeats the step itself, which leaves everything else to be tested."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import torch
from torch import Generator, Tensor, nn

from harness import losses, models, optimizers
from harness.core import seeds
from harness.losses.targets import Targets
from harness.training.devices import on_device
from harness.training.evaluation import evaluate
from harness.training.graphs import Captured, Step, capturable
from harness.training.loop import fit
from harness.training.values import Fit, Material, Member, Recipe

SHAPE, CLASSES = (3, 8, 8), 5
IMAGES = torch.randn(23, *SHAPE, dtype=torch.float64, generator=Generator().manual_seed(1))
MATERIAL = Material.on_device("cpu", IMAGES, torch.arange(23) % CLASSES)
RECIPE = Recipe(
    epochs=6,
    batch_size=5,  # the last batch has three
    optimizer=optimizers.resolve("adamw"),
    schedule=optimizers.schedules.resolve("multistep"),
    augmentation="color_crop_cutout_flip_scale_rotate",
    evaluations=3,
)


def repeated(step: Step, streams: Iterable[Generator]) -> Step:
    return step


def student(seed: int, model: str = "convnet2(width=8)") -> nn.Module:
    torch.manual_seed(seeds.derive(seed, "init"))
    built = models.build(model, SHAPE, CLASSES)
    torch.manual_seed(seeds.derive(seed, "dropout"))
    return on_device(built.double(), "cpu")


def teacher() -> nn.Module:
    return student(99).eval()


def member(seed: int, loss: str = "gift", model: str = "convnet2(width=8)") -> Member:
    return Member(student(seed, model), losses.create(loss), seed, lambda network: evaluate(network, MATERIAL))


def captured(members: list[Member], recipe: Recipe = RECIPE, record: Any = repeated) -> Captured:
    return Captured(members, MATERIAL, recipe, teacher(), record)


def weights(network: nn.Module) -> Tensor:
    return torch.cat([value.double().flatten() for value in network.state_dict().values()])


def alone(seed: int, recipe: Recipe = RECIPE, loss: str = "gift") -> tuple[Tensor, Fit]:
    one = member(seed, loss)
    found = fit(one.student, MATERIAL, one.loss, recipe, seed=seed, teacher=teacher(), evaluate=one.evaluate)
    return weights(one.student), found


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw", "sgd-weights-only", "adamw-weights-only"])
@pytest.mark.parametrize("schedule", ["multistep", "cosine", "cosine-to-half", "warmup-cosine(warmup=2)", "constant"])
def test_captured_steps_train_what_steps_train(optimizer: str, schedule: str) -> None:
    recipe = replace(
        RECIPE, optimizer=optimizers.resolve(optimizer), schedule=optimizers.schedules.resolve(schedule), mixing="cutmix"
    )
    one = member(3)
    found = captured([member(0)], recipe).fit([one], recipe)[0]
    expected, history = alone(3, recipe)
    torch.testing.assert_close(weights(one.student), expected, rtol=1e-4, atol=1e-6)
    assert found.history == history.history
    assert (found.epochs, found.steps) == (6, 30)


def test_one_capture_serves_seeds_one_after_the_other() -> None:
    steps: list[Step] = []
    made = captured([member(0)], record=lambda step, streams: (steps.append(step), step)[1])
    assert len(steps) == 2  # one a size of batch
    for seed in (0, 5, 0):
        one = member(seed)
        made.fit([one], replace(RECIPE, epochs=4))
        torch.testing.assert_close(weights(one.student), alone(seed, replace(RECIPE, epochs=4))[0], rtol=1e-4, atol=1e-6)
    assert len(steps) == 2


def test_trained_students_keep_their_weights_when_others_follow() -> None:
    made, first, second = captured([member(0)]), member(1), member(2)
    made.fit([first], RECIPE)
    before = weights(first.student)
    made.fit([second], RECIPE)
    assert torch.equal(weights(first.student), before)
    assert not torch.equal(weights(second.student), before)


def test_stacked_trainings_are_captured_too() -> None:
    made = captured([member(0, "gift"), member(0, "kl")])
    pair = [member(4, "gift"), member(5, "kl")]
    found = made.fit(pair, RECIPE)
    for one, result, loss in zip(pair, found, ("gift", "kl"), strict=True):
        expected, history = alone(one.seed, loss=loss)
        torch.testing.assert_close(weights(one.student), expected, rtol=1e-4, atol=1e-6)
        assert len(result.history) == len(history.history) == 3


def test_a_replay_that_does_something_else_is_refused() -> None:
    def forgetful(step: Step, streams: Iterable[Generator]) -> Step:
        return lambda: None

    with pytest.raises(RuntimeError, match="does not do what the step does"):
        captured([member(0)], record=forgetful)


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_a_replay_that_draws_other_numbers_is_refused(optimizer: str) -> None:
    def lost(step: Step, streams: Iterable[Generator]) -> Step:
        held = list(streams)

        def replay() -> None:
            for stream in held:
                stream.manual_seed(5)
            step()

        return replay

    with pytest.raises(RuntimeError, match="does not do what the step does: gradients part"):
        captured([member(0)], replace(RECIPE, optimizer=optimizers.resolve(optimizer)), lost)


def test_torchs_own_stream_is_left_where_it_was() -> None:
    built, taught = [member(0)], teacher()
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    Captured(built, MATERIAL, RECIPE, taught, repeated).seconds_per_step(2)
    assert torch.equal(torch.rand(3), expected)


def test_timing_steps_leaves_the_weights_alone() -> None:
    made = captured([member(0)])
    before = weights(made.job.network.students[0])
    assert made.seconds_per_step(3) > 0
    assert torch.equal(weights(made.job.network.students[0]), before)


class Scaled:
    """A loss that is a class: half the squared distance to the teacher's logits, times a scale."""

    def __init__(self, *, scale: float = 1.0) -> None:
        self.scale = scale

    def __call__(self, logits: Tensor, targets: Targets) -> Tensor:
        return self.scale / 2 * (logits - targets.logits()).square().mean()


@pytest.fixture
def scaled() -> Iterator[str]:
    losses.register("scaled")(Scaled)
    yield "scaled"
    losses.registry.remove("scaled")


def test_a_loss_that_is_a_class_is_captured_like_a_function(scaled: str) -> None:
    assert capturable(MATERIAL, RECIPE, [losses.create(scaled)])
    assert not capturable(MATERIAL, RECIPE, [Scaled()])  # nobody's name stands for it
    one = member(3, f"{scaled}(scale=0.5)")
    found = captured([member(0, f"{scaled}(scale=0.5)")]).fit([one], RECIPE)[0]
    expected, history = alone(3, loss=f"{scaled}(scale=0.5)")
    torch.testing.assert_close(weights(one.student), expected, rtol=1e-4, atol=1e-6)
    assert found.history == history.history


def test_a_loss_that_keeps_something_of_a_batch_for_the_next_is_not_captured() -> None:
    @losses.register("keeping")
    def keeping(logits: Tensor, targets: Targets) -> Tensor:
        """Half of the mean square of the logits; counts its batches."""
        if targets.memory is not None:
            targets.memory["batches"] = float(targets.memory.get("batches", 0.0)) + 1
        return 0.5 * logits.square().mean()

    try:
        assert not capturable(MATERIAL, RECIPE, [losses.create("keeping")])
    finally:
        losses.registry.remove("keeping")


def test_what_cannot_be_captured() -> None:
    plain = [losses.create("gift")]
    assert capturable(MATERIAL, RECIPE, plain)
    assert not capturable(MATERIAL, RECIPE, [partial(plain[0])])  # made of another: who knows what else it does
    assert not capturable(MATERIAL, RECIPE, [losses.create("dkd(warmup=0.5)")])
    assert not capturable(MATERIAL, RECIPE, [lambda logits, targets: plain[0](logits, targets)])
    for name in ("lamb", "timm/adamw", "momentum"):
        assert not capturable(MATERIAL, replace(RECIPE, optimizer=optimizers.resolve(name)), plain)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("count", [1, 3])
def test_on_a_gpu_graphs_train_what_steps_train(count: int) -> None:
    material = replace(MATERIAL, images=MATERIAL.images.cuda(), labels=MATERIAL.labels.cuda())
    taught = teacher().cuda()

    def members(first: int) -> list[Member]:
        return [replace(member(first + k), student=student(first + k).cuda()) for k in range(count)]

    made = Captured(members(0), material, RECIPE, taught)
    for first in (0, 10):
        found = members(first)
        for one in found:
            one.evaluate = None
        made.fit(found, RECIPE)
        for one in found:
            other = student(one.seed).cuda()
            fit(other, material, one.loss, RECIPE, seed=one.seed, teacher=taught)
            torch.testing.assert_close(weights(one.student), weights(other), rtol=1e-4, atol=1e-5)
