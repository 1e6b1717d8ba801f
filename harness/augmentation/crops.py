"""Steps of a pipeline beside DSA: crops, flip and RDED's patch shuffle, each random per sample, drawn apart from applied."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from harness.augmentation.draws import Device, Streams, uniforms
from harness.augmentation.tiles import checked
from harness.augmentation.warp import at_least_float32, like, normalise, stretch, warp
from harness.core.errors import DataError

TRIES = 10  # of torchvision's RandomResizedCrop, before it takes the centre
ASPECTS = (3 / 4, 4 / 3)
FLIP_PROBABILITY = 0.5


@dataclass(frozen=True)
class Crops:
    """One rectangle a sample, each field [B] float32, in whole pixels of the image."""

    top: Tensor
    left: Tensor
    height: Tensor
    width: Tensor

    @classmethod
    def of_shares(cls, shares: Tensor, height: int, width: int, *, truncated: bool = False) -> Crops:
        """Return the crops that FKD stores as shares [B, 4] of top, left, height and width.

        Its code multiplies by the sides of the image and hands the rectangle to Pillow, which rounds each of its four edges.

        Args:
            truncated: whether top, left, height and width are cut to whole pixels instead, each by itself, as HALD's code does.
        """
        sides = torch.tensor([height, width], dtype=torch.float64, device=shares.device)
        if truncated:
            first, extent = (shares[:, :2].double() * sides).floor(), (shares[:, 2:].double() * sides).floor()
            first = first.minimum(sides - 1).clamp(min=0)
            extent = extent.minimum(sides - first).clamp(min=1)
            (top, left), (tall, wide) = first.float().unbind(1), extent.float().unbind(1)
            return cls(top, left, tall, wide)
        start, end = shares[:, :2].double() * sides, (shares[:, :2].double() + shares[:, 2:].double()) * sides
        first = start.round().minimum(sides - 1).clamp(min=0)
        extent = (end.round().minimum(sides) - first).clamp(min=1)
        (top, left), (tall, wide) = first.float().unbind(1), extent.float().unbind(1)
        return cls(top, left, tall, wide)


def resized(batch: Tensor, crops: Crops) -> Tensor:
    """Return each image's crop, resized (bilinear, no antialiasing: a crop is never larger than the image) to its full size."""
    images = at_least_float32(batch)
    height, width = images.shape[2:]
    across, down = (
        stretch(images, side, (start / side)[:, None].to(images.dtype), (extent / side)[:, None].to(images.dtype))
        for side, start, extent in ((width, crops.left, crops.width), (height, crops.top, crops.height))
    )
    return like(warp(images, across, 1j * down), batch)


def mirrored(batch: Tensor, flips: Tensor) -> Tensor:
    """Return the images with those mirrored left and right where `flips` [B] is true."""
    return like(torch.where(flips[:, None, None, None], batch.flip(3), batch), batch)


class RandomResizedCrop:
    """A crop of random area and aspect, resized to full size, as torchvision's RandomResizedCrop draws it.

    The area is a share uniform in [min_scale, 1], the aspect log-uniform in [3/4, 4/3]; the first of ten draws that fits into
    the image counts, else the centre of the image in the nearest aspect allowed.

    Args:
        min_scale: in (0, 1].
    """

    def __init__(self, min_scale: float = 0.08) -> None:
        self.min_scale = min_scale

    def __repr__(self) -> str:
        return f"RandomResizedCrop({self.min_scale})"

    def __call__(self, batch: Tensor, *, generator: Streams = None) -> Tensor:
        """Return the cropped batch, [B, C, H, W] in and out."""
        samples, _, height, width = batch.shape
        if self.min_scale == 1 and height == width:  # nothing fits but the whole image
            return batch
        return self.apply(batch, self.draw(samples, height, width, device=batch.device, generator=generator))

    def draw(self, samples: int, height: int, width: int, *, device: Device = None, generator: Streams = None) -> Crops:
        """Draw the crops of `samples` images of height x width."""
        u = uniforms(samples, 2 * TRIES + 2, device=device, generator=generator)
        area = height * width * (self.min_scale + (1 - self.min_scale) * u[:, :TRIES])
        low, high = map(math.log, ASPECTS)
        aspect = (low + (high - low) * u[:, TRIES : 2 * TRIES]).exp()
        wide, tall = (area * aspect).sqrt().round(), (area / aspect).sqrt().round()
        fits = (wide > 0) & (wide <= width) & (tall > 0) & (tall <= height)
        first, any_fits = fits.to(torch.uint8).argmax(1, keepdim=True), fits.any(1)
        centre_tall, centre_wide = _centre(height, width)
        tall = tall.gather(1, first)[:, 0].where(any_fits, tall.new_full((), centre_tall))
        wide = wide.gather(1, first)[:, 0].where(any_fits, wide.new_full((), centre_wide))
        top = (u[:, -2] * (height - tall + 1)).floor().where(any_fits, ((height - tall) / 2).floor())
        left = (u[:, -1] * (width - wide + 1)).floor().where(any_fits, ((width - wide) / 2).floor())
        return Crops(top, left, tall, wide)

    def apply(self, batch: Tensor, crops: Crops) -> Tensor:
        """Cut out what `draw` drew."""
        return resized(batch, crops)


def _centre(height: int, width: int) -> tuple[int, int]:
    """Return height and width of what torchvision takes when no draw fits: the most of the image in an allowed aspect."""
    if width / height < ASPECTS[0]:
        return round(width / ASPECTS[0]), width
    if width / height > ASPECTS[1]:
        return height, round(height * ASPECTS[1])
    return height, width


class PadCrop:
    """A random window of the image with `padding` pixels of zeros around it, of the image's own size.

    Zero is zero in the network's input. SRe2L's code pads before it normalises, so that its border is black instead.
    """

    def __init__(self, padding: int = 4) -> None:
        self.padding = padding

    def __repr__(self) -> str:
        return f"PadCrop({self.padding})"

    def __call__(self, batch: Tensor, *, generator: Streams = None) -> Tensor:
        """Return the cropped batch, [B, C, H, W] in and out."""
        return self.apply(batch, self.draw(len(batch), device=batch.device, generator=generator))

    def draw(self, samples: int, *, device: Device = None, generator: Streams = None) -> Tensor:
        """Draw whole pixels down and across from the image's window to the crop's, [B, 2] in [-padding, padding]."""
        u = uniforms(samples, 2, device=device, generator=generator)
        return (u * (2 * self.padding + 1)).floor() - self.padding

    def apply(self, batch: Tensor, shifts: Tensor) -> Tensor:
        """Cut out what `draw` drew."""
        images = at_least_float32(batch)
        down, across = (
            normalise(shift.to(images.dtype)[:, None] + torch.arange(0.5, side, dtype=images.dtype, device=images.device), side)
            for side, shift in zip(images.shape[2:], shifts.unbind(1), strict=True)
        )
        return like(warp(images, across, 1j * down), batch)


class Flip:
    """Mirror left and right with probability 0.5."""

    def __repr__(self) -> str:
        return "Flip()"

    def __call__(self, batch: Tensor, *, generator: Streams = None) -> Tensor:
        """Return the batch with some of its images mirrored."""
        return self.apply(batch, self.draw(len(batch), device=batch.device, generator=generator))

    def draw(self, samples: int, *, device: Device = None, generator: Streams = None) -> Tensor:
        """Draw which images are mirrored, [B] bool."""
        return uniforms(samples, device=device, generator=generator) < FLIP_PROBABILITY

    def apply(self, batch: Tensor, flips: Tensor) -> Tensor:
        """Mirror the images that `draw` drew."""
        return mirrored(batch, flips)


class PatchShuffle:
    """The tiles of each image in a new order: its `factor` columns shuffled, then its `factor` rows (RDED's training).

    Args:
        factor: tiles along each side, at least 1; 1 leaves batches as they are.
    Raises: BadOption for a factor below 1; DataError (on use) for images that the factor does not divide.
    """

    def __init__(self, factor: int) -> None:
        self.factor = checked(factor)

    def __repr__(self) -> str:
        return f"PatchShuffle({self.factor})"

    def __call__(self, batch: Tensor, *, generator: Streams = None) -> Tensor:
        """Return the batch with its tiles shuffled, [B, C, H, W] in and out."""
        if self.factor == 1:
            return batch
        return self.apply(batch, self.draw(len(batch), device=batch.device, generator=generator))

    def draw(self, samples: int, *, device: Device = None, generator: Streams = None) -> Tensor:
        """Draw the order of columns and of rows, [B, 2, factor] int64: which strip stands at each place."""
        return uniforms(samples, 2, self.factor, device=device, generator=generator).argsort(2)

    def apply(self, batch: Tensor, orders: Tensor) -> Tensor:
        """Put the strips in the order that `draw` drew."""
        height, width = batch.shape[2:]
        if height % self.factor or width % self.factor:
            raise DataError(f"patch-shuffle: factor {self.factor} does not divide images of {height}x{width} pixels")
        columns, rows = (self._places(order, side) for order, side in ((orders[:, 0], width), (orders[:, 1], height)))
        samples = torch.arange(len(batch), device=batch.device)[:, None, None]
        shuffled = batch.permute(0, 2, 3, 1)[samples, rows[:, :, None], columns[:, None, :]]
        shuffled = shuffled.permute(0, 3, 1, 2)
        return like(shuffled.contiguous() if batch.is_contiguous() else shuffled, batch)

    def _places(self, order: Tensor, side: int) -> Tensor:
        """Return which pixel of the side comes to each place, [B, side]."""
        strip = side // self.factor
        return (order[:, :, None] * strip + torch.arange(strip, device=order.device)).flatten(1)
