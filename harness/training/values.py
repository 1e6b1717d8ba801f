"""The values that the hot loop works on: how to train, on what, whom, and what came of it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor, nn

from harness import optimizers
from harness.augmentation.words import BORDER, Cutout
from harness.boards.protocol import Precision
from harness.boards.records import LOSS
from harness.boards.stages import Stage
from harness.datasets.base import normalise
from harness.losses.targets import Kind, Loss

if TYPE_CHECKING:
    from harness.core import seeds
    from harness.core.resolved import Resolved
    from harness.optimizers.optimizers import MakeOptimizer, MakeSchedule
    from harness.training.replay import Replay


#: Normalised float images are kept on the device up to this many bytes; larger sets stay uint8 and are normalised by batch.
KEEP_FLOAT_BYTES = 2 << 30
#: Mean and std, a number a channel, of pixels in [0, 1].
Statistics = tuple[tuple[float, ...], tuple[float, ...]]
#: What an evaluation has beside its accuracies where there are images whose logits are not all finite: how many.
NOT_FINITE = "not_finite"


@dataclass(frozen=True)
class Recipe:
    """How to train: everything `fit` needs beside the student and the data; names and units are those of a Protocol."""

    epochs: int
    batch_size: int
    optimizer: Resolved[MakeOptimizer]
    schedule: Resolved[MakeSchedule]
    augmentation: str
    precision: Precision = "float32"
    evaluations: int = 1
    mixing: str = "none"
    cutout: Cutout = BORDER
    stages: tuple[Stage, ...] = ()
    accumulation: int = 1
    ema: float = 0.0
    ranks: Literal["raw", "ema"] = "raw"

    @property
    def plain(self) -> bool:
        """Whether all steps are alike: no stages, a batch passes at once, no mean of the weights. Others cannot be captured."""
        return not self.stages and self.accumulation == 1 and not self.ema

    @property
    def step(self) -> Recipe:
        """The recipe as far as its training steps go, the same for those of other epochs, evaluations and schedules."""
        return replace(self, epochs=0, evaluations=0, schedule=optimizers.schedules.resolve("constant"))


@dataclass(frozen=True)
class Material:
    """What a student trains on, resident on the device.

    `images` are [N, C, H, W], normalised float32 in channels-last order, or uint8 with `mean` and `std` to normalise by.
    `statistics` are the mean and std that normalised images were normalised by, a number a channel, where that is known.
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
    statistics: Statistics | None = None

    @classmethod
    def on_device(
        cls,
        device: str | torch.device,
        images: Tensor,
        labels: Tensor,
        soft: Tensor | None = None,
        soft_kind: Kind = "logits",
        mean: tuple[float, ...] = (),
        std: tuple[float, ...] = (),
        factor: int = 1,
        replay: Replay | None = None,
        statistics: Statistics | None = None,
    ) -> Material:
        """Move images to the device and normalise them there, unless they are too large to be kept as floats."""
        images = images.to(device)
        statistics = (mean, std) if mean else statistics
        material = cls(images, labels.to(device), soft, soft_kind, mean, std, factor, replay, statistics)
        if material.mean and images.numel() * 4 <= KEEP_FLOAT_BYTES:
            return replace(material, images=normalise(images, material.mean, material.std), mean=(), std=())
        return material if material.mean else replace(material, images=images.contiguous(memory_format=torch.channels_last))

    def batch(self, index: Tensor) -> Tensor:
        """Return the normalised images at `index`, channels last."""
        images = self.images.index_select(0, index)
        return normalise(images, self.mean, self.std) if self.mean else images.contiguous(memory_format=torch.channels_last)

    def at(self, index: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """Return what is learned at `index`: normalised images, labels, and soft labels when there are any."""
        soft = None if self.soft is None else self.soft.index_select(0, index)
        return self.batch(index), self.labels.index_select(0, index), soft


@dataclass
class Fit:
    """What happened: whether it diverged, how many epochs ran, seconds by phase, what `evaluate` returned.

    A training has diverged when a loss was not finite, or when the last update left a weight, or an answer of the last
    evaluation, that is not. `taken_up` is how many of its epochs a run before has made, that was cut off; `way` how it was
    made: alone, stacked, captured, captured stacked, side by side; `stack` which of the trainings that were asked for at once
    shared its tensors, in their order, its own among them, where there were several; `compiled` whether its passes were.

    An entry of `history` has, beside what `evaluate` said, the epoch and the `LOSS`: of the steps since the entry before it,
    the mean, under whatever loss each was trained. `loss_read` is the sum of losses up to there, `steps_read` of how many steps.
    """

    diverged: bool = False
    epochs: int = 0
    steps: int = 0
    train_seconds: float = 0.0
    evaluate_seconds: float = 0.0
    history: list[dict[str, float]] = field(default_factory=list)
    taken_up: int = 0
    way: str = ""
    stack: tuple[int, ...] = ()
    compiled: bool = False
    loss_read: float = 0.0
    steps_read: int = 0

    def read(self, total: float, passes: int) -> dict[str, float]:
        """Return the mean loss of a step since this was last asked, under its name; nothing where it is not finite.

        Args:
            total: the sum of the losses of all passes so far.
            passes: of which a step's loss is the mean.
        """
        steps = self.steps - self.steps_read
        mean = (total - self.loss_read) / (passes * steps) if steps else math.nan
        if not math.isfinite(mean):
            return {}
        self.loss_read, self.steps_read = total, self.steps
        return {LOSS: mean}


@dataclass
class Member:
    """One of several trainings that are made together, as `fit` takes it.

    `forward` gives the student's logits in a training step, where that is not the student itself but what it was compiled to.
    `place` is its own in the streams that all code shares, where trainings take turns (`harness.training.in_step.fit_in_step`).
    """

    student: nn.Module
    loss: Loss
    seed: int
    evaluate: Callable[[nn.Module], dict[str, float]] | None = None
    place: seeds.Place | None = None
    forward: Callable[[Tensor], Tensor] | None = None
