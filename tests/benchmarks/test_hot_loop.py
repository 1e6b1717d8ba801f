"""The hot loop against the bare network step, and against the loop that a user would write from the published recipe.

    tox run -e benchmark

Machines are shared and noisy, so nothing is asserted of seconds: each round times both sides in turn, and the median of the
rounds' ratios is printed after pytest-benchmark's own table.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from harness import losses, models
from harness.losses.targets import Targets
from harness.spec import Spec
from harness.training import Material, Recipe, autocast, fit

SHAPE, CLASSES, IMAGES, BATCH, ROUNDS = (3, 32, 32), 10, 100, 50, 7
STRATEGY = "color_crop_cutout_flip_scale_rotate"


@dataclass
class Job:
    """A student, a teacher, a loss and 100 images of 32 px: one epoch is two steps."""

    student: nn.Module
    teacher: nn.Module
    optimizer: torch.optim.Optimizer
    images: Tensor
    labels: Tensor
    loss: Callable[[Tensor, Targets], Tensor]


@pytest.fixture
def job() -> Job:
    torch.manual_seed(0)
    student, teacher = (models.build("convnet3", SHAPE, CLASSES).to(memory_format=torch.channels_last) for _ in range(2))
    optimizer = torch.optim.AdamW(student.parameters(), 1e-3, weight_decay=1e-4, fused=True)
    images = torch.randn(IMAGES, *SHAPE).to(memory_format=torch.channels_last)
    return Job(student, teacher.eval(), optimizer, images, torch.randint(0, CLASSES, (IMAGES,)), losses.create("gift"))


def bare_epoch(job: Job) -> None:
    """Teacher and student forward, backward and optimizer step on batches that lie ready: the limit."""
    job.student.train()
    for images, labels in zip(job.images.split(BATCH), job.labels.split(BATCH), strict=True):
        with torch.no_grad():
            soft = job.teacher(images)
        job.optimizer.zero_grad(set_to_none=True)
        job.loss(job.student(images), Targets(labels, soft)).backward()
        job.optimizer.step()


def our_epoch(job: Job, precision: str = "float32") -> None:
    """The same epoch by `harness.training.fit`: order, augmentation, divergence check and schedule included."""
    recipe = Recipe(1, BATCH, Spec(name="adamw"), Spec(name="constant"), STRATEGY, precision)  # type: ignore[arg-type]
    fit(job.student, Material(job.images, job.labels), job.loss, recipe, seed=0, teacher=job.teacher)


def naive_augment(x: Tensor) -> Tensor:
    """DSA as it is usually written: one tensor operation after the other, parameters drawn on the host."""
    count, _, height, width = x.shape
    x = torch.where(torch.rand(count, 1, 1, 1) < 0.5, x.flip(3), x)
    x = x + (torch.rand(count, 1, 1, 1) - 0.5)
    mean = x.mean(1, keepdim=True)
    x = (x - mean) * (torch.rand(count, 1, 1, 1) * 2) + mean
    mean = x.mean((1, 2, 3), keepdim=True)
    x = (x - mean) * (torch.rand(count, 1, 1, 1) + 0.5) + mean
    choice = int(torch.randint(3, ()).item())
    if choice == 0:
        pad = round(height * 0.125)
        padded = F.pad(x, (pad,) * 4)
        tops, lefts = torch.randint(0, 2 * pad + 1, (2, count)).tolist()
        x = torch.stack([p[:, t : t + height, s : s + width] for p, t, s in zip(padded, tops, lefts, strict=True)])
    else:
        theta = torch.zeros(count, 2, 3)
        if choice == 1:
            theta[:, 0, 0], theta[:, 1, 1] = torch.rand(2, count) * (1.2 - 1 / 1.2) + 1 / 1.2
        else:
            angle = (torch.rand(count) - 0.5) * 2 * 15 / 180 * torch.pi
            theta[:, 0, 0], theta[:, 0, 1], theta[:, 1, 0], theta[:, 1, 1] = angle.cos(), -angle.sin(), angle.sin(), angle.cos()
        x = F.grid_sample(x, F.affine_grid(theta, list(x.shape), align_corners=False), align_corners=False)
    size = round(height * 0.5)
    mask = torch.ones(count, 1, height, width)
    for i, (row, column) in enumerate(torch.randint(0, height, (count, 2)).tolist()):
        mask[i, :, max(0, row - size // 2) : row + size // 2, max(0, column - size // 2) : column + size // 2] = 0
    return x * mask


def naive_epoch(job: Job) -> None:
    """What a user writes from the published recipe: DataLoader with 4 workers, `.item()`, top-1 and top-5 at every step."""
    job.student.train()
    for images, labels in DataLoader(TensorDataset(job.images, job.labels), batch_size=BATCH, shuffle=True, num_workers=4):
        images = naive_augment(images)
        with torch.no_grad():
            soft = job.teacher(images)
        logits = job.student(images)
        loss = job.loss(logits, Targets(labels, soft))
        job.optimizer.zero_grad()
        loss.backward()
        job.optimizer.step()
        _, top = logits.topk(5, 1)
        found = top.eq(labels[:, None])
        _ = loss.item(), found[:, :1].sum().item(), found.sum().item()


def contiguous(job: Job) -> Job:
    """The same job in the default memory format, with the default optimizer kernels, as a user has it."""
    student, teacher = (m.to(memory_format=torch.contiguous_format) for m in (job.student, job.teacher))
    optimizer = torch.optim.AdamW(student.parameters(), 1e-3, weight_decay=1e-4)
    return Job(student, teacher, optimizer, job.images.contiguous(), job.labels, job.loss)


def paired(
    benchmark: Any, what: str, ours: Callable[[], None], other: Callable[[], None], rounds: int = ROUNDS, warmups: int = 2
) -> None:
    """Benchmark `ours`, timing `other` before each round; note the median ratio and print it at the end."""
    others: list[float] = []

    def before() -> None:
        started = time.perf_counter()
        other()
        others.append(time.perf_counter() - started)

    benchmark.pedantic(ours, setup=before, rounds=rounds, warmup_rounds=warmups, iterations=1)
    ratios = [mine / its for mine, its in zip(benchmark.stats.stats.data, others[-rounds:], strict=True)]
    ratio = statistics.median(ratios)
    facts = {"what": what, "ratio": ratio, "lowest": min(ratios), "highest": max(ratios), "threads": torch.get_num_threads()}
    benchmark.extra_info.update(facts)


@pytest.mark.benchmark(group="ConvNet-3, width 128, 32 px, 100 images, batch 50")
class TestEpoch:
    def test_bare_step(self, benchmark: Any, job: Job) -> None:
        benchmark.pedantic(lambda: bare_epoch(job), rounds=ROUNDS, warmup_rounds=2)

    def test_our_epoch_against_the_bare_step(self, benchmark: Any, job: Job) -> None:
        paired(benchmark, "our float32 epoch / bare step", lambda: our_epoch(job), lambda: bare_epoch(job))

    def test_our_bf16_epoch_against_float32(self, benchmark: Any, job: Job) -> None:
        if not has_bf16():
            pytest.skip("this CPU has no bf16 instructions")
        paired(benchmark, "our bf16 epoch / our float32 epoch", lambda: our_epoch(job, "bf16"), lambda: our_epoch(job))

    def test_our_epoch_against_the_naive_loop(self, benchmark: Any, job: Job) -> None:
        torch.manual_seed(0)
        users = contiguous(
            Job(*(models.build("convnet3", SHAPE, CLASSES) for _ in range(2)), job.optimizer, job.images, job.labels, job.loss)
        )
        users.teacher.eval()
        paired(benchmark, "our float32 epoch / naive loop", lambda: our_epoch(job), lambda: naive_epoch(users))


def has_bf16() -> bool:
    """Whether this CPU multiplies in bf16 (AVX-512 BF16 or AMX), so that autocast can pay."""
    probe = getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
    return bool(probe() or getattr(torch.cpu, "_is_amx_tile_supported", lambda: False)())


def test_bf16_autocast_gives_bf16_logits(job: Job) -> None:
    with autocast(torch.device("cpu"), "bf16")():
        assert job.student(job.images[:4]).dtype == torch.bfloat16
