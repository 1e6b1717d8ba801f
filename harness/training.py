"""The only hot loop: `fit` trains a student, `evaluate` measures it. Nothing here waits for the device inside a step."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor, nn

from harness import optimizers
from harness.batches import Criterion, Replayed, Shuffled, batch_sizes
from harness.boards.protocol import Precision
from harness.core import seeds
from harness.core.errors import DataError
from harness.datasets.base import normalise
from harness.losses.targets import Kind, Targets
from harness.stacked import Alone, Stacked

if TYPE_CHECKING:
    from harness.core.spec import Spec
    from harness.distilled.replay import Replay

__all__ = [
    "Fit",
    "Material",
    "Member",
    "Recipe",
    "autocast",
    "batch_sizes",
    "evaluate",
    "evaluation_epochs",
    "fit",
    "fit_together",
    "hits",
    "on_device",
]

#: Normalised float images are kept on the device up to this many bytes; larger sets stay uint8 and are normalised by batch.
KEEP_FLOAT_BYTES = 2 << 30
#: The loss is looked at on the host once in so many steps, never in between.
STEPS_PER_CHECK = 100


@dataclass(frozen=True)
class Recipe:
    """How to train: everything `fit` needs beside the student and the data. Names and units as in
    `harness.boards.protocol.Protocol`."""

    epochs: int
    batch_size: int
    optimizer: Spec
    schedule: Spec
    augmentation: str
    precision: Precision = "float32"
    evaluations: int = 1
    mixing: str = "none"


@dataclass(frozen=True)
class Material:
    """What a student trains on, resident on the device.

    `images` are [N, C, H, W], normalised float32 in channels-last order, or uint8 with `mean` and `std` to normalise by.
    `replay`, which stays on the host, takes the place of the recipe's batches, augmentation and mixing, and of `soft`.
    """

    images: Tensor
    labels: Tensor
    soft: Tensor | None = None
    soft_kind: Kind = "logits"
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    factor: int = 1
    replay: Replay | None = None

    @classmethod
    def on_device(cls, device: str | torch.device, images: Tensor, labels: Tensor, **rest: Any) -> Material:
        """Move images to the device and normalise them there, unless they are too large to be kept as floats."""
        images = images.to(device)
        made = cls(images, labels.to(device), **rest)
        if made.mean and images.numel() * 4 <= KEEP_FLOAT_BYTES:
            return replace(made, images=normalise(images, made.mean, made.std), mean=(), std=())
        return made if made.mean else replace(made, images=images.contiguous(memory_format=torch.channels_last))

    def batch(self, index: Tensor) -> Tensor:
        """Return the normalised images at `index`, channels last."""
        images = self.images.index_select(0, index)
        return normalise(images, self.mean, self.std) if self.mean else images.contiguous(memory_format=torch.channels_last)


@dataclass
class Fit:
    """What happened: whether the loss became non-finite, how many epochs ran, seconds by phase, what `evaluate` returned."""

    diverged: bool = False
    epochs: int = 0
    steps: int = 0
    train_seconds: float = 0.0
    evaluate_seconds: float = 0.0
    history: list[dict[str, float]] = field(default_factory=list)


@dataclass
class Member:
    """One of several trainings that are made together, as `fit` takes it."""

    student: nn.Module
    loss: Callable[[Tensor, Targets], Tensor]
    seed: int
    evaluate: Callable[[nn.Module], dict[str, float]] | None = None


def fit(
    student: nn.Module,
    material: Material,
    loss: Callable[[Tensor, Targets], Tensor],
    recipe: Recipe,
    *,
    seed: int,
    teacher: Callable[[Tensor], Tensor] | None = None,
    evaluate: Callable[[nn.Module], dict[str, float]] | None = None,
) -> Fit:
    """Train `student` in place on its device.

    Args:
        student: on the device of `material`, in channels-last memory format.
        loss: takes the student's logits [B, C] and Targets; returns a scalar.
        seed: the trial's; streams for the order and for the augmentation are derived from it.
        teacher: images [B, C, H, W] -> logits [B, C]; called on every batch, augmented and mixed, without gradient. Not asked
            where the material has stored augmentations, whose soft labels are stored with them.
        evaluate: called at `recipe.evaluations` evenly spaced epochs, the last among them, with the student in eval mode.

    A loss that is not finite ends the training within `STEPS_PER_CHECK` steps, with `diverged`; it is then evaluated once more.
    """
    return fit_together([Member(student, loss, seed, evaluate)], material, recipe, teacher=teacher)[0]


def fit_together(
    members: Sequence[Member],
    material: Material,
    recipe: Recipe,
    *,
    teacher: Callable[[Tensor], Tensor] | None = None,
) -> list[Fit]:
    """Train students of one architecture in place, all in the same pass, each as `fit` would train it alone.

    Each has its own weights, batch-norm statistics, order, augmentation, loss and evaluation; only float noise tells the result
    from that of `fit`. One that diverges is left alone from then on. The seconds of a Fit are its share of the time of all.

    Args:
        members: the trainings. With more than one: models that `harness.stacked.agrees` to stack, and an optimizer of
            `harness.optimizers.optimizers.ELEMENTWISE`.
        material: without stored augmentations when there is more than one member.
        teacher: as in `fit`; asked for the images of all members at once, [S * B, C, H, W].
    """
    job = Job(members, material, recipe, teacher)
    schedule = optimizers.create_schedule(recipe.schedule, job.optimizer, recipe.epochs)
    return run(job, recipe, job, schedule.step)


class Job:
    """What is made for trainings before their first step, and called for each: students, optimizer, batches, losses."""

    def __init__(
        self,
        members: Sequence[Member],
        material: Material,
        recipe: Recipe,
        teacher: Callable[[Tensor], Tensor] | None = None,
    ) -> None:
        device = material.images.device
        self.members = members
        self.source: Shuffled | Replayed
        if material.replay is None:
            self.source = Shuffled(material, recipe, [member.seed for member in members])
        elif len(members) == 1:
            self.source, teacher = Replayed(material), None
        else:
            raise DataError("trainings on stored augmentations are made one at a time")
        self.teacher = teacher
        self.network: Alone | Stacked
        if len(members) == 1:
            self.network = Alone(members[0].student)
        else:
            streams = [seeds.generator(member.seed, "dropout", device) for member in members]
            self.network = Stacked([member.student for member in members], streams)
        self.optimizer = self.network.optimizer(recipe.optimizer)
        self.criterion = Criterion([member.loss for member in members])
        self.finite = torch.ones(len(members), dtype=torch.bool, device=device)
        self.cast = autocast(device, recipe.precision)

    @property
    def sizes(self) -> Sequence[int]:
        return self.source.sizes

    def epoch(self, number: int) -> Iterator[Any]:
        return self.source.epoch(number)

    def train(self) -> None:
        self.network.train()

    def __call__(self, given: Any, progress: float) -> None:
        """Make one step of every training; nothing in it waits for the device.

        Args:
            given: what an epoch of `source` yields.
            progress: share of the training already done.
        """
        step = self.source.step(given)
        taught = None
        if self.teacher is not None:
            with torch.no_grad(), self.cast():
                taught = self.teacher(step.images).float()
        self.optimizer.zero_grad(set_to_none=True)
        with self.cast():
            logits: Any = self.network(step.images)
        values = self.criterion(logits, step.batches, progress, taught)
        values.sum().backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        self.finite.logical_and_(values.detach().isfinite())

    def restart(self, numbers: Sequence[int]) -> None:
        """Put everything but the weights back to where trainings of these seeds begin; the optimizer's state becomes zero."""
        if isinstance(self.source, Shuffled):
            self.source.restart(numbers)
        for stream, number in zip(self.network.streams, numbers, strict=False):
            stream.manual_seed(seeds.derive(number, "dropout"))
        for state in self.optimizer.state.values():
            for value in state.values():
                if isinstance(value, Tensor):
                    value.zero_()
        self.finite.fill_(True)


class Trained(Protocol):
    """What `run` trains: a `Job`, or several of them side by side."""

    @property
    def members(self) -> Sequence[Member]: ...

    @property
    def finite(self) -> Tensor:
        """Whether each member's loss has been finite so far, [S] bool."""

    @property
    def sizes(self) -> Sequence[int]:
        """The images of each step of an epoch."""

    def epoch(self, number: int) -> Iterator[Any]:
        """Yield what each step of an epoch (1 the first) is given."""

    def train(self) -> None:
        """Put the students into train mode."""


def run(job: Trained, recipe: Recipe, step: Callable[[Any, float], None], end_epoch: Callable[[], None]) -> list[Fit]:
    """Train the members of a job for the recipe's epochs: `step` is what makes a step of it, `end_epoch` follows every epoch."""
    steps = len(job.sizes)
    epochs_per_check = max(1, STEPS_PER_CHECK // steps)
    marks = evaluation_epochs(recipe.epochs, recipe.evaluations)
    fits = [Fit() for _ in job.members]
    job.train()
    for epoch in range(1, recipe.epochs + 1):
        started = time.perf_counter()
        progress = (epoch - 1) / recipe.epochs
        for given in job.epoch(epoch):
            step(given, progress)
        end_epoch()
        going = [
            (member, fit, index) for index, (member, fit) in enumerate(zip(job.members, fits, strict=True)) if not fit.diverged
        ]
        if epoch == recipe.epochs or epoch % epochs_per_check == 0:
            finite = job.finite.tolist()
            for _, found, index in going:
                found.diverged = not finite[index]
        seconds = (time.perf_counter() - started) / len(going)
        for member, found, _ in going:
            found.epochs, found.steps = epoch, found.steps + steps
            found.train_seconds += seconds
            if member.evaluate is not None and (epoch in marks or found.diverged):
                started = time.perf_counter()
                found.history.append({"epoch": epoch, **member.evaluate(member.student)})
                job.train()
                found.evaluate_seconds += time.perf_counter() - started
        if all(found.diverged for found in fits):
            break
    return fits


def autocast(device: torch.device, precision: Precision) -> Callable[[], AbstractContextManager[Any]]:
    """Return a maker of the context that forward passes run under: bf16 autocast, or nothing.

    From here on a GPU's products and convolutions of float32 are done in TF32 (10 bits after the point) if that is the
    precision, and in full float32 if not; torch's own default is TF32 for convolutions. Raises DataError for TF32 on the CPU.
    """
    tf32 = precision == "tf32"
    if tf32 and device.type == "cpu":
        raise DataError("precision tf32 is a GPU's; take float32 or bf16 on the CPU")
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = tf32
    return lambda: torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bf16")


def on_device(network: nn.Module, device: str | torch.device) -> nn.Module:
    """Move a network to the device, its weights in channels-last order."""
    return network.to(device).to(memory_format=torch.channels_last)


def evaluation_epochs(epochs: int, evaluations: int) -> set[int]:
    """Return the epochs after which a student is tested: `evaluations` of them, evenly spaced, ending with the last."""
    return {max(1, round(epochs * k / evaluations)) for k in range(1, evaluations + 1)}


def evaluate(student: nn.Module, material: Material, precision: Precision = "float32", batch_size: int = 0) -> dict[str, float]:
    """Return top-1 and top-5 accuracy of a student in eval mode, in percent: {"accuracy", "top5_accuracy"}.

    `batch_size` of 0 takes 50 on the CPU, where larger ones are no faster and take more memory, and 1000 on a GPU.
    """
    found = hits(student, material, precision=precision, batch_size=batch_size)
    top1, top5 = (100 * found.sum(0).double() / len(material.labels)).tolist()
    return {"accuracy": top1, "top5_accuracy": top5}


def hits(
    student: nn.Module,
    material: Material,
    index: Tensor | None = None,
    *,
    precision: Precision = "float32",
    batch_size: int = 0,
) -> Tensor:
    """Return which images a student in eval mode gets right, top-1 and among its first five, [N, 2] bool on the device.

    Args:
        index: which of the material's images, [N] int64 on the device; all of them by default.
        batch_size: as in `evaluate`.
    """
    device = material.images.device
    batch_size = batch_size or (50 if device.type == "cpu" else 1000)
    cast = autocast(device, precision)
    index = torch.arange(len(material.labels), device=device) if index is None else index
    parts = []
    student.eval()
    with torch.inference_mode():
        for part in torch.split(index, batch_size):
            with cast():
                logits = student(material.batch(part))
            logits = logits.float().nan_to_num(nan=-torch.inf)
            true = material.labels.index_select(0, part)
            found = logits.topk(min(5, logits.shape[1]), dim=1).indices == true[:, None]
            parts.append(torch.stack([found[:, 0], found.any(1)], dim=1))
        return torch.cat(parts)
