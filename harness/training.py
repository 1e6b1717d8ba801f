"""The only hot loop: `fit` trains a student, `evaluate` measures it. Nothing here waits for the device inside a step."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from harness import optimizers
from harness.batches import MixedLoss, Replayed, Shuffled, batch_sizes
from harness.board import Precision
from harness.datasets.base import normalise
from harness.losses.targets import Kind, Targets

if TYPE_CHECKING:
    from harness.distilled.replay import Replay
    from harness.spec import Spec

__all__ = ["Fit", "Material", "Recipe", "autocast", "batch_sizes", "evaluate", "evaluation_epochs", "fit", "hits", "on_device"]

#: Normalised float images are kept on the device up to this many bytes; larger sets stay uint8 and are normalised by batch.
KEEP_FLOAT_BYTES = 2 << 30
#: The loss is looked at on the host once in so many steps, never in between.
STEPS_PER_CHECK = 100


@dataclass(frozen=True)
class Recipe:
    """How to train: everything `fit` needs beside the student and the data. Names and units as in `harness.board.Protocol`."""

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
    device = material.images.device
    batches = Shuffled(material, recipe, seed) if material.replay is None else Replayed(material)
    teacher = teacher if material.replay is None else None
    criterion = MixedLoss(loss)
    optimizer = optimizers.create(recipe.optimizer, student)
    schedule = optimizers.create_schedule(recipe.schedule, optimizer, recipe.epochs)
    cast = autocast(device, recipe.precision)
    epochs_per_check = max(1, STEPS_PER_CHECK // len(batches.sizes))
    marks = evaluation_epochs(recipe.epochs, recipe.evaluations)
    finite = torch.ones((), dtype=torch.bool, device=device)
    result = Fit()
    student.train()
    for epoch in range(1, recipe.epochs + 1):
        started = time.perf_counter()
        progress = (epoch - 1) / recipe.epochs
        for batch in batches.epoch(epoch):
            taught = None
            if teacher is not None:
                with torch.no_grad(), cast():
                    taught = teacher(batch.images).float()
            optimizer.zero_grad(set_to_none=True)
            with cast():
                logits = student(batch.images)
            value = criterion(logits.float(), *batch.targets(progress, taught), batch.mix)
            value.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            finite.logical_and_(value.detach().isfinite())
        schedule.step()
        last = epoch == recipe.epochs
        result.epochs, result.steps = epoch, result.steps + len(batches.sizes)
        if last or epoch % epochs_per_check == 0:
            result.diverged = not bool(finite)
        result.train_seconds += time.perf_counter() - started
        if evaluate is not None and (epoch in marks or result.diverged):
            started = time.perf_counter()
            result.history.append({"epoch": epoch, **evaluate(student)})
            student.train()
            result.evaluate_seconds += time.perf_counter() - started
        if result.diverged:
            break
    return result


def autocast(device: torch.device, precision: Precision) -> Callable[[], AbstractContextManager[Any]]:
    """Return a maker of the context that forward passes run under: bf16 autocast, or nothing."""
    return lambda: torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bf16")


def on_device(network: nn.Module, device: str | torch.device) -> nn.Module:
    """Move a network to the device, its weights in channels-last order."""
    return network.to(device).to(memory_format=torch.channels_last)


def evaluation_epochs(epochs: int, evaluations: int) -> set[int]:
    """Return the epochs after which a student is tested: `evaluations` of them, evenly spaced, ending with the last."""
    return {max(1, round(epochs * k / evaluations)) for k in range(1, evaluations + 1)}


def evaluate(student: nn.Module, material: Material, precision: Precision = "float32", batch_size: int = 0) -> dict[str, float]:
    """Return top-1 and top-5 accuracy of a student in eval mode, in percent: {"accuracy", "top5_accuracy"}.

    `batch_size` of 0 takes 50 on the CPU, where activations should stay in the cache, and 1000 on a GPU.
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
