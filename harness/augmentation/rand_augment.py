"""RandAugment (Cubuk et al. 2020) by timm's string, `rand-m6-n2-mstd1.0`, and as torchvision has it: a whole batch at once.

Both libraries work on one 8-bit image of Pillow's at a time. Here each round does an operation to all images that have drawn it.
On one CPU thread 64 images take 7 ms at 32 px and 0.56 s at 224 px; timm's own, with the images' way into Pillow and back, 18 ms
and 0.44 s.

Numbers are Pillow's: 8 bits after every operation, cut off as its blends cut them. What differs: moved pixels are taken
bilinearly, where timm draws bilinear or bicubic and torchvision takes the nearest; bicubically where that is asked for, as
LPQLD's code does it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from harness.augmentation.draws import Device, Streams, uniforms
from harness.augmentation.warp import at_least_float32, like, normalise
from harness.augmentation.words import Policy
from harness.core.errors import DataError

#: What a whole number may lie below itself by after a bilinear sum; Pillow cuts off after the point.
ROUNDING = 1e-3
#: timm's magnitudes are tenths; torchvision's are of 31 steps from 0.
TENTHS, STEPS = 10.0, 30.0
#: The largest translation of each, as a share of the side.
TIMM_WAY, TORCHVISION_WAY = 0.45, 150.0 / 331.0
#: Pillow's weights of red, green and blue in grey, of 65,536.
GREY = (19595.0, 38470.0, 7471.0)
#: Pillow's SMOOTH: the middle of nine pixels counts five times.
SMOOTH = (1.0, 1.0, 1.0, 1.0, 5.0, 1.0, 1.0, 1.0, 1.0)

Statistics = tuple[tuple[float, ...], tuple[float, ...]]


@dataclass(frozen=True)
class Rounds:
    """What is done to each of B images in each round: `operation` [B, rounds] int64, a place in `OPERATIONS`, and `argument`
    [B, rounds] float32: degrees, bits, a threshold, what is added, a factor, or a share of the side, by operation."""

    operation: Tensor
    argument: Tensor


@dataclass(frozen=True)
class Manner:
    """How pixels move: what stands where nothing comes from, [1, C, 1, 1]; by whole pixels alone; bicubically or bilinearly."""

    fill: Tensor
    whole: bool = False
    bicubic: bool = False


class RandAugment:
    """Some operations an image, drawn one after the other.

    Args:
        policy: which library's, how many rounds, how strong.
        statistics: mean and std, a number a channel, by which images were normalised: what is done is done to their pixels.
        bicubic: whether pixels that move are taken bicubically.
    Raises: DataError where there are none: whitened images have no pixels.
    """

    def __init__(self, policy: Policy, statistics: Statistics | None, bicubic: bool = False) -> None:
        if statistics is None:
            raise DataError(f"augmentation {policy.text!r} changes pixels, and images that were whitened have none to change")
        self.policy, self.bicubic = policy, bicubic
        self.mean, self.std = statistics

    def __repr__(self) -> str:
        return f"RandAugment({self.policy.text!r})"

    def __call__(self, batch: Tensor, *, generator: Streams = None) -> Tensor:
        """Return the augmented batch, [B, C, H, W] in and out."""
        return self.apply(batch, self.draw(len(batch), device=batch.device, generator=generator))

    def draw(self, samples: int, *, device: Device = None, generator: Streams = None) -> Rounds:
        """Draw what is done to each of `samples` images."""
        policy = self.policy
        u = uniforms(samples, policy.rounds, 4, device=device, generator=generator)
        names = TORCHVISION if policy.torchvision else TIMM
        choice = (u[..., 0] * len(names)).floor().long().clamp(max=len(names) - 1)
        sign = torch.where(u[..., 3] < 0.5, -1.0, 1.0)
        arguments = self._torchvision(sign) if policy.torchvision else self._timm(self._levels(u[..., 2]), sign)
        table = torch.stack([arguments[name].expand_as(sign) for name in names], dim=-1)
        places = torch.tensor([OPERATIONS.index(name) for name in names], device=u.device)
        operation = torch.where(u[..., 1] < policy.probability, places[choice], OPERATIONS.index("identity"))
        return Rounds(operation, table.gather(-1, choice[..., None])[..., 0])

    def _levels(self, u: Tensor) -> Tensor:
        """Return magnitudes in timm's tenths: the policy's own, with noise, cut off at both ends."""
        policy = self.policy
        if math.isinf(policy.deviation):
            levels = u * policy.magnitude
        else:
            noise = math.sqrt(2.0) * torch.erfinv((2 * u - 1).clamp(-1 + 1e-7, 1 - 1e-7))
            levels = policy.magnitude + policy.deviation * noise
        return levels.clamp(0.0, policy.highest)

    def _timm(self, level: Tensor, sign: Tensor) -> dict[str, Tensor]:
        share, none = level / TENTHS, torch.zeros_like(level)
        bits, threshold = (share * 4).floor(), (share * 256).floor().clamp(max=256)
        factor = share * 1.8 + 0.1
        if self.policy.increasing:
            bits, threshold, factor = 4 - bits, 256 - threshold, (1 + sign * share * 0.9).clamp(min=0.1)
        return {
            **dict.fromkeys(("autocontrast", "equalize", "invert"), none),
            "rotate": sign * share * 30,
            "posterize": bits,
            "solarize": threshold,
            "solarize-add": (share * 110).floor().clamp(max=128),
            **dict.fromkeys(("color", "contrast", "brightness", "sharpness"), factor),
            **dict.fromkeys(("shear-x", "shear-y"), sign * share * 0.3),
            **dict.fromkeys(("translate-x", "translate-y"), sign * share * TIMM_WAY),
        }

    def _torchvision(self, sign: Tensor) -> dict[str, Tensor]:
        share, none = self.policy.magnitude / STEPS, torch.zeros_like(sign)
        return {
            **dict.fromkeys(("autocontrast", "equalize", "identity"), none),
            "rotate": sign * share * 30,
            "posterize": none + (8 - round(share * 4)),
            "solarize": none + 255 * (1 - share),
            **dict.fromkeys(("color", "contrast", "brightness", "sharpness"), 1 + sign * share * 0.9),
            **dict.fromkeys(("shear-x", "shear-y"), sign * share * 0.3),
            **dict.fromkeys(("translate-x", "translate-y"), sign * share * TORCHVISION_WAY),
        }

    def apply(self, batch: Tensor, rounds: Rounds) -> Tensor:
        """Do what `draw` drew."""
        images = at_least_float32(batch)
        mean, std = (torch.tensor(v, dtype=images.dtype, device=images.device).view(1, -1, 1, 1) for v in (self.mean, self.std))
        fill = torch.zeros_like(mean) if self.policy.torchvision else (mean * 255).round().clamp(max=255)
        manner = Manner(fill, self.policy.torchvision, self.bicubic)
        pixels = ((images * std + mean) * 255).round().clamp(0, 255).contiguous()
        for operation, argument in zip(rounds.operation.unbind(1), rounds.argument.unbind(1), strict=True):
            amount = argument.to(images.dtype).view(-1, 1, 1, 1)
            done = done_everywhere if pixels.is_cuda else done_where_drawn
            pixels = done(pixels, operation, amount, manner)
        return like((pixels / 255 - mean) / std, batch)


def torchvision_rand_augment(operations: int = 2, magnitude: int = 9, statistics: Statistics | None = None) -> RandAugment:
    """Return RandAugment as torchvision has it: every operation is done, and of 31 magnitudes all have one."""
    text = f"torchvision-rand-augment(operations={operations}, magnitude={magnitude})"
    return RandAugment(Policy(text, float(magnitude), operations, 1.0, torchvision=True), statistics)


# -- operations: pixels are whole numbers from 0 to 255, [B, C, H, W]; arguments [B, 1, 1, 1] ---------------------------------


def done_where_drawn(pixels: Tensor, operation: Tensor, argument: Tensor, manner: Manner) -> Tensor:
    """Do to each image the one operation that it has drawn, [B]: on the CPU, where it can be asked which images those are."""
    pixels = pixels.clone()
    for name, change in CHANGES.items():
        index = (operation == OPERATIONS.index(name)).nonzero()[:, 0]
        if len(index):
            pixels.index_copy_(0, index, change(pixels[index], argument[index], manner))
    return pixels


def done_everywhere(pixels: Tensor, operation: Tensor, argument: Tensor, manner: Manner) -> Tensor:
    """Do every operation to all images, and take what each has drawn, [B]: nothing waits for a GPU."""
    result = pixels
    for name, change in CHANGES.items():
        drawn = (operation == OPERATIONS.index(name)).view(-1, 1, 1, 1)
        result = torch.where(drawn, change(pixels, argument, manner), result)
    return result


def _grey(pixels: Tensor) -> Tensor:
    """Return pixels in Pillow's grey, [B, 1, H, W]; those of one channel are grey."""
    if pixels.shape[1] != len(GREY):
        return pixels.mean(1, keepdim=True).floor()
    weights = torch.tensor(GREY, dtype=pixels.dtype, device=pixels.device).view(1, -1, 1, 1)
    return ((pixels * weights).sum(1, keepdim=True) / 65536 + 0.5).floor()


def _blended(other: Tensor | float, pixels: Tensor, factor: Tensor) -> Tensor:
    """Return `other` at factor 0, the pixels at 1, and beyond them above it, as Pillow blends."""
    return (other + factor * (pixels - other)).clamp(0, 255).floor()


def _invert(pixels: Tensor, argument: Tensor, manner: Manner) -> Tensor:
    return 255 - pixels


def _posterize(pixels: Tensor, argument: Tensor, manner: Manner) -> Tensor:
    step = torch.exp2(8 - argument.clamp(0, 8))
    return (pixels / step).floor() * step


def _solarize(pixels: Tensor, argument: Tensor, manner: Manner) -> Tensor:
    return torch.where(pixels < argument, pixels, 255 - pixels)


def _solarize_add(pixels: Tensor, argument: Tensor, manner: Manner) -> Tensor:
    return torch.where(pixels < 128, (pixels + argument).clamp(max=255), pixels)


def _color(pixels: Tensor, argument: Tensor, manner: Manner) -> Tensor:
    return _blended(_grey(pixels), pixels, argument)


def _contrast(pixels: Tensor, argument: Tensor, manner: Manner) -> Tensor:
    return _blended((_grey(pixels).mean((2, 3), keepdim=True) + 0.5).floor(), pixels, argument)


def _brightness(pixels: Tensor, argument: Tensor, manner: Manner) -> Tensor:
    return _blended(0.0, pixels, argument)


def _sharpness(pixels: Tensor, argument: Tensor, manner: Manner) -> Tensor:
    """Blend with what Pillow's SMOOTH makes of the image; pixels at its border stay as they are."""
    if min(pixels.shape[2:]) < 3:
        return pixels
    kernel = torch.tensor(SMOOTH, dtype=pixels.dtype, device=pixels.device).view(1, 1, 3, 3).expand(pixels.shape[1], 1, 3, 3)
    smoothed = pixels.clone()
    smoothed[:, :, 1:-1, 1:-1] = (F.conv2d(pixels, kernel / sum(SMOOTH), groups=pixels.shape[1]) + 0.5).floor()
    return _blended(smoothed, pixels, argument)


def _autocontrast(pixels: Tensor, argument: Tensor, manner: Manner) -> Tensor:
    """Spread the values of each channel from 0 to 255; one value alone stays."""
    low, high = pixels.amin((2, 3), keepdim=True), pixels.amax((2, 3), keepdim=True)
    spread = ((pixels - low) * (255 / (high - low).clamp(min=1)) + ROUNDING).clamp(0, 255).floor()
    return torch.where(high > low, spread, pixels)


def _equalize(pixels: Tensor, argument: Tensor, manner: Manner) -> Tensor:
    """Make every value of a channel about as frequent as any other, as Pillow does by a table."""
    flat = pixels.flatten(2).long()
    count = pixels.new_zeros(*flat.shape[:2], 256).scatter_add_(2, flat, torch.ones_like(flat, dtype=pixels.dtype))
    last = count.gather(2, flat.amax(2, keepdim=True))
    step = ((count.sum(2, keepdim=True) - last) / 255).floor()
    table = (((step / 2).floor() + count.cumsum(2) - count) / step.clamp(min=1)).floor().clamp(max=255)
    return torch.where(step[..., None] > 0, table.gather(2, flat).view(pixels.shape), pixels)


def _rotate(pixels: Tensor, argument: Tensor, manner: Manner) -> Tensor:
    angle, none = -torch.deg2rad(argument), torch.zeros_like(argument)
    return _warped(pixels, (angle.cos(), angle.sin(), none), (-angle.sin(), angle.cos(), none), manner)


def _shear_x(pixels: Tensor, argument: Tensor, manner: Manner) -> Tensor:
    one, none = torch.ones_like(argument), torch.zeros_like(argument)
    return _warped(pixels, (one, argument, argument * pixels.shape[2] / 2), (none, one, none), manner)


def _shear_y(pixels: Tensor, argument: Tensor, manner: Manner) -> Tensor:
    one, none = torch.ones_like(argument), torch.zeros_like(argument)
    return _warped(pixels, (one, none, none), (argument, one, argument * pixels.shape[3] / 2), manner)


def _translate_x(pixels: Tensor, argument: Tensor, manner: Manner) -> Tensor:
    one, none, way = torch.ones_like(argument), torch.zeros_like(argument), argument * pixels.shape[3]
    return _warped(pixels, (one, none, way.trunc() if manner.whole else way), (none, one, none), manner)


def _translate_y(pixels: Tensor, argument: Tensor, manner: Manner) -> Tensor:
    one, none, way = torch.ones_like(argument), torch.zeros_like(argument), argument * pixels.shape[2]
    return _warped(pixels, (one, none, none), (none, one, way.trunc() if manner.whole else way), manner)


#: Where a pixel comes from: so much of its x and of its y, both from the image's middle, and so many pixels further.
Row = tuple[Tensor, Tensor, Tensor]


def _warped(pixels: Tensor, to_x: Row, to_y: Row, manner: Manner) -> Tensor:
    """Return images whose pixels come from elsewhere; the manner's `fill` stands where nothing comes from."""
    height, width = pixels.shape[2:]
    x = torch.arange(0.5, width, dtype=pixels.dtype, device=pixels.device) - width / 2
    y = torch.arange(0.5, height, dtype=pixels.dtype, device=pixels.device)[:, None] - height / 2
    (of_x, of_y, start), (down_x, down_y, down) = ([part[:, 0] for part in row] for row in (to_x, to_y))
    from_x, from_y = of_x * x + of_y * y + (start + width / 2), down_x * x + down_y * y + (down + height / 2)
    if manner.bicubic:
        values = _bicubic(pixels, from_x, from_y).clamp(0, 255)
    else:
        grid = torch.stack([normalise(from_x, width), normalise(from_y, height)], dim=-1)
        values = F.grid_sample(pixels, grid, mode="bilinear", padding_mode="border", align_corners=False)
    inside = (from_x >= 0) & (from_x < width) & (from_y >= 0) & (from_y < height)
    return torch.where(inside[:, None], (values + ROUNDING).floor(), manner.fill)


def _bicubic(pixels: Tensor, from_x: Tensor, from_y: Tensor) -> Tensor:
    """Return [B, C, H, W] values between sixteen pixels, as Pillow's transforms have them: a cubic with a = -1, edges repeated.

    torch's own has a = -0.75.

    Args:
        from_x, from_y: where each comes from, in pixels from the top left corner, [B, H, W].
    """
    height, width = pixels.shape[2:]
    (left, across), (top, down) = (_taps(position) for position in (from_x, from_y))
    flat, values = pixels.flatten(2), torch.zeros_like(pixels)
    for row, weight in enumerate(down):
        line = (top + row).clamp(0, height - 1) * width
        for column, share in enumerate(across):
            place = (line + (left + column).clamp(0, width - 1)).flatten(1)[:, None].expand(-1, pixels.shape[1], -1)
            values += (weight * share)[:, None] * flat.gather(2, place).view(pixels.shape)
    return values


def _taps(position: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Return the first of the four pixels that a position lies between, int64, and the share of each."""
    first = (position - 0.5).floor()
    d = position - 0.5 - first
    shares = (-d + 2 * d**2 - d**3, 1 - 2 * d**2 + d**3, d + d**2 - d**3, d**3 - d**2)
    return first.long() - 1, shares


CHANGES: dict[str, Callable[[Tensor, Tensor, Manner], Tensor]] = {
    "autocontrast": _autocontrast,
    "equalize": _equalize,
    "invert": _invert,
    "rotate": _rotate,
    "posterize": _posterize,
    "solarize": _solarize,
    "solarize-add": _solarize_add,
    "color": _color,
    "contrast": _contrast,
    "brightness": _brightness,
    "sharpness": _sharpness,
    "shear-x": _shear_x,
    "shear-y": _shear_y,
    "translate-x": _translate_x,
    "translate-y": _translate_y,
}
#: Operations in the order in which timm has them, and none; torchvision has no `invert` and no `solarize-add`.
OPERATIONS = (*CHANGES, "identity")
TIMM = tuple(CHANGES)
TORCHVISION = tuple(name for name in OPERATIONS if name not in ("invert", "solarize-add"))
