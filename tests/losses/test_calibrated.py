"""KL divergence whose temperatures move: against LPQLD's script, written out once more, and what a training keeps of it."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from harness import losses, optimizers
from harness.core.errors import BadOption
from harness.losses.calibrated import calibrated
from harness.losses.looks import looks
from harness.losses.targets import Memory, Targets
from harness.training.loop import fit
from harness.training.values import Material, Recipe


def batches(count: int, size: int = 6, classes: int = 5) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield the student's logits and the labels' of batches; the student is less sure, more so in some than in others."""
    draws = torch.Generator().manual_seed(0)
    for number in range(count):
        soft = 4 * torch.randn(size, classes, generator=draws)
        yield (soft + torch.randn(size, classes, generator=draws)) * (0.02 + 0.3 * (0.37 * number % 1)), soft


def by_the_script(epochs: int, steps: int, total: int = 300) -> list[float]:
    """The losses of LPQLD's loop: args.temp_stu_dynamic is 1.0 at first and searched when an epoch's batches are done."""
    values, of_student, given = [], 1.0, batches(epochs * steps)
    for current_epoch in range(1, epochs + 1):
        stated = round((current_epoch - 1) / epochs * total) + 1
        current = 20 * 0.7 ** (stated // 30)
        current = current if current > 2 else 2
        for _ in range(steps):
            output, logits = next(given)
            label = functional.softmax(logits / current, dim=1)
            values.append(float(nn.KLDivLoss(reduction="batchmean")(functional.log_softmax(output / of_student, dim=1), label)))
        tried = numpy.linspace(0.01, 1, 100)
        found = [nn.KLDivLoss(reduction="batchmean")(functional.log_softmax(output / t, dim=1), label).item() for t in tried]
        of_student = float(tried[numpy.argmin(found)])
    return values


@pytest.mark.parametrize(("epochs", "steps"), [(300, 1), (12, 3)])
def test_losses_of_a_training_are_those_of_the_script(epochs: int, steps: int) -> None:
    loss, memory, values, temperatures = losses.create("calibrated_kl"), Memory(), [], set()
    given = batches(epochs * steps)
    for epoch in range(epochs):
        for _ in range(steps):
            output, logits = next(given)
            values.append(float(loss(output, Targets(soft=logits, progress=epoch / epochs, memory=memory))))
            temperatures.add(round(float(memory.get("temperature", 1.0)), 2))
    assert values == pytest.approx(by_the_script(epochs, steps), rel=1e-5)
    assert len(temperatures) > 5 and min(temperatures) < 0.5, temperatures


def test_without_a_training_the_students_temperature_is_one_and_nothing_is_kept() -> None:
    ((output, logits),) = batches(1)
    value = losses.create("calibrated_kl(temperature=5)")(output, Targets(soft=logits, progress=0.0))
    assert torch.allclose(value, nn.KLDivLoss(reduction="batchmean")(output.log_softmax(1), (logits / 5).softmax(1)))
    assert looks(losses.create("calibrated_kl")).remembers and not looks(losses.create("kl")).remembers


def test_stored_probabilities_are_taken_as_they_are_where_nothing_falls_and_classes_left_out_stay_out() -> None:
    ((output, logits),) = batches(1)
    stored = (logits / 20).softmax(1) * 0.9  # some are left out
    value = losses.create("calibrated_kl(decay=1.0)")(output, Targets(None, stored, "probabilities", 0.9, 20.0))
    assert torch.equal(value, nn.KLDivLoss(reduction="batchmean")(output.log_softmax(1), stored))
    memory, loss = Memory(), losses.create("calibrated_kl")
    out = logits.masked_fill(logits < 0, -torch.inf)
    for progress in (0.0, 0.5):
        assert bool(loss(output, Targets(soft=out, progress=progress, memory=memory)).isfinite())
    assert 0 < float(memory["temperature"]) <= 1


def test_the_search_finds_the_temperature_that_labels_were_made_at() -> None:
    logits = torch.randn(64, 10, generator=torch.Generator().manual_seed(1))
    for wanted in (0.01, 0.25, 0.5, 1.0):
        assert float(calibrated(logits, (logits / wanted).softmax(1))) == pytest.approx(wanted, abs=1e-6)


@pytest.mark.parametrize(
    ("option", "value"), [("decay", 0.0), ("decay", 1.5), ("every", 0), ("epochs", 0), ("lowest", 0.0), ("temperature", math.inf)]
)
def test_parameters_out_of_range_are_refused(option: str, value: float, refused) -> None:
    ((output, logits),) = batches(1)
    with refused(BadOption, option):
        losses.create("calibrated_kl", **{option: value})(output, Targets(soft=logits))


# -- in a training ---------------------------------------------------------------------------------------------------------


def material() -> Material:
    draws = torch.Generator().manual_seed(2)
    images = torch.randn(12, 1, 4, 4, generator=draws).contiguous(memory_format=torch.channels_last)
    return Material(images, torch.arange(12) % 3, 5 * torch.randn(12, 3, generator=draws))


def student() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(16, 3))


def test_a_training_learns_what_the_scripts_loop_does() -> None:
    """Twelve images in two batches an epoch; the order is drawn from the same stream on both sides."""
    given, mine, theirs, epochs = material(), student(), student(), 4
    recipe = Recipe(
        epochs=epochs,
        batch_size=6,
        optimizer=optimizers.resolve("sgd(lr=0.5, momentum=0.0, weight_decay=0.0)"),
        schedule=optimizers.schedules.resolve("constant"),
        augmentation="none",
        evaluations=1,
    )
    orders: list[Tensor] = []
    fit(mine, given, watched(losses.create("calibrated_kl"), orders), recipe, seed=3)
    descent, of_student = torch.optim.SGD(theirs.parameters(), lr=0.5), 1.0
    soft, chosen = given.soft, iter(orders)
    assert soft is not None
    for epoch in range(epochs):
        current = max(2.0, 20 * 0.7 ** ((epoch * 75 + 1) // 30))
        for _ in range(2):
            index = next(chosen)
            label = (soft[index] / current).softmax(1)
            output = theirs(given.images[index])
            descent.zero_grad()
            nn.KLDivLoss(reduction="batchmean")((output / of_student).log_softmax(1), label).backward()
            descent.step()
        tried = numpy.linspace(0.01, 1, 100)
        found = [float(nn.KLDivLoss(reduction="batchmean")((output.detach() / t).log_softmax(1), label)) for t in tried]
        of_student = float(tried[numpy.argmin(found)])
    for own, other in zip(mine.parameters(), theirs.parameters(), strict=True):
        assert torch.allclose(own, other, atol=1e-5), float((own - other).abs().max())


def watched(loss, orders: list[Tensor]):
    """Return the loss, which notes the images of each batch by their labels."""
    soft = material().soft
    assert soft is not None

    def of_batch(logits: Tensor, targets: Targets) -> Tensor:
        if targets.memory is not None:
            orders.append((targets.logits()[:, None] == soft[None]).all(2).long().argmax(1))
        return loss(logits, targets)

    return of_batch
