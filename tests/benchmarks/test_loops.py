"""Every loop that the benchmarks time does the work that it says, on four tiny images."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.optim.optimizer import register_optimizer_step_post_hook

from harness.training.devices import autocast
from tests.benchmarks import loops

IMAGES, BATCH, EPOCHS = 4, 2, 2
MAKERS: dict[str, Callable[[loops.Job], Callable[..., Any]]] = {
    "bare": loops.bare_steps,
    "ours": loops.our_epochs,
    "naive": loops.naive_epochs,
    "Avalanche": loops.avalanche_epochs,
}
pytestmark = pytest.mark.filterwarnings("ignore:This DataLoader will create")


@pytest.fixture
def job() -> loops.Job:
    return loops.job("convnet1(width=8)", 8, IMAGES, BATCH, EPOCHS)


@pytest.mark.parametrize("maker", MAKERS)
def test_every_loop_makes_the_same_steps_on_the_same_images(maker: str, job: loops.Job, monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[torch.optim.Optimizer] = []
    seen: list[torch.Tensor] = []
    asked: list[int] = []
    teach = job.teacher.forward
    monkeypatch.setattr(job.teacher, "forward", lambda images: asked.append(len(images)) or teach(images))
    loss = job.loss
    job.loss = lambda logits, targets: seen.append(targets.labels()) or loss(logits, targets)
    run = MAKERS[maker](job)
    hook = register_optimizer_step_post_hook(lambda optimizer, *_: steps.append(optimizer))
    try:
        run()
    finally:
        hook.remove()
    assert len(steps) == EPOCHS * IMAGES // BATCH
    assert sorted(torch.cat(seen).tolist()) == sorted(job.labels.tolist() * EPOCHS)
    assert sum(asked) == IMAGES * EPOCHS
    weights = [weight for group in steps[-1].param_groups for weight in group["params"]]
    before = list(job.student.parameters())
    assert [weight.shape for weight in weights] == [weight.shape for weight in before]
    assert not any(torch.equal(weight, was) for weight, was in zip(weights, before, strict=True))


@pytest.mark.parametrize("maker", ["bare", "ours"])
def test_loops_run_in_bf16(maker: str, job: loops.Job) -> None:
    kinds: list[torch.dtype] = []
    job.teacher.register_forward_hook(lambda module, given, result: kinds.append(result.dtype))
    MAKERS[maker](job)("bf16")
    assert kinds == [torch.bfloat16] * (EPOCHS * IMAGES // BATCH)


def test_bf16_autocast_gives_bf16_logits(job: loops.Job) -> None:
    with autocast(torch.device("cpu"), "bf16")():
        assert job.student(job.images).dtype == torch.bfloat16


def test_both_evaluations_find_the_same_accuracy(job: loops.Job) -> None:
    logits = job.student.eval()(job.images)
    job.labels = torch.where(torch.arange(IMAGES) < 3, logits.argmax(1), logits.argmin(1))
    assert loops.our_evaluation(job)() == loops.plain_evaluation(job)() == 75.0


def test_augmentations_give_images_of_the_same_size(job: loops.Job) -> None:
    loops.our_augmentation(job)()
    loops.kornia_augmentation(job)()
    for augment in (loops.naive_augment, loops.kornia_modules(8)):
        result = augment(job.images)
        assert result.shape == job.images.shape
        assert result.isfinite().all()
        assert not torch.equal(result, job.images)
