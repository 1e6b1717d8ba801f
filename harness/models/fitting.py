"""What networks share when they meet images they were not made for: the record of what changed, resizing, normalisation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from harness.core.errors import BadOption, suggest

ATTRIBUTE = "giftbench_adaptation"
INITS = ("timm", "torchvision")
REMARKS = "giftbench_remarks"
Statistics = tuple[Sequence[float], Sequence[float]]  # mean and std per channel, of pixels in [0, 1]
M = TypeVar("M", bound=nn.Module)


def record(model: M, *changes: str) -> M:
    """Write the changes that are not empty into the model's `giftbench_adaptation`, and return the model."""
    setattr(model, ATTRIBUTE, ", ".join(change for change in changes if change))
    return model


def remark(model: M, *lines: str) -> M:
    """Write into the model what whoever puts published weights into it should know, and return the model."""
    setattr(model, REMARKS, tuple(line for line in lines if line))
    return model


class Resized(nn.Module):
    """A model behind a bilinear resize of its input to `size` = (height, width) in pixels."""

    def __init__(self, model: nn.Module, size: tuple[int, int]) -> None:
        super().__init__()
        self.model = model
        self.size = size

    def forward(self, images: Tensor) -> Tensor:
        """[B, C, H, W] -> [B, classes]."""
        resized = functional.interpolate(images, size=self.size, mode="bilinear", align_corners=False)
        logits: Tensor = self.model(resized)
        return logits


class Renormalised(nn.Module):
    """A model whose images were normalised by `own` statistics, for images that come normalised by others."""

    scale: Tensor
    shift: Tensor

    def __init__(self, model: nn.Module, come: Statistics, own: Statistics) -> None:
        super().__init__()
        self.model = model
        (mean, std), (own_mean, own_std) = (torch.tensor(each, dtype=torch.float64)[..., None, None] for each in (come, own))
        self.register_buffer("scale", (std / own_std).float())
        self.register_buffer("shift", ((mean - own_mean) / own_std).float())

    def forward(self, images: Tensor) -> Tensor:
        """[B, C, H, W] -> [B, classes]."""
        logits: Tensor = self.model(images * self.scale + self.shift)
        return logits


def fit(model: nn.Module, given: tuple[int, int], wanted: tuple[int, int], *changes: str) -> nn.Module:
    """Return `model`, which takes images of `wanted` (height, width), so that it takes `given` ones, and record the changes."""
    if given == wanted:
        return record(model, *changes)
    return record(Resized(model, wanted), *changes, f"input upsampled {_pixels(given)} -> {_pixels(wanted)} px")


def next_multiple(size: tuple[int, int], of: int) -> tuple[int, int]:
    """Return the smallest (height, width) not below `size` that `of` divides."""
    return -(-size[0] // of) * of, -(-size[1] // of) * of


def checked_rate(place: str, rate: float) -> float:
    """Return a probability of dropping something. Raises: BadOption unless it lies in [0, 1)."""
    if isinstance(rate, bool) or not isinstance(rate, (int, float)) or not 0 <= rate < 1:
        raise BadOption(f"{place} must be in [0, 1), not {rate!r}")
    return float(rate)


def checked_init(model: str, init: str) -> str:
    """Return by whose code initial weights are drawn. Raises: BadOption unless that is timm's or torchvision's."""
    if init not in INITS:
        raise BadOption(f"model {model!r}: init must be 'timm' or 'torchvision', not {init!r}; {suggest(init, INITS)}")
    return init


def _pixels(size: tuple[int, int]) -> str:
    return str(size[0]) if size[0] == size[1] else f"{size[0]}x{size[1]}"
