"""Colours changed a little, as IDC's code trains students on ImageNet and Minimax after it: jitter, then the light's colour."""

from __future__ import annotations

import torch
from torch import Tensor

from harness.augmentation.draws import Streams, uniforms
from harness.augmentation.warp import at_least_float32, like
from harness.core.errors import DataError

GREY = (0.299, 0.587, 0.114)
#: Which way light varies over the photographs of ImageNet (Krizhevsky et al. 2012): variances, and a column a direction.
VARIANCES = (0.2175, 0.0188, 0.0045)
DIRECTIONS = ((-0.5675, 0.7192, 0.4009), (-0.5808, -0.0045, -0.8140), (-0.5836, -0.6948, 0.4203))

Statistics = tuple[tuple[float, ...], tuple[float, ...]]


def _statistics(name: str, statistics: Statistics | None) -> Statistics:
    if statistics is None:
        raise DataError(f"augmentation step {name!r} changes pixels, and images that were whitened have none to change")
    return statistics


class ColorJitter:
    """Brightness, contrast and saturation, each moved by up to `strength` either way, in an order that each image draws.

    An image x becomes x + a (o - x), a uniform in [-strength, strength): o is black, the mean of its grey, its grey.

    Args:
        statistics: mean and std, a number a channel, by which images were normalised.
    Raises: DataError where there are none.
    """

    def __init__(self, strength: float = 0.4, statistics: Statistics | None = None) -> None:
        self.strength = strength
        self.mean, self.std = _statistics("color-jitter", statistics)

    def __repr__(self) -> str:
        return f"ColorJitter({self.strength})"

    def __call__(self, batch: Tensor, *, generator: Streams = None) -> Tensor:
        """Return the batch in other colours, [B, C, H, W] in and out."""
        u = uniforms(len(batch), 6, device=batch.device, generator=generator)
        return self.apply(batch, u[:, :3].argsort(1), (2 * u[:, 3:] - 1) * self.strength)

    def apply(self, batch: Tensor, order: Tensor, amounts: Tensor) -> Tensor:
        """Do to each image three things in its `order`, [B, 3] int64, each by so much, [B, 3]: 0 brightness, 1 contrast, 2
        saturation."""
        images = at_least_float32(batch)
        mean, std = _columns(images, self.mean), _columns(images, self.std)
        images = images * std + mean
        for kind in order.unbind(1):
            grey = _grey(images)
            kinds = kind.view(-1, 1, 1, 1)
            other = torch.where(kinds == 0, 0.0, torch.where(kinds == 1, grey.mean((2, 3), keepdim=True), grey))
            amount = amounts.gather(1, kind[:, None]).view(-1, 1, 1, 1).to(images.dtype)
            images = images + amount * (other - images)
        return like((images - mean) / std, batch)


class Lighting:
    """A colour added to all of an image: each of three directions by a normal number of deviation `deviation` and its variance.

    Args:
        statistics: mean and std, a number a channel, by which images were normalised.
    Raises: DataError where there are none, or no three channels.
    """

    def __init__(self, deviation: float = 0.1, statistics: Statistics | None = None) -> None:
        self.deviation = deviation
        _, self.std = _statistics("lighting", statistics)
        if len(self.std) != len(VARIANCES):
            raise DataError(f"augmentation step 'lighting' is of images with three channels, not {len(self.std)}")

    def __repr__(self) -> str:
        return f"Lighting({self.deviation})"

    def __call__(self, batch: Tensor, *, generator: Streams = None) -> Tensor:
        """Return the batch in another light, [B, 3, H, W] in and out."""
        u = uniforms(len(batch), 3, device=batch.device, generator=generator)
        normal = 2**0.5 * torch.erfinv((2 * u - 1).clamp(-1 + 1e-7, 1 - 1e-7))
        return self.apply(batch, normal * self.deviation)

    def apply(self, batch: Tensor, amounts: Tensor) -> Tensor:
        """Add so much of each direction, [B, 3]."""
        images = at_least_float32(batch)
        directions = torch.tensor(DIRECTIONS, dtype=images.dtype, device=images.device)
        variances = torch.tensor(VARIANCES, dtype=images.dtype, device=images.device)
        color = (amounts.to(images.dtype) * variances) @ directions.T
        return like(images + color[:, :, None, None] / _columns(images, self.std), batch)


def _columns(images: Tensor, values: tuple[float, ...]) -> Tensor:
    return torch.tensor(values, dtype=images.dtype, device=images.device).view(1, -1, 1, 1)


def _grey(images: Tensor) -> Tensor:
    """Return the images' grey, [B, 1, H, W]; those of another number of channels than three have their mean."""
    weights = _columns(images, GREY) if images.shape[1] == len(GREY) else 1 / images.shape[1]
    return (images * weights).sum(1, keepdim=True)
