"""RDED's mosaics: how they are built, and how a student sees them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from harness.augmentation.draws import Device, Streams, uniforms
from harness.augmentation.warp import at_least_float32, like, stretch, warp
from harness.core.errors import BadOption, DataError


@dataclass(frozen=True)
class MosaicCropParameters:
    """Which part of each of B mosaics is kept: `tile` [B], row by row from 0; -1 keeps the whole. Made by `MosaicCrop.draw`."""

    tile: Tensor


class MosaicCrop:
    """Random tile of a mosaic (RDED, Sun et al. 2024): how a student sees images that `mosaic` built.

    Per sample, with probability 1 - 1/factor^2, one of the factor^2 tiles at random, resized (bilinear) to full size as
    `F.interpolate` does it; otherwise the whole image. Factor 1 leaves batches as they are.

    Args:
        factor: tiles along each side, at least 1.
    Raises: BadOption for a factor below 1; DataError (on use) for images that the factor does not divide.
    """

    def __init__(self, factor: int) -> None:
        self.factor = checked(factor)

    def __repr__(self) -> str:
        return f"MosaicCrop({self.factor})"

    def __call__(self, batch: Tensor, *, generator: Streams = None) -> Tensor:
        """Return `batch` [B, C, H, W] with tiles in place of some of its images; `generator` as in `DSA`."""
        if self.factor == 1:
            return batch
        return self.apply(batch, self.draw(len(batch), device=batch.device, generator=generator))

    def draw(self, samples: int, *, device: Device = None, generator: Streams = None) -> MosaicCropParameters:
        """Draw the part that each of `samples` images is cut down to: a float32 tensor on `device`."""
        tiles = self.factor**2
        u = uniforms(samples, 2, device=device, generator=generator)
        return MosaicCropParameters(tile=(u[:, 0] * tiles).floor().masked_fill(u[:, 1] * tiles < 1, -1.0))

    def apply(self, batch: Tensor, parameters: MosaicCropParameters) -> Tensor:
        """Cut `batch` [B, C, H, W] down to what `draw` drew."""
        if self.factor == 1:
            return batch
        height, width = batch.shape[2:]
        if height % self.factor or width % self.factor:
            raise DataError(f"mosaic factor {self.factor} does not divide images of {height}x{width} pixels")
        images = at_least_float32(batch)
        tile = parameters.tile[:, None]
        whole = tile < 0
        row = (tile / self.factor).floor().masked_fill(whole, 0.0)
        column = (tile % self.factor).masked_fill(whole, 0.0)
        part = torch.full_like(tile, 1 / self.factor).masked_fill(whole, 1.0)  # of the side
        across = stretch(images, width, column / self.factor, part)
        down = stretch(images, height, row / self.factor, part)
        return like(warp(images, across, 1j * down), batch)


def mosaic(images: Tensor, factor: int) -> Tensor:
    """Build N mosaics of factor x factor tiles, row by row (RDED, step 6).

    Args:
        images: the tiles by rank, best first, [N * factor^2, C, h, w]; tile k of mosaic i has rank k * N + i.
        factor: tiles along each side.
    Returns: [N, C, factor * h, factor * w].
    Raises: BadOption for a factor below 1; DataError when the tiles do not fill whole mosaics.
    """
    count, channels, height, width = images.shape
    if count % checked(factor) ** 2:
        raise DataError(f"{count} tiles do not fill whole mosaics of {factor}x{factor} tiles")
    tiles = images.reshape(factor, factor, count // factor**2, channels, height, width)
    return tiles.permute(2, 3, 0, 4, 1, 5).reshape(-1, channels, factor * height, factor * width)


def checked(factor: int) -> int:
    """Return a mosaic factor that is one."""
    if not isinstance(factor, int) or factor < 1:
        raise BadOption(f"mosaic factor: {factor!r} is not a whole number of at least 1")
    return factor
