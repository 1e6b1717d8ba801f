"""What an authors' protocol depends on, and what it says: the values that `harness.boards.native` and `recent` are made of."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from harness.boards.stages import Stage
from harness.core.spec import Spec

CROP_FLIP = "random-resized-crop(min_scale=0.08)+flip"
CUTMIX, MIXUP = "cutmix(alpha=1.0)", "mixup(alpha=0.8)"
DSA_SINGLE = "dsa(strategy=color_crop_cutout_flip_scale_rotate, mode=single)"


@dataclass(frozen=True)
class Case:
    """What a native protocol may depend on: size, mosaic factor and provenance of the set, its dataset, epochs, and student.

    `epochs` are the board's, 0 where it leaves them to the authors; `model` is the student's name.
    """

    images: int
    dataset: str
    classes: int
    factor: int = 1
    provenance: Mapping[str, Any] = field(default_factory=dict)
    epochs: int = 0
    model: str = ""

    @property
    def ipc(self) -> float:
        return self.images / max(self.classes, 1)

    @property
    def family(self) -> str:
        """`tiny-imagenet`, `imagenet` (ImageNet-1K and its subsets) or `small` (CIFAR, and every dataset no author names)."""
        if self.dataset.startswith("tiny-imagenet"):
            return "tiny-imagenet"
        return "imagenet" if self.dataset.startswith(("imagenet", "imagewoof")) else "small"

    @property
    def learning_rate(self) -> float | None:
        """The set's own learning rate, where its reader found one."""
        rate = self.provenance.get("lr")
        if isinstance(rate, bool) or not isinstance(rate, (int, float)):
            return None
        return float(rate) if math.isfinite(rate) and rate > 0 else None


@dataclass(frozen=True)
class NativeProtocol:
    """What authors state of a protocol; an optimizer of None asks for one of the board's, for the reason that `missing` gives.

    `normalisation` is a key of `harness.boards.native.STATISTICS`, where the authors' differ from those that the dataset has
    here. The last four are as in a protocol.
    """

    epochs: int
    batch_size: int
    optimizer: Spec | None
    schedule: Spec
    augmentation: str
    mixing: str = "none"
    normalisation: str = "dataset"
    stages: tuple[Stage, ...] = ()
    accumulation: int = 1
    ema: float = 0.0
    ranks: Literal["raw", "ema"] = "raw"


def adamw(**options: object) -> Spec:
    """AdamW as RDED, SRe2L (on ImageNet) and G-VBSM have it; the learning rate, 1e-3, is left to the optimizer's own rule."""
    return on_weights("adamw", **{"weight_decay": 0.01} | options)


def on_weights(name: str, **options: object) -> Spec:
    return Spec(name=f"{name}-weights-only", options=options)


def sgd(lr: float, weight_decay: float = 5e-4) -> Spec:
    return Spec(name="sgd", options={"lr": lr, "momentum": 0.9, "weight_decay": weight_decay})


def schedule(name: str, **options: object) -> Spec:
    return Spec(name=name, options=options)


def halved(case: Case) -> Spec:
    """A tenth of the rate from half on: VICO's `epoch in [E // 2 + 1]`, asked after each of the epochs 0 to E."""
    epochs = case.epochs or 1001
    return schedule("multistep", milestones=[f"{(epochs - 1) // 2 + 2}/{epochs}"], gamma=0.1)
