"""DSA and the mosaic crop: a whole batch at once on its own device, with no host copy and no Python per sample.

DSA is the augmentation that dataset condensation has shared since Zhao & Bilen (2021, "Dataset Condensation with
Differentiable Siamese Augmentation"), in the order of IDC's released code, which later work copied: flip, colour,
ONE of {crop, scale, rotate} a batch, cutout. Three choices shape this file:

* Drawing and applying are apart, as in kornia: `draw` returns a value that `apply` can replay and a test can read.
  What was not drawn is neutral in it (angle 0, scale 1), so `apply` has no data-dependent branch and can be captured in
  a CUDA graph. Every field has one row a sample, so the draws of several batches can be concatenated and applied at once.
* Flip, crop, scale and rotate are ONE bilinear warp with zero padding. Its grid is built here rather than by kornia, the
  project's library for geometry, because there it would be most of the cost. For 50 x 3 x 32 x 32 on one CPU thread grid
  and warp take 0.38 ms here (matrices included), 0.76 ms with `F.affine_grid` and 0.80 ms with kornia's `warp_affine`
  (matrices given); the whole of DSA takes 0.7 ms here and 5.6 ms as a chain of kornia's modules (best of many runs).
* Colour is one mean over the channels and one multiply-add, since brightness, saturation and contrast are affine.

Positions are in pixels from the image's top left corner: the first pixel's centre is 0.5, the far edge is the side.
A displacement by whole pixels is exact where the sides are powers of two; elsewhere within 1e-5 up to 96 px and 3e-5 at
224 px (white noise of range 4.5: the resolution of float32 in `F.grid_sample`). Half precision is computed in float32.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from harness.errors import BadOption, DataError

Mode = Literal["multiple", "single"]

WORDS = ("color", "crop", "cutout", "flip", "scale", "rotate")
GEOMETRIC = ("crop", "scale", "rotate")

FLIP_PROBABILITY = 0.5
BRIGHTNESS = 1.0  # width of the interval of the shift, around 0
SATURATION = 2.0  # width of the interval of the factor, from 0
CONTRAST = 0.5  # lowest factor of an interval of width 1
CROP_PADDING = 0.125  # of the height
SCALE = 1.2  # largest factor, and the inverse of the smallest
ROTATE = 15.0  # degrees to either side
CUTOUT = 0.5  # of the height

UNIFORMS = 12  # drawn for every sample, whatever the strategy: the same seed crops alike with and without colour


@dataclass(frozen=True)
class DSAParameters:
    """What DSA does to each of B samples, neutral where nothing is done; pairs are (x, y). Made by `DSA.draw`.

    Attributes:
        flip: [B] bool, mirror left and right; neutral False.
        brightness: [B] added, in [-0.5, 0.5); neutral 0.
        saturation: [B] factor around each pixel's mean over the channels, in [0, 2); neutral 1.
        contrast: [B] factor around the image's mean, in [0.5, 1.5); neutral 1.
        shift: [B, 2] whole pixels from the window's centre to the image's, up to the padding each way; neutral 0.
        scale: [B, 2] pixels of the image a pixel of the result, in [1/1.2, 1.2]; neutral 1.
        angle: [B] radians, within 15 degrees of neutral 0.
        cutout: [B, 2] whole pixels, column and row of the square's centre; neutral minus infinity (no square).
    """

    flip: Tensor
    brightness: Tensor
    saturation: Tensor
    contrast: Tensor
    shift: Tensor
    scale: Tensor
    angle: Tensor
    cutout: Tensor


class DSA:
    """Differentiable siamese augmentation: random per sample, on the normalised batch, on the batch's device.

    Mode "multiple" (default; IDC, RDED, GIFT): flip, then colour, then one of the geometric words that the strategy has,
    drawn once a batch, then cutout. Mode "single" (DSA's mode 'S', as MTT and DATM train): one word of the whole
    strategy is drawn once a batch, and only that one is applied.

    Args:
        strategy: words of `WORDS` joined by "_", in any order; "" or "none" leaves batches as they are.
        mode: "multiple" or "single".
    Raises: BadOption when a word or the mode is unknown, or a word comes twice.
    """

    def __init__(self, strategy: str, mode: Mode = "multiple") -> None:
        if mode not in get_args(Mode):
            raise BadOption(f"augmentation mode: no {mode!r}; valid: {', '.join(get_args(Mode))}")
        self.strategy = strategy
        self.mode = mode
        self.words = _parse(strategy)
        self.alternatives = self.words if mode == "single" else tuple(w for w in self.words if w in GEOMETRIC)

    def __repr__(self) -> str:
        return f"DSA({self.strategy!r}, mode={self.mode!r})"

    def __call__(self, batch: Tensor, *, generator: Generator | None = None) -> Tensor:
        """Return the augmented batch: [B, C, H, W] floating point in and out; dtype, device and memory format are kept.

        Args:
            batch: images, [B, C, H, W], normalised.
            generator: on the batch's device; None takes torch's own. It advances by an amount set by B alone.
        """
        if not self.words:
            return batch
        samples, _, height, width = batch.shape
        return self.apply(batch, self.draw(samples, height, width, device=batch.device, generator=generator))

    def draw(
        self,
        samples: int,
        height: int,
        width: int,
        *,
        device: torch.device | str | None = None,
        generator: Generator | None = None,
    ) -> DSAParameters:
        """Draw what to do to a batch of `samples` images of height x width: float32 tensors on `device`."""
        u = torch.rand(samples, UNIFORMS, device=device, generator=generator)
        choice = (u[:1, 11] * len(self.alternatives)).floor()  # stays on the device: one for the batch

        def drawn(word: str, value: Tensor, neutral: float) -> Tensor:
            if word not in self.words:
                return torch.full_like(value, neutral)
            if word not in self.alternatives or len(self.alternatives) == 1:
                return value
            return value.masked_fill(choice != self.alternatives.index(word), neutral)

        padding = _round(CROP_PADDING * height)
        return DSAParameters(
            flip=drawn("flip", u[:, 0] < FLIP_PROBABILITY, False),
            brightness=drawn("color", (u[:, 1] - 0.5) * BRIGHTNESS, 0.0),
            saturation=drawn("color", u[:, 2] * SATURATION, 1.0),
            contrast=drawn("color", u[:, 3] + CONTRAST, 1.0),
            shift=drawn("crop", (u[:, 4:6] * (2 * padding + 1)).floor() - padding, 0.0),
            scale=drawn("scale", u[:, 6:8] * (SCALE - 1 / SCALE) + 1 / SCALE, 1.0),
            angle=drawn("rotate", (u[:, 8] - 0.5) * math.radians(2 * ROTATE), 0.0),
            cutout=drawn("cutout", torch.stack((u[:, 9] * width, u[:, 10] * height), dim=1).floor(), float("-inf")),
        )

    def apply(self, batch: Tensor, parameters: DSAParameters) -> Tensor:
        """Do to `batch` [B, C, H, W] what `draw` drew; the same parameters give the same result."""
        if not self.words:
            return batch
        images = _at_least_float32(batch)
        if "color" in self.words:
            images = _colour(images, parameters)
        if any(word in GEOMETRIC for word in self.words):
            images = _warp(images, *_affine(images, parameters))
        elif "flip" in self.words:
            images = torch.where(parameters.flip[:, None, None, None], images.flip(3), images)
        if "cutout" in self.words:
            images = images * _outside_square(images, parameters.cutout)
        return _like(images, batch)


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
        self.factor = _checked(factor)

    def __repr__(self) -> str:
        return f"MosaicCrop({self.factor})"

    def __call__(self, batch: Tensor, *, generator: Generator | None = None) -> Tensor:
        """Return `batch` [B, C, H, W] with tiles in place of some of its images; `generator` as in `DSA`."""
        if self.factor == 1:
            return batch
        return self.apply(batch, self.draw(len(batch), device=batch.device, generator=generator))

    def draw(
        self, samples: int, *, device: torch.device | str | None = None, generator: Generator | None = None
    ) -> MosaicCropParameters:
        """Draw the part that each of `samples` images is cut down to: a float32 tensor on `device`."""
        tiles = self.factor**2
        u = torch.rand(samples, 2, device=device, generator=generator)
        return MosaicCropParameters(tile=(u[:, 0] * tiles).floor().masked_fill(u[:, 1] * tiles < 1, -1.0))

    def apply(self, batch: Tensor, parameters: MosaicCropParameters) -> Tensor:
        """Cut `batch` [B, C, H, W] down to what `draw` drew."""
        if self.factor == 1:
            return batch
        height, width = batch.shape[2:]
        if height % self.factor or width % self.factor:
            raise DataError(f"mosaic factor {self.factor} does not divide images of {height}x{width} pixels")
        images = _at_least_float32(batch)
        tile = parameters.tile[:, None]
        whole = tile < 0
        row = (tile / self.factor).floor().masked_fill(whole, 0.0)
        column = (tile % self.factor).masked_fill(whole, 0.0)
        part = torch.full_like(tile, 1 / self.factor).masked_fill(whole, 1.0)  # of the side
        across = _stretch(images, width, column / self.factor, part)
        down = _stretch(images, height, row / self.factor, part)
        return _like(_warp(images, across, 1j * down), batch)


@dataclass(frozen=True)
class Augmentation:
    """The mosaic crop, then DSA: what a protocol does to every batch of a student. Called as `DSA` is."""

    mosaic_crop: MosaicCrop
    dsa: DSA

    def __call__(self, batch: Tensor, *, generator: Generator | None = None) -> Tensor:
        """Return the augmented batch, [B, C, H, W] in and out."""
        return self.dsa(self.mosaic_crop(batch, generator=generator), generator=generator)


def augmentation(strategy: str, factor: int = 1, mode: Mode = "multiple") -> Augmentation:
    """Return the augmentation of a distilled set with mosaic `factor` under DSA `strategy`; raises BadOption."""
    return Augmentation(MosaicCrop(factor), DSA(strategy, mode))


def mosaic(images: Tensor, factor: int) -> Tensor:
    """Build N mosaics of factor x factor tiles, row by row (RDED, step 6).

    Args:
        images: the tiles by rank, best first, [N * factor^2, C, h, w]; tile k of mosaic i has rank k * N + i.
        factor: tiles along each side.
    Returns: [N, C, factor * h, factor * w].
    Raises: BadOption for a factor below 1; DataError when the tiles do not fill whole mosaics.
    """
    count, channels, height, width = images.shape
    if count % _checked(factor) ** 2:
        raise DataError(f"{count} tiles do not fill whole mosaics of {factor}x{factor} tiles")
    tiles = images.reshape(factor, factor, count // factor**2, channels, height, width)
    return tiles.permute(2, 3, 0, 4, 1, 5).reshape(-1, channels, factor * height, factor * width)


def _parse(strategy: str) -> tuple[str, ...]:
    """Return the words of `strategy` in the order of `WORDS`, so that the order of writing changes nothing."""
    if strategy in ("", "none"):
        return ()
    words = strategy.split("_")
    for word in words:
        if word not in WORDS:
            raise BadOption(
                f"augmentation {strategy!r}: no word {word!r}; valid: {', '.join(WORDS)}, joined by '_', or 'none' alone"
            )
        if words.count(word) > 1:
            raise BadOption(f"augmentation {strategy!r}: {word!r} comes twice; each word once is right")
    return tuple(word for word in WORDS if word in words)


def _checked(factor: int) -> int:
    """Return a mosaic factor that is one."""
    if not isinstance(factor, int) or factor < 1:
        raise BadOption(f"mosaic factor: {factor!r} is not a whole number of at least 1")
    return factor


def _round(value: float) -> int:
    """Round half up, as the released code does; Python's round() takes halves to the even side."""
    return int(value + 0.5)


def _colour(images: Tensor, parameters: DSAParameters) -> Tensor:
    """Brightness b, then saturation s, then contrast c, in one multiply-add.

    With p the pixel's mean over the channels and m the image's mean, of the images as given:
    brightness x + b; saturation s x + (1 - s) p + b; contrast c s x + c (1 - s) p + (1 - c) m + b.
    """
    shift, saturation, contrast = (
        value.to(images.dtype)[:, None, None, None]
        for value in (parameters.brightness, parameters.saturation, parameters.contrast)
    )
    if images.shape[1] == 1:  # a single channel is its own mean: saturation does nothing
        mean = images.mean(dim=(1, 2, 3), keepdim=True)
        return torch.addcmul(shift + (1 - contrast) * mean, images, contrast)
    grey = images.mean(dim=1, keepdim=True)
    mean = grey.mean(dim=(2, 3), keepdim=True)
    gain = contrast * saturation
    return torch.addcmul((contrast - gain) * grey + (shift + (1 - contrast) * mean), images, gain)


def _affine(images: Tensor, parameters: DSAParameters) -> tuple[Tensor, Tensor]:
    """Where the result's pixels lie in the image under flip, crop, scale and rotate: the two halves `_warp` wants.

    From the image's centre, in pixels, the source of pixel (x, y) is
    mirror (scale_x (x cos - y sin) + shift_x), scale_y (x sin + y cos) + shift_y.
    """
    height, width = images.shape[2:]
    x = torch.arange(0.5 - width / 2, width / 2, dtype=images.dtype, device=images.device)
    y = torch.arange(0.5 - height / 2, height / 2, dtype=images.dtype, device=images.device)
    angle = parameters.angle[:, None].to(images.dtype)
    scale = parameters.scale.to(images.dtype)
    mirror = 1.0 - 2.0 * parameters.flip[:, None].to(images.dtype)
    cos, sin = angle.cos(), angle.sin()
    scale_x, scale_y = scale[:, :1] * mirror, scale[:, 1:]
    shift_x, shift_y = parameters.shift[:, :1] * mirror, parameters.shift[:, 1:]
    across = torch.complex(
        _normalise(torch.addcmul(shift_x + width / 2, scale_x * cos, x), width), scale_y * sin * (2 / height) * x
    )
    down = torch.complex(
        scale_x * sin * (-2 / width) * y, _normalise(torch.addcmul(shift_y + height / 2, scale_y * cos, y), height)
    )
    return across, down


def _stretch(images: Tensor, side: int, start: Tensor, part: Tensor) -> Tensor:
    """Where `side` pixels lie along a side when its `part` from `start` (both [B, 1], fractions) is resized to all of it.

    Clamped to the centres of the part's outermost pixels, so that no neighbouring tile bleeds in.
    """
    position = torch.arange(0.5, side, dtype=images.dtype, device=images.device) * part
    clamped = position.clamp(min=0.5).minimum(part * side - 0.5)
    return _normalise(clamped + start * side, side)


def _normalise(position: Tensor, side: int) -> Tensor:
    """Turn pixels into `F.grid_sample`'s [-1, 1]; in this order because it rounds least where pixels meet pixels."""
    return position / (side / 2) - 1


def _warp(images: Tensor, across: Tensor, down: Tensor) -> Tensor:
    """Sample `images` bilinearly, zero outside, at points x + iy = across [B, W] + down [B, H], in [-1, 1].

    Complex numbers keep x and y side by side, as the grid wants them, and make it in one vectorised sum: seven times
    faster on a CPU than a sum of interleaved pairs, and exact, which the matrix product of `F.affine_grid` is not in TF32.
    """
    grid = torch.view_as_real(across[:, None, :] + down[:, :, None])
    return F.grid_sample(images, grid, mode="bilinear", padding_mode="zeros", align_corners=False)


def _outside_square(images: Tensor, centre: Tensor) -> Tensor:
    """Return a mask [B, 1, H, W]: 0 in the square around `centre` [B, 2], which reaches from -side // 2, and 1 outside."""
    height, width = images.shape[2:]
    side = _round(CUTOUT * height)
    line = torch.arange(max(height, width), dtype=centre.dtype, device=images.device) + (0.5 if side % 2 == 0 else 0.0)
    inside = ((line - centre[:, :, None]).abs() < side / 2).to(images.dtype)
    return 1 - (inside[:, 1, :height, None] * inside[:, 0, None, :width])[:, None]


def _at_least_float32(batch: Tensor) -> Tensor:
    """Half precision has too few digits for positions and means."""
    if not batch.is_floating_point():
        raise DataError(f"augmentation takes normalised floating-point images, not {batch.dtype}")
    return batch if batch.dtype in (torch.float32, torch.float64) else batch.float()


def _like(images: Tensor, batch: Tensor) -> Tensor:
    """Give `images` the dtype and memory format of `batch`."""
    channels_last = batch.is_contiguous(memory_format=torch.channels_last) and not batch.is_contiguous()
    return images.to(batch.dtype, memory_format=torch.channels_last if channels_last else torch.preserve_format)
