"""Stored soft labels that belong to one augmentation each (FKD): what was done to every image, and what the teacher then said."""

from __future__ import annotations

from dataclasses import dataclass, fields

from torch import Tensor

from harness.core.errors import DataError


@dataclass(frozen=True)
class Replay:
    """E epochs of N images in batches of at most `batch`: S = ceil(N / batch) steps an epoch, the last one perhaps smaller.

    Attributes:
        index: [E, N] int64, which image of the set stands at each place of an epoch; every image once an epoch.
        crops: [E, N, 4] float32, top, left, height and width of the crop as shares of the image's height and width.
        flips: [E, N] bool, whether the crop is then mirrored left and right.
        partners: [E, N] int64, with which place of its own batch each is mixed; its own place when nothing is mixed.
        lam: [E, S] float32 in [0, 1], the share that an image keeps of itself; 1 when nothing is mixed.
        boxes: [E, S, 4] int64, top, left, bottom and right in pixels of the part that CutMix takes from the partner; -1 where
            the step mixes the whole image (mixup) or nothing.
        logits: [E, N, C] float16, the teacher's logits of the image that results.
        batch: images a step.
    """

    index: Tensor
    crops: Tensor
    flips: Tensor
    partners: Tensor
    lam: Tensor
    boxes: Tensor
    logits: Tensor
    batch: int

    @property
    def epochs(self) -> int:
        return len(self.index)

    def tensors(self) -> dict[str, Tensor]:
        """Return the tensors by name, as a set's file keeps them: `replay.index` and so on."""
        return {f"replay.{f.name}": getattr(self, f.name) for f in fields(self) if f.name != "batch"}

    @classmethod
    def of(cls, tensors: dict[str, Tensor], batch: int) -> Replay | None:
        """Return what `tensors()` wrote, None when there is nothing. Raises DataError when a part is missing."""
        names = [f.name for f in fields(cls) if f.name != "batch"]
        parts = {name: tensors[f"replay.{name}"] for name in names if f"replay.{name}" in tensors}
        if not parts:
            return None
        if missing := [name for name in names if name not in parts]:
            raise DataError(f"the stored augmentations lack {', '.join(missing)}")
        return cls(**parts, batch=batch)

    def check(self, images: int, classes: int) -> None:
        """Raise DataError unless this fits a set of so many images and classes."""
        import torch

        if not isinstance(self.batch, int) or isinstance(self.batch, bool) or self.batch < 1:
            raise DataError(f"the stored augmentations' batch must be a whole number of at least 1, not {self.batch!r}")
        epochs, steps = self.index.shape[0] if self.index.dim() else 0, -(-images // self.batch)
        wanted: dict[str, tuple[tuple[int, ...], torch.dtype]] = {
            "index": ((epochs, images), torch.int64),
            "crops": ((epochs, images, 4), torch.float32),
            "flips": ((epochs, images), torch.bool),
            "partners": ((epochs, images), torch.int64),
            "lam": ((epochs, steps), torch.float32),
            "boxes": ((epochs, steps, 4), torch.int64),
            "logits": ((epochs, images, classes), torch.float16),
        }
        for name, (shape, dtype) in wanted.items():
            given: Tensor = getattr(self, name)
            if tuple(given.shape) != shape or given.dtype != dtype or not epochs:
                raise DataError(
                    f"the stored augmentations' {name} must be {dtype} {list(shape)}, not {given.dtype} {list(given.shape)}"
                )
        places = torch.arange(images)
        if not bool((self.index.sort(1).values == places).all()):
            raise DataError("the stored augmentations' index must name every image once an epoch")
        size = torch.where(places // self.batch == steps - 1, images - (steps - 1) * self.batch, self.batch)
        if bool((self.partners < 0).any()) or bool((self.partners >= size).any()):
            raise DataError("the stored augmentations' partners must lie within their batch")
        for name, low, high in (("crops", 0.0, 1.0), ("lam", 0.0, 1.0)):
            values: Tensor = getattr(self, name)
            if not bool(values.isfinite().all()) or float(values.min()) < low or float(values.max()) > high:
                raise DataError(f"the stored augmentations' {name} must lie in [{low:g}, {high:g}]")
        if any(not bool(epoch.isfinite().all()) for epoch in self.logits):
            raise DataError("the stored augmentations' logits must be finite")
