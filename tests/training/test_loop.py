"""The hot loop: what it trains on, in which order, when it stops, and what it never does."""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.optim.optimizer import register_optimizer_step_pre_hook

from harness import losses, optimizers
from harness.datasets.base import normalise
from harness.losses.targets import Targets
from harness.training.evaluation import evaluate
from harness.training.loop import evaluation_epochs, fit
from harness.training.values import Material, Recipe
from tests.training.small import CLASSES, SHAPE, student, trained, weights

RECIPE = Recipe(
    3, 4, optimizers.resolve("adamw"), optimizers.schedules.resolve("constant"), "color_crop_cutout_flip_scale_rotate"
)


def test_same_seed_gives_the_same_weights_and_another_seed_others(material: Material) -> None:
    assert torch.equal(trained(material, RECIPE), trained(material, RECIPE))
    assert not torch.equal(trained(material, RECIPE), trained(material, RECIPE, seed=1))


def test_every_epoch_shows_every_image_once_in_a_new_order(material: Material) -> None:
    seen: list[list[float]] = []

    def loss(logits: Tensor, targets: Targets) -> Tensor:
        return logits.square().mean()

    def teacher(images: Tensor) -> Tensor:
        seen.append(images.mean((1, 2, 3)).tolist())
        return torch.zeros(len(images), CLASSES)

    trained(material, replace(RECIPE, augmentation="none"), loss=loss, teacher=teacher)
    epochs = [[mean for batch in seen[i : i + 3] for mean in batch] for i in (0, 3, 6)]
    expected = sorted(material.images.mean((1, 2, 3)).tolist())
    assert [sorted(e) for e in epochs] == [pytest.approx(expected)] * 3
    assert epochs[0] != epochs[1]


def test_the_teacher_sees_the_very_batch_that_the_student_sees(material: Material) -> None:
    batches: list[Tensor] = []
    network = student()
    network.register_forward_pre_hook(lambda module, arguments: batches.append(arguments[0].clone()))
    taught: list[Tensor] = []

    def teacher(images: Tensor) -> Tensor:
        assert not torch.is_grad_enabled()
        taught.append(images.clone())
        return torch.zeros(len(images), CLASSES)

    fit(network, material, losses.create("mse"), RECIPE, seed=0, teacher=teacher)
    assert len(batches) == 9
    assert all(torch.equal(a, b) for a, b in zip(batches, taught, strict=True))
    assert not any(torch.equal(b, material.images[: len(b)]) for b in batches)


def test_all_losses_train_on_the_same_batches(material: Material) -> None:
    def batches(loss: str) -> list[Tensor]:
        seen: list[Tensor] = []
        fit(
            student(),
            material,
            losses.create(loss),
            RECIPE,
            seed=5,
            teacher=lambda x: seen.append(x.clone()) or x.mean((2, 3)).repeat(1, 3),
        )
        return seen

    assert all(torch.equal(a, b) for a, b in zip(batches("gift"), batches("kl"), strict=True))


def test_stored_soft_labels_follow_their_images(material: Material) -> None:
    marked = replace(material, soft=material.images.mean((1, 2, 3))[:, None].repeat(1, CLASSES), soft_kind="probabilities")
    kinds = set()
    means: list[tuple[Tensor, Tensor]] = []
    network = student()
    inputs: list[Tensor] = []
    network.register_forward_pre_hook(lambda module, arguments: inputs.append(arguments[0].mean((1, 2, 3))))

    def loss(logits: Tensor, targets: Targets) -> Tensor:
        assert targets.soft is not None and targets.hard is not None
        kinds.add(targets.kind)
        means.append((targets.soft[:, 0], inputs[-1]))
        return logits.square().mean()

    fit(network, marked, loss, replace(RECIPE, augmentation="none"), seed=0)
    assert kinds == {"probabilities"}
    assert all(torch.allclose(soft, mean, atol=1e-6) for soft, mean in means)


def test_a_loss_that_becomes_infinite_ends_the_training_as_diverged_with_an_accuracy(material: Material) -> None:
    calls = 0

    def loss(logits: Tensor, targets: Targets) -> Tensor:
        nonlocal calls
        calls += 1
        return logits.square().mean() * (float("nan") if calls == 2 else 1.0)

    outcome = fit(
        student(), material, loss, replace(RECIPE, epochs=500), seed=0, evaluate=lambda network: evaluate(network, material)
    )
    assert outcome.diverged
    assert outcome.steps <= 102
    assert 0 <= outcome.history[-1]["accuracy"] <= 100
    assert outcome.history[-1]["epoch"] == outcome.epochs


@pytest.mark.parametrize("changes", [{}, {"accumulation": 2}, {"ema": 0.9}], ids=str)
def test_an_entry_of_the_history_has_the_mean_loss_of_the_steps_before_it(material: Material, changes: dict[str, Any]) -> None:
    values: list[float] = []
    plain = losses.create("ce")

    def loss(logits: Tensor, targets: Targets) -> Tensor:
        value: Tensor = plain(logits, targets)
        values.append(float(value.detach()))
        return value

    recipe = replace(RECIPE, epochs=6, evaluations=3, **changes)
    outcome = fit(student(), material, loss, recipe, seed=0, evaluate=lambda network: evaluate(network, material))
    passes, steps = len(values) // 3, outcome.steps // 3
    expected = [sum(values[i * passes : (i + 1) * passes]) / (steps * recipe.accumulation) for i in range(3)]
    assert [entry["epoch"] for entry in outcome.history] == [2, 4, 6]
    assert [entry["loss"] for entry in outcome.history] == pytest.approx(expected)


def test_a_loss_that_is_not_finite_is_in_no_history(material: Material) -> None:
    calls = 0

    def loss(logits: Tensor, targets: Targets) -> Tensor:
        nonlocal calls
        calls += 1
        return logits.square().mean() * (float("inf") if calls == 5 else 1.0)

    recipe = replace(RECIPE, epochs=4, evaluations=4)
    outcome = fit(student(), material, loss, recipe, seed=0, evaluate=lambda network: evaluate(network, material))
    assert outcome.diverged
    assert ["loss" in entry for entry in outcome.history] == [True, False, False, False]


def test_uint8_images_normalised_by_batch_train_like_images_normalised_before(material: Material) -> None:
    pixels = torch.randint(0, 256, (10, *SHAPE), dtype=torch.uint8)
    by_batch = Material(pixels, material.labels, mean=(0.4,), std=(0.2,))
    before = Material.on_device("cpu", pixels, material.labels, mean=(0.4,), std=(0.2,))
    assert before.images.dtype == torch.float32
    assert torch.equal(trained(by_batch, RECIPE), trained(before, RECIPE))
    expected = (pixels.double() / 255 - 0.4) / 0.2
    assert torch.allclose(normalise(pixels, (0.4,), (0.2,)).double(), expected, atol=1e-5)


def test_the_learning_rate_falls_as_the_schedule_says(material: Material) -> None:
    rates: list[float] = []
    sgd, multistep = optimizers.resolve("sgd"), optimizers.schedules.resolve("multistep")
    hook = register_optimizer_step_pre_hook(lambda optimizer, *_: rates.append(optimizer.param_groups[0]["lr"]))
    try:
        trained(material, replace(RECIPE, epochs=6, batch_size=10, optimizer=sgd, schedule=multistep))
    finally:
        hook.remove()
    assert rates == pytest.approx([0.1] * 4 + [0.02] + [0.004])


def test_progress_tells_a_loss_the_share_of_training_done(material: Material) -> None:
    shares: list[float] = []

    def loss(logits: Tensor, targets: Targets) -> Tensor:
        shares.append(targets.progress)
        return logits.square().mean()

    trained(material, replace(RECIPE, epochs=4, batch_size=10), loss=loss)
    assert shares == [0, 0.25, 0.5, 0.75]


@pytest.mark.parametrize(
    ("epochs", "times", "marks"), [(100, 4, {25, 50, 75, 100}), (2, 4, {1, 2}), (1, 4, {1}), (150, 1, {150})]
)
def test_evaluations_are_spread_evenly_and_end_with_the_last_epoch(epochs: int, times: int, marks: set[int]) -> None:
    assert evaluation_epochs(epochs, times) == marks


def test_bf16_trains_and_differs_from_float32(material: Material) -> None:
    half = trained(material, replace(RECIPE, precision="bf16"))
    assert half.dtype == torch.float32
    assert bool(half.isfinite().all())
    assert not torch.equal(half, trained(material, RECIPE))


def test_the_hot_loop_never_asks_for_a_value_on_the_host(material: Material, asked: list[str]) -> None:
    """On the CPU nothing waits, so the requests themselves are counted: one a check, none a step."""
    network = student()
    fit(
        network, material, losses.create("gift"), replace(RECIPE, epochs=6), seed=0, teacher=lambda x: x.mean((2, 3)).repeat(1, 3)
    )
    assert asked == ["tolist"]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_on_a_gpu_an_epoch_runs_without_a_synchronisation_and_learns_what_the_cpu_learns(material: Material) -> None:
    recipe = replace(RECIPE, augmentation="none", optimizer=optimizers.resolve("sgd"))
    on_gpu = student().to("cuda")
    there = Material(material.images.cuda(), material.labels.cuda())
    fit(on_gpu, there, losses.create("ce"), recipe, seed=0)
    assert torch.allclose(weights(on_gpu).cpu(), trained(material, recipe), atol=1e-3)

    def waits(epochs: int) -> int:
        torch.cuda.set_sync_debug_mode("warn")
        try:
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                fit(student().to("cuda"), there, losses.create("ce"), replace(recipe, epochs=epochs), seed=0)
            return sum("synchroniz" in str(w.message) for w in caught)
        finally:
            torch.cuda.set_sync_debug_mode("default")

    assert waits(20) == waits(2)  # one look at the loss at the end, none a step
