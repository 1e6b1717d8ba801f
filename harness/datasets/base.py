"""What a dataset is: two splits of uint8 images, class names, normalisation, digest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from harness.core.digests import digest
from harness.core.errors import DataError
from harness.datasets.split import Split

if TYPE_CHECKING:
    from harness.datasets.decoded import LazySplit


@dataclass(frozen=True, eq=False)
class Dataset:
    """A real dataset.

    Attributes:
        name: as boards write it, without options.
        train, test: the splits; a lazy train split decodes what it is asked for, and may be absent until then.
        classes: class names; their number is the number of classes.
        mean, std: per channel, of pixels in [0, 1].
        teacher_epochs: how long a teacher is trained on it by default.
        min_scale: smallest area share of an RDED crop that still shows the object.
        class_indices: of each class among the 1,000 of ImageNet-1K, for subsets of it; else empty.
        remarks: what is to be said of how its files were read, a line each.
    """

    name: str
    train: Split | LazySplit
    test: Split
    classes: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    teacher_epochs: int = 30
    min_scale: float = 0.08
    class_indices: tuple[int, ...] = ()
    remarks: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for title, split in (("train", self.train), ("test", self.test)):
            if isinstance(split, Split):
                self._check(f"dataset {self.name}: {title} split", split)
        if isinstance(self.train, Split) and self.train.images.shape[1:] != self.test.images.shape[1:]:
            raise DataError(f"dataset {self.name}: train and test images differ in shape")

    def _check(self, place: str, split: Split) -> None:
        if split.images.dtype != torch.uint8 or split.images.dim() != 4:
            raise DataError(f"{place}: images must be uint8 [N, C, H, W], not {split.images.dtype} {list(split.images.shape)}")
        if len(split.images) != len(split.labels) or not len(split):
            raise DataError(f"{place}: {len(split.images)} images and {len(split.labels)} labels")
        if int(split.labels.min()) < 0 or int(split.labels.max()) >= len(self.classes):
            raise DataError(f"{place}: labels outside 0..{len(self.classes) - 1}")

    @property
    def notes(self) -> tuple[str, ...]:
        """What its user should know of how its files were read, a line each; a lazy train split is listed for it."""
        return self.remarks + (() if isinstance(self.train, Split) else self.train.notes)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(channels, height, width)."""
        channels, height, width = self.test.images.shape[1:]
        return channels, height, width

    @cached_property
    def digest(self) -> str:
        """SHA-256 of both splits and the normalisation.

        A split that was decoded from files rests on their bytes and on how they were decoded; a lazy one on its listing.
        """
        tensors: dict[str, Tensor] = {}
        facts: dict[str, Any] = {"mean": list(self.mean), "std": list(self.std), "classes": len(self.classes)}
        for title, split in (("train", self.train), ("test", self.test)):
            if isinstance(split, Split) and not split.content:
                tensors |= {title: split.images, f"{title}_y": split.labels}
            else:
                facts[title] = split.content
        return digest(tensors, facts)


def statistics(images: Tensor) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return per-channel mean and standard deviation of uint8 images [N, C, H, W], in [0, 1], rounded to 4 digits."""
    values = torch.arange(256, dtype=torch.float64) / 255
    counts = torch.zeros(images.shape[1], 256, dtype=torch.float64)
    for chunk in torch.split(images, 1000):  # counting widens a byte to eight
        counts += torch.stack([torch.bincount(c.flatten().long(), minlength=256) for c in chunk.unbind(1)]).double()
    mean = (counts * values).sum(1) / counts.sum(1)
    std = ((counts * (values - mean[:, None]) ** 2).sum(1) / counts.sum(1)).sqrt()
    return tuple(round(v, 4) for v in mean.tolist()), tuple(round(max(v, 1e-4), 4) for v in std.tolist())


def normalise(images: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """Return uint8 (or [0, 1] float) images [N, C, H, W] as normalised float32, channels last, on the same device."""
    scale = 255.0 if images.dtype == torch.uint8 else 1.0
    centre = torch.tensor(mean, device=images.device).view(1, -1, 1, 1) * scale
    width = torch.tensor(std, device=images.device).view(1, -1, 1, 1) * scale
    return images.to(torch.float32, memory_format=torch.channels_last).sub(centre).div_(width)
