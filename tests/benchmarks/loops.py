"""What the benchmarks time: one job, and the loops that train it or test it.

All loops do the same work on the same student, teacher, loss and images: ours by `harness.training.loop`, the bare steps, the
loop that we think a user would write from the published protocol (the naive loop, ours), and Avalanche's own. Each trains a copy
of the job's student.
"""

from __future__ import annotations

import copy
import ctypes
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from harness import losses, models, optimizers
from harness.augmentation import DSA
from harness.boards.protocol import Precision
from harness.losses.targets import Targets
from harness.running.executors import memory
from harness.training.devices import arithmetic, autocast, on_device
from harness.training.evaluation import evaluate
from harness.training.loop import fit
from harness.training.values import Material, Recipe
from tests.benchmarks import limits

#: glibc's `mallopt`: what `harness.running.executors.memory` changes in a worker, and where glibc's own, which adapt, end up
#: beside training steps.
TRIM_THRESHOLD, MMAP_THRESHOLD, MMAP_MAX = (-1, 64 << 20), (-3, 32 << 20), (-4, 65536)
STRATEGY = "color_crop_cutout_flip_scale_rotate"
CLASSES, WORKERS, EVALUATION_BATCH = 10, 4, 256


@dataclass
class Job:
    """A student to train on images [N, C, H, W] under a teacher and a loss, for some epochs in batches of `batch`.

    `operations` are those of its forward pass on an image.
    """

    student: nn.Module
    teacher: nn.Module
    images: Tensor
    labels: Tensor
    loss: Callable[[Tensor, Targets], Tensor]
    batch: int
    epochs: int = 1
    operations: float = 0.0

    @property
    def training(self) -> float:
        """Floating-point operations of all epochs: student forward and backward, teacher forward, which are alike here."""
        return self.epochs * len(self.labels) * limits.step(self.operations, self.operations)

    @property
    def moved(self) -> float:
        """Bytes that altering each batch of all epochs reads and writes at the least."""
        return 2.0 * self.epochs * self.images.numel() * self.images.element_size()


def job(model: str, side: int, images: int, batch: int, epochs: int = 1) -> Job:
    """Return a job on random images of side x side pixels, everything in channels-last order as the harness keeps it."""
    torch.manual_seed(0)
    shape = (3, side, side)
    student, teacher = (on_device(models.build(models.registry.resolve(model), shape, CLASSES), "cpu") for _ in range(2))
    pixels = torch.randn(images, *shape).to(memory_format=torch.channels_last)
    labels, loss, operations = torch.arange(images) % CLASSES, losses.create("gift"), limits.forward(model, shape, CLASSES)
    return Job(student, teacher.eval(), pixels, labels, loss, batch, epochs, operations)


def in_a_worker(run: Callable[..., object], *given: Any) -> Callable[[], None]:
    """Return a side that keeps the memory it frees, as the harness's workers do."""

    def kept() -> None:
        memory.keep_freed()
        run(*given)

    return kept


def as_users_have_it(run: Callable[[], object]) -> Callable[[], None]:
    """Return a side under glibc's own way with freed memory."""

    def usual() -> None:
        libc = ctypes.CDLL(None)
        if hasattr(libc, "mallopt"):
            for option, value in (TRIM_THRESHOLD, MMAP_THRESHOLD, MMAP_MAX):
                libc.mallopt(option, value)
            libc.malloc_trim(0)
        run()

    return usual


def users(given: Job) -> Job:
    """Return the job with a student of its own and in the default memory format, as a user has it."""
    plain = torch.contiguous_format
    student, teacher = (copy.deepcopy(network).to(memory_format=plain) for network in (given.student, given.teacher))
    return replace(given, student=student, teacher=teacher, images=given.images.contiguous())


def adamw(student: nn.Module, **options: bool) -> torch.optim.Optimizer:
    """The paper's optimizer."""
    return torch.optim.AdamW(student.parameters(), 1e-3, weight_decay=1e-4, **options)


def bare_steps(given: Job) -> Callable[[Precision], None]:
    """Return the limit: teacher and student forward, backward and a fused optimizer's step, on batches that lie ready."""
    student = copy.deepcopy(given.student)
    optimizer = adamw(student, fused=True)
    batches = list(zip(given.images.split(given.batch), given.labels.split(given.batch), strict=True))

    def run(precision: Precision = "float32") -> None:
        cast = autocast(given.images.device, precision)
        student.train()
        with arithmetic(given.images.device, precision):
            for images, labels in batches * given.epochs:
                with torch.no_grad(), cast():
                    soft = given.teacher(images).float()
                optimizer.zero_grad(set_to_none=True)
                with cast():
                    logits = student(images)
                given.loss(logits.float(), Targets(labels, soft)).backward()
                optimizer.step()

    return run


def our_epochs(given: Job) -> Callable[[Precision], None]:
    """Return the same epochs by `harness.training.loop.fit`: order, augmentation, divergence check and schedule included."""
    student, material = copy.deepcopy(given.student), Material(given.images, given.labels)

    def run(precision: Precision = "float32") -> None:
        adamw, constant = optimizers.resolve("adamw"), optimizers.schedules.resolve("constant")
        recipe = Recipe(given.epochs, given.batch, adamw, constant, STRATEGY, precision)
        fit(student, material, given.loss, recipe, seed=0, teacher=given.teacher)

    return run


def naive_augment(x: Tensor) -> Tensor:
    """DSA as it is usually written: one tensor operation after the other, parameters drawn on the host."""
    count, _, height, width = x.shape
    device = x.device
    x = torch.where(torch.rand(count, 1, 1, 1, device=device) < 0.5, x.flip(3), x)
    x = x + (torch.rand(count, 1, 1, 1, device=device) - 0.5)
    mean = x.mean(1, keepdim=True)
    x = (x - mean) * (torch.rand(count, 1, 1, 1, device=device) * 2) + mean
    mean = x.mean((1, 2, 3), keepdim=True)
    x = (x - mean) * (torch.rand(count, 1, 1, 1, device=device) + 0.5) + mean
    choice = int(torch.randint(3, ()).item())
    if choice == 0:
        pad = round(height * 0.125)
        padded = F.pad(x, (pad,) * 4)
        tops, lefts = torch.randint(0, 2 * pad + 1, (2, count)).tolist()
        x = torch.stack([p[:, t : t + height, s : s + width] for p, t, s in zip(padded, tops, lefts, strict=True)])
    else:
        theta = torch.zeros(count, 2, 3, device=device)
        if choice == 1:
            theta[:, 0, 0], theta[:, 1, 1] = torch.rand(2, count, device=device) * (1.2 - 1 / 1.2) + 1 / 1.2
        else:
            angle = (torch.rand(count, device=device) - 0.5) * 2 * 15 / 180 * torch.pi
            theta[:, 0, 0], theta[:, 0, 1], theta[:, 1, 0], theta[:, 1, 1] = angle.cos(), -angle.sin(), angle.sin(), angle.cos()
        x = F.grid_sample(x, F.affine_grid(theta, list(x.shape), align_corners=False), align_corners=False)
    size = round(height * 0.5)
    mask = torch.ones(count, 1, height, width, device=device)
    for i, (row, column) in enumerate(torch.randint(0, height, (count, 2)).tolist()):
        mask[i, :, max(0, row - size // 2) : row + size // 2, max(0, column - size // 2) : column + size // 2] = 0
    return x * mask


def loader(given: Job, batch: int, shuffle: bool) -> DataLoader[tuple[Tensor, ...]]:
    """A DataLoader of 4 workers, which start anew at every epoch, as they do for a user who sets nothing else."""
    return DataLoader(TensorDataset(given.images, given.labels), batch_size=batch, shuffle=shuffle, num_workers=WORKERS)


def naive_epochs(given: Job) -> Callable[[], None]:
    """Return what we think a user writes from the published protocol, and no author's code: a DataLoader of 4 workers; loss,
    top-1 and top-5 read each step."""
    own = users(given)
    optimizer, batches = adamw(own.student), loader(own, own.batch, shuffle=True)

    def run() -> None:
        for _ in range(own.epochs):
            own.student.train()
            for images, labels in batches:
                images = naive_augment(images)
                with torch.no_grad():
                    soft = own.teacher(images)
                logits = own.student(images)
                loss = own.loss(logits, Targets(labels, soft))
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                _, top = logits.topk(5, 1)
                found = top.eq(labels[:, None])
                _ = loss.item(), found[:, :1].sum().item(), found.sum().item()

    return run


def avalanche_epochs(given: Job) -> Callable[[], None]:
    """Return the same epochs by Avalanche's Naive strategy: its dataloader, a plugin that augments, and its evaluator.

    Memory format, augmentation and fused optimizer are ours, so that what is compared is the loop.
    """
    from avalanche.benchmarks.scenarios.supervised import class_incremental_benchmark
    from avalanche.core import SupervisedPlugin
    from avalanche.evaluation.metrics import accuracy_metrics, loss_metrics
    from avalanche.training import Naive
    from avalanche.training.plugins import EvaluationPlugin

    augment, draws = DSA(STRATEGY), torch.Generator().manual_seed(0)
    student = copy.deepcopy(given.student)

    class Augmenting(SupervisedPlugin):  # type: ignore[misc]
        def before_forward(self, strategy: Any, *args: Any, **kwargs: Any) -> None:
            images = strategy.mbatch[0].contiguous(memory_format=torch.channels_last)
            strategy.mbatch[0] = augment(images, generator=draws)

    class Taught(Naive):  # type: ignore[misc]
        def criterion(self) -> Any:
            with torch.no_grad():
                soft = given.teacher(self.mb_x)
            return given.loss(self.mb_output, Targets(self.mb_y, soft))

    data = avalanche_dataset(given)
    shown = {"minibatch": True, "epoch": True}
    metrics = (accuracy_metrics(**shown), loss_metrics(**shown))
    with warnings.catch_warnings(record=True):
        (experience,) = class_incremental_benchmark({"train": data, "test": data}, num_experiences=1).train_stream
        strategy = Taught(
            model=student,
            optimizer=adamw(student, fused=True),
            criterion=nn.CrossEntropyLoss(),
            train_mb_size=given.batch,
            train_epochs=given.epochs,
            plugins=[Augmenting()],
            evaluator=EvaluationPlugin(*metrics, loggers=[]),
        )

    def run() -> None:
        with warnings.catch_warnings(record=True):
            strategy.train(experience, eval_streams=[])

    return run


def avalanche_dataset(given: Job) -> Any:
    """The job's images and labels as Avalanche wants them."""
    from avalanche.benchmarks.utils import AvalancheDataset, DataAttribute

    pairs = TensorDataset(given.images.contiguous(), given.labels)
    return AvalancheDataset([pairs], data_attributes=[DataAttribute(given.labels.tolist(), "targets")])


def our_evaluation(given: Job) -> Callable[[], float]:
    """Return a test of the student on the job's images by `harness.training.evaluation.evaluate`; it returns the accuracy in
    percent."""
    material = Material(given.images, given.labels)
    return lambda: evaluate(given.student, material)["accuracy"]


def plain_evaluation(given: Job) -> Callable[[], float]:
    """Return the test that a user writes: a DataLoader with 4 workers, batches of 256, top-1 and top-5 by `.item()`."""
    own = users(given)
    batches = loader(own, EVALUATION_BATCH, shuffle=False)

    def run() -> float:
        first = among_five = 0
        own.student.eval()
        with torch.no_grad():
            for images, labels in batches:
                _, top = own.student(images).topk(5, 1)
                found = top.eq(labels[:, None])
                first += int(found[:, :1].sum().item())
                among_five += int(found.sum().item())
        return 100 * first / len(own.labels)

    return run


def our_augmentation(given: Job) -> Callable[[], None]:
    """Return DSA of every batch of the job, once."""
    augment, draws, batches = DSA(STRATEGY), torch.Generator().manual_seed(0), given.images.split(given.batch)

    def run() -> None:
        for images in batches * given.epochs:
            augment(images, generator=draws)

    return run


def kornia_modules(side: int) -> nn.Module:
    """The operations of DSA as kornia's modules, in DSA's order.

    Of kornia's saturation and contrast those of `ColorJitter` are the fastest here, and nearest in formula (they clamp to [0, 1],
    so that the pixels differ); `RandomErasing` keeps its square inside the image.
    """
    import kornia.augmentation as K

    geometric = (
        K.RandomCrop((side, side), padding=round(0.125 * side), p=1.0),
        K.RandomAffine(0.0, scale=(1 / 1.2, 1.2, 1 / 1.2, 1.2), p=1.0),
        K.RandomRotation(15.0, p=1.0),
    )
    return K.ImageSequential(
        K.RandomHorizontalFlip(p=0.5),
        K.RandomBrightness((0.5, 1.5), clip_output=False, p=1.0),
        K.ColorJitter(contrast=(0.5, 1.5), saturation=(0.0, 2.0), p=1.0),
        K.ImageSequential(*geometric, random_apply=1),
        K.RandomErasing(scale=(0.25, 0.25), ratio=(1.0, 1.0), p=1.0),
    )


def kornia_augmentation(given: Job) -> Callable[[], None]:
    """Return kornia's pipeline over every batch of the job, once, in the memory format that suits it."""
    modules = kornia_modules(given.images.shape[3])
    batches = given.images.contiguous().split(given.batch)

    def run() -> None:
        for images in batches * given.epochs:
            modules(images)

    return run
