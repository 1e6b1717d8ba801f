"""DSA: the augmentation that dataset condensation has shared since Zhao & Bilen (2021, "Dataset Condensation with
Differentiable Siamese Augmentation"), in the order of IDC's released code, which later work copied: flip, colour,
ONE of {crop, scale, rotate} a batch, cutout. Two choices shape this file:

* Flip, crop, scale and rotate are ONE bilinear warp with zero padding. The whole of DSA takes 0.7 ms here for 50 x 3 x 32 x 32
  on one CPU thread, and 5.6 ms as a chain of kornia's modules (best of many runs).
* Colour is one mean over the channels and one multiply-add, since brightness, saturation and contrast are affine.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from harness.augmentation.draws import Streams, of_batch, uniforms
from harness.augmentation.warp import at_least_float32, like, normalise, warp
from harness.augmentation.words import BORDER, INNER, Cutout, dsa_words
from harness.core.errors import BadOption

Mode = Literal["multiple", "single"]

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
        cutout: [B, 2] whole pixels, column and row of the square's centre; neutral minus infinity (no square). A square of even
            side has its centre between pixels, in front of that column and row, and up to behind the last ones.
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
        cutout: where squares are centred: "border" (the authors'), or "inner" (see `harness.augmentation.words.Cutout`).
    Raises: BadOption when a word, the mode or the cutout is unknown, or a word comes twice.
    """

    def __init__(self, strategy: str, mode: Mode = "multiple", cutout: Cutout = BORDER) -> None:
        for name, value, valid in (("mode", mode, get_args(Mode)), ("cutout", cutout, get_args(Cutout))):
            if value not in valid:
                raise BadOption(f"augmentation {name}: no {value!r}; valid: {', '.join(valid)}")
        self.strategy = strategy
        self.mode = mode
        self.cutout = cutout
        self.words = dsa_words(strategy)
        self.alternatives = self.words if mode == "single" else tuple(w for w in self.words if w in GEOMETRIC)

    def __repr__(self) -> str:
        return f"DSA({self.strategy!r}, mode={self.mode!r}, cutout={self.cutout!r})"

    def __call__(self, batch: Tensor, *, generator: Streams = None) -> Tensor:
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
        generator: Streams = None,
    ) -> DSAParameters:
        """Draw what to do to a batch of `samples` images of height x width: float32 tensors on `device`."""
        u = uniforms(samples, UNIFORMS, device=device, generator=generator)
        choice = (of_batch(u[:, 11], generator) * len(self.alternatives)).floor()  # stays on the device: one for the batch

        def drawn(word: str, value: Tensor, neutral: float) -> Tensor:
            if word not in self.words:
                return torch.full_like(value, neutral)
            if word not in self.alternatives or len(self.alternatives) == 1:
                return value
            other = choice != self.alternatives.index(word)
            return value.masked_fill(other if value.dim() == 1 else other[:, None], neutral)

        padding = _round(CROP_PADDING * height)
        more = 0 if self.cutout == INNER or _side(height) % 2 else 1  # between pixels there is one place more than pixels
        places = torch.stack((u[:, 9] * (width + more), u[:, 10] * (height + more)), dim=1).floor()
        return DSAParameters(
            flip=drawn("flip", u[:, 0] < FLIP_PROBABILITY, False),
            brightness=drawn("color", (u[:, 1] - 0.5) * BRIGHTNESS, 0.0),
            saturation=drawn("color", u[:, 2] * SATURATION, 1.0),
            contrast=drawn("color", u[:, 3] + CONTRAST, 1.0),
            shift=drawn("crop", (u[:, 4:6] * (2 * padding + 1)).floor() - padding, 0.0),
            scale=drawn("scale", u[:, 6:8] * (SCALE - 1 / SCALE) + 1 / SCALE, 1.0),
            angle=drawn("rotate", (u[:, 8] - 0.5) * math.radians(2 * ROTATE), 0.0),
            cutout=drawn("cutout", places, float("-inf")),
        )

    def apply(self, batch: Tensor, parameters: DSAParameters) -> Tensor:
        """Do to `batch` [B, C, H, W] what `draw` drew; the same parameters give the same result."""
        if not self.words:
            return batch
        images = at_least_float32(batch).contiguous()  # a quarter cheaper than channels last on the CPU; `like` restores that
        if "color" in self.words:
            images = _colour(images, parameters)
        if any(word in GEOMETRIC for word in self.words):
            images = warp(images, *_affine(images, parameters))
        elif "flip" in self.words:
            images = torch.where(parameters.flip[:, None, None, None], images.flip(3), images)
        if "cutout" in self.words:
            images = images * _outside_square(images, parameters.cutout)
        return like(images, batch)


def _round(value: float) -> int:
    """Round half up, as the released code does; Python's round() takes halves to the even side."""
    return int(value + 0.5)


def _side(height: int) -> int:
    """Return the side of the square that is cut out, in pixels."""
    return _round(CUTOUT * height)


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
    """Where the result's pixels lie in the image under flip, crop, scale and rotate: the two halves `warp` wants.

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
        normalise(torch.addcmul(shift_x + width / 2, scale_x * cos, x), width), scale_y * sin * (2 / height) * x
    )
    down = torch.complex(
        scale_x * sin * (-2 / width) * y, normalise(torch.addcmul(shift_y + height / 2, scale_y * cos, y), height)
    )
    return across, down


def _outside_square(images: Tensor, centre: Tensor) -> Tensor:
    """Return a mask [B, 1, H, W]: 0 in the square around `centre` [B, 2], which reaches from -side // 2, and 1 outside."""
    height, width = images.shape[2:]
    side = _side(height)
    line = torch.arange(max(height, width), dtype=centre.dtype, device=images.device) + (0.5 if side % 2 == 0 else 0.0)
    inside = ((line - centre[:, :, None]).abs() < side / 2).to(images.dtype)
    return 1 - (inside[:, 1, :height, None] * inside[:, 0, None, :width])[:, None]
