"""Soft labels in FKD's format: what a training asks its teacher, written as epoch_{e}/batch_{b}.tar with crops, flips and mixes.

The reader of that format (`harness.distilled.readers.fkd`) replays what is written here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from harness.augmentation import Crops, Mix, augmentation, mirrored, resized
from harness.augmentation.crops import Flip, RandomResizedCrop
from harness.augmentation.mixing import mixing, stored
from harness.augmentation.words import is_pipeline, steps
from harness.boards.protocol import Protocol
from harness.core.errors import DataError
from harness.files import atomic
from harness.training.batches import Shuffled
from harness.training.devices import autocast
from harness.training.feed import asked
from harness.training.values import Material, Recipe

#: The pipelines that FKD's format can say.
SAID = (["random-resized-crop"], ["random-resized-crop", "flip"])
SAYABLE = "none, random-resized-crop and random-resized-crop+flip"
#: By how much a pixel may differ, in standard deviations, between what was asked about and what is replayed.
TOLERANCE = 1e-3


def check(protocol: Protocol, images: int, factor: int = 1) -> None:
    """Raise DataError, in one line, where FKD's format cannot say what a protocol does to a set.

    Args:
        images: of the set.
        factor: tiles along one side of its mosaics, one of which is cut out where no pipeline of steps says otherwise.
    """
    words = protocol.augmentation
    said = [step.name for step in steps(words)] in SAID if is_pipeline(words) else words == "none" and factor == 1
    if not said:
        raise DataError(
            f"augmentation {words!r} cannot be said in FKD's format, which stores a crop, a flip and a mix of each image; "
            f"{SAYABLE} can, with any mixing"
        )
    if protocol.stages:
        raise DataError("stages of labels cannot be said in FKD's format, which has the same of every epoch; give stages = []")
    batch = protocol.batch_size
    if images > batch > 1 and images % batch == 1:
        raise DataError(
            f"{images} images in batches of {batch} leave a last one of one image, which joins the batch before it here and "
            f"cannot in FKD's format; give a batch_size that does not"
        )


def write(folder: Path, material: Material, recipe: Recipe, seed: int, teacher: Callable[[Tensor], Tensor]) -> None:
    """Write what a training of this seed is given: a file for each step of each epoch, the teacher's logits in half precision.

    Args:
        folder: of the epochs; it is made.
        teacher: as `harness.training.loop.fit` takes it.
    Raises: DataError for logits that half precision does not hold; WriteError.
    """
    source, computing = Shuffled(material, recipe, [seed]), autocast(material.images.device, recipe.precision)
    for epoch in range(recipe.epochs):
        place = folder / f"epoch_{epoch}"
        atomic.make_folder(place)
        for number, given in enumerate(source.epoch(epoch + 1)):
            drawn = _Drawn(recipe, given[0], material, source.streams[0])
            images = source.step(given).images
            if not torch.allclose(drawn.replayed(material), images, atol=TOLERANCE):
                raise DataError(f"{place}: batch {number} is not what would be replayed of it")
            logits = asked(teacher, images, computing).cpu()
            if not bool(logits.half().isfinite().all()):
                raise DataError(f"{place}: logits up to {float(logits.abs().max()):g} are more than half precision holds")
            with atomic.writing(place / f"batch_{number}.tar") as stream:
                torch.save([*drawn.parts(), logits.half(), given[0].cpu()], stream)


class _Drawn:
    """What a step draws of its images `index` [B], found out by drawing it from a copy of its stream."""

    def __init__(self, recipe: Recipe, index: Tensor, material: Material, stream: torch.Generator) -> None:
        copied = torch.Generator(stream.device)
        copied.set_state(stream.get_state())
        self.index, count, device = index, len(index), material.images.device
        self.size = height, width = material.images.shape[2], material.images.shape[3]
        self.shares = torch.tensor([0.0, 0.0, 1.0, 1.0], device=device).repeat(count, 1)
        self.flips = torch.zeros(count, dtype=torch.bool, device=device)
        self.mix: Mix | None = None
        for step in _operations(recipe):
            if isinstance(step, Flip):
                self.flips = step.draw(count, device=device, generator=copied)
            elif not (step.min_scale == 1 and height == width):
                crops = step.draw(count, height, width, device=device, generator=copied)
                sides = (crops.top / height, crops.left / width, crops.height / height, crops.width / width)
                self.shares = torch.stack(sides, 1)
        mixes = mixing(recipe.mixing)
        if mixes is not None:
            self.mix = mixes.draw(count, height, width, device=device, generator=copied)

    def parts(self) -> list[Any]:
        """Return crops, flips, mix index, lam and box, as FKD's code saves them."""
        if self.mix is None:
            return [self.shares.cpu(), self.flips.cpu(), None, None, None]
        lam, box = _share(self.mix.own)
        return [self.shares.cpu(), self.flips.cpu(), self.mix.partner.cpu(), lam, box]

    def replayed(self, material: Material) -> Tensor:
        """Return what becomes of the images where this is replayed, [B, C, H, W]."""
        height, width = self.size
        images = mirrored(resized(material.batch(self.index), Crops.of_shares(self.shares, height, width)), self.flips)
        if self.mix is None:
            return images
        lam, box = _share(self.mix.own)
        device = images.device
        places = torch.tensor(box if box is not None else [-1] * 4, device=device)
        return stored(self.mix.partner, torch.tensor(lam, device=device), places, height, width).apply(images)


def _operations(recipe: Recipe) -> Sequence[Flip | RandomResizedCrop]:
    if not is_pipeline(recipe.augmentation):
        return ()
    pipeline: Any = augmentation(recipe.augmentation)
    return pipeline.steps  # type: ignore[no-any-return]


def _share(own: Tensor) -> tuple[float, list[int] | None]:
    """Return the share that images keep, and the box of their partners' part: None where it is the same share everywhere."""
    pasted = own == 0
    if not bool(pasted.any()) or bool(pasted.all()):
        return float(own.flatten()[0]), None
    rows, columns = (pasted.any(1 - axis).nonzero()[:, 0] for axis in (0, 1))
    return float(own.mean()), [int(rows[0]), int(columns[0]), int(rows[-1]) + 1, int(columns[-1]) + 1]
