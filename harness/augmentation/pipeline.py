"""From what a protocol says to what is done to every batch: `augmentation`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from torch import Tensor

from harness.augmentation.crops import Flip, PadCrop, PatchShuffle, RandomResizedCrop
from harness.augmentation.draws import Streams
from harness.augmentation.dsa import DSA, Mode
from harness.augmentation.jitter import ColorJitter, Lighting
from harness.augmentation.rand_augment import RandAugment, torchvision_rand_augment
from harness.augmentation.steps import registry
from harness.augmentation.tiles import MosaicCrop
from harness.augmentation.words import BORDER, PIXELS, RAND_AUGMENT, Cutout, is_pipeline, rand_augment, steps
from harness.core.spec import Spec

if TYPE_CHECKING:
    from harness.augmentation.steps import Step

MAKERS: dict[str, Callable[..., Any]] = {
    "patch-shuffle": PatchShuffle,
    "mosaic-crop": MosaicCrop,
    "random-resized-crop": RandomResizedCrop,
    "pad-crop": PadCrop,
    "flip": Flip,
    "torchvision-rand-augment": torchvision_rand_augment,
    "color-jitter": ColorJitter,
    "lighting": Lighting,
    "dsa": DSA,
}


@dataclass(frozen=True)
class Augmentation:
    """The mosaic crop, then DSA: what the paper's protocol does to every batch of a student. Called as `DSA` is."""

    mosaic_crop: MosaicCrop
    dsa: DSA

    def __call__(self, batch: Tensor, *, generator: Streams = None) -> Tensor:
        """Return the augmented batch, [B, C, H, W] in and out."""
        return self.dsa(self.mosaic_crop(batch, generator=generator), generator=generator)


@dataclass(frozen=True)
class Plugged:
    """A step that a plugin brings, called as `DSA` is."""

    step: Step

    def __call__(self, batch: Tensor, *, generator: Streams = None) -> Tensor:
        """Return the augmented batch, [B, C, H, W] in and out."""
        return self.step(batch, generator)


@dataclass(frozen=True)
class Pipeline:
    """Steps done one after the other, each called as `DSA` is."""

    steps: tuple[Any, ...]

    def __call__(self, batch: Tensor, *, generator: Streams = None) -> Tensor:
        """Return the augmented batch, [B, C, H, W] in and out."""
        for step in self.steps:
            batch = step(batch, generator=generator)
        return batch


def augmentation(
    strategy: str,
    factor: int = 1,
    mode: Mode = "multiple",
    cutout: Cutout = BORDER,
    statistics: tuple[tuple[float, ...], tuple[float, ...]] | None = None,
) -> Augmentation | Pipeline:
    """Return what is done to the batches of a distilled set with mosaic `factor`; raises BadOption and UnknownName.

    Args:
        strategy: a DSA strategy, which the mosaic crop goes before, or a pipeline (see `harness.augmentation.words`), which has
            the mosaic crop only where it says so.
        factor: tiles along one side of the set's mosaics.
        mode: of a DSA strategy; a pipeline's `dsa` step says its own.
        cutout: where DSA's squares are centred, here and in a pipeline's `dsa` steps (see `harness.augmentation.words.Cutout`).
        statistics: mean and std, a number a channel, that images were normalised by, where that is known: some steps turn them
            into pixels again.
    """
    if not is_pipeline(strategy):
        return Augmentation(MosaicCrop(factor), DSA(strategy, mode, cutout))
    operations: list[Callable[..., Tensor]] = []
    for step in steps(strategy):
        options = step.options
        if options.get("factor") == 0:
            options = options | {"factor": factor}
        if step.name == "dsa":
            options = options | {"cutout": cutout}
        if step.name in PIXELS:
            options = options | {"statistics": statistics}
        if step.name.startswith(RAND_AUGMENT):
            operations.append(RandAugment(rand_augment(step.name), statistics))
        elif step.name in MAKERS:
            operations.append(MAKERS[step.name](**options))
        else:
            operations.append(Plugged(registry.create(Spec(name=step.name, options=options))))
    return Pipeline(tuple(operations))
