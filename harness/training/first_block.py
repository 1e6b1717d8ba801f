"""A ConvNet's first block, for training on the CPU in float32: its large maps are never held, nor passed over for their norm.

A 3x3 convolution of images, batch norm, ReLU and 2x2 average pool. A map of the convolution is a weighted sum of a patch's few
pixels, so that its mean and variance over a batch follow from those of the patches; the norm is then a matter of the weights,
and the maps can be made, cut off at zero and halved a part at a time, in a core's own cache. On the way back they are made
again, which takes less than to fetch them; and as the images want no gradient, those of weights and norm follow from one product
of the patches with what has come back through the ReLU, for the norm's share is again one of the patches' means and products.
These are the same for all students that are given the same images, and made once where several are in one step. Sums in another
order are float noise. The convolution's bias is taken away by the norm: its gradient is zero here, and float noise in torch.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

#: Values of a map that are made at a time: they, and what becomes of them, stay in a core's own cache.
AT_A_TIME = 1 << 18
#: Patches whose products are summed at a time, in float64.
SUMMED = 1 << 16


class FirstBlock(torch.autograd.Function):
    """A 3x3 convolution of stride 1, batch norm by the batch's own mean and variance, ReLU, and the mean of each 2x2 square."""

    @staticmethod
    def forward(
        ctx: Any, images: Tensor, weight: Tensor, bias: Tensor | None, scale: Tensor, shift: Tensor, eps: float, padding: int
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return the halved maps and, of what the convolution gives without its bias, mean and variance (ddof 0) of each channel.

        Args:
            images: [B, C, H, W]; they get no gradient.
            weight, bias: of the convolution, [K, C, 3, 3] and [K]; the norm takes the bias away.
            scale, shift: of the norm, [K] each.
            padding: zeros around the images, at least 1; the convolution's maps have even sides.
        """
        _, patches, centre, covariances, height, width = _seen(images, padding)
        count, taps = len(images), _taps(weight).double()
        mean, along = taps @ centre, taps @ covariances
        variance = (along * taps).sum(1).clamp_(min=0)
        inverse = (variance + eps).rsqrt()
        gain = scale * inverse
        folded = torch.cat([taps * gain[:, None], (shift - mean * gain)[:, None]], 1).T.to(images.dtype)
        halved = images.new_empty(count, height // 2, width // 2, len(weight)).permute(0, 3, 1, 2)
        for _, maps, of in _parts(patches, folded, count, height, width):
            torch.ops.aten.avg_pool2d.out(_as_maps(maps.relu_(), height, width), [2, 2], [2, 2], out=halved[of])
        ctx.save_for_backward(patches, folded, weight, centre, mean, along, inverse, gain)
        ctx.form = (count, height, width)
        statistics = mean.to(images.dtype), variance.to(images.dtype)
        ctx.mark_non_differentiable(*statistics)
        return halved, *statistics

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor, *_: Tensor) -> tuple[None, Tensor, Tensor | None, Tensor, Tensor, None, None]:
        """Return the gradients of weight, bias, scale and shift."""
        patches, folded, weight, centre, mean, along, inverse, gain = ctx.saved_tensors
        count, height, width = ctx.form
        gradient = (gradient * 0.25).contiguous(memory_format=torch.channels_last)
        quarters = gradient.permute(0, 2, 3, 1).view(count, height // 2, 1, width // 2, 1, -1)
        back = gradient.new_zeros(folded.shape)
        for part, maps, of in _parts(patches, folded, count, height, width):
            squares = maps.view(-1, height // 2, 2, width // 2, 2, maps.shape[1])
            pixels = quarters[of].expand_as(squares)
            torch.ops.aten.threshold_backward.grad_input(pixels, squares, 0, grad_input=squares)
            back.addmm_(part, maps)
        of_shift, of_folded = back[-1].double(), back[:-1].T.double()
        of_scale = inverse * ((_taps(weight) * of_folded).sum(1) - mean * of_shift)
        of_taps = gain[:, None] * (of_folded - of_shift[:, None] * centre - (of_scale * inverse)[:, None] * along)
        of_weight = of_taps.to(weight.dtype).contiguous().view(len(weight), 3, 3, -1).permute(0, 3, 1, 2)
        of_bias = torch.zeros_like(of_shift, dtype=weight.dtype) if ctx.needs_input_grad[2] else None
        return None, of_weight, of_bias, of_scale.to(weight.dtype), of_shift.to(weight.dtype), None, None


class Seen(NamedTuple):
    """What a 3x3 kernel sees of images: their patches, [9 * C + 1, places], and in float64 their mean and covariances.

    A kernel gives maps of `height` x `width`.
    """

    images: Tensor
    patches: Tensor
    mean: Tensor
    covariances: Tensor
    height: int
    width: int


_kept: dict[Any, Seen] | None = None


@contextmanager
def patches_kept() -> Iterator[None]:
    """Keep what kernels see of images for other students that are given the same: for one step, as patches are large."""
    global _kept
    before, _kept = _kept, {}
    try:
        yield
    finally:
        _kept = before


def _seen(images: Tensor, padding: int) -> Seen:
    """Return what a 3x3 kernel sees of images [B, C, H, W] with so many zeros around."""
    which = images.data_ptr(), images._version, images.shape, images.stride(), images.dtype, padding
    if _kept is not None and which in _kept:
        return _kept[which]
    patches = _patches(images, padding)
    size, _, height, width = patches.shape
    patches = patches.view(size, -1)
    products = _products(patches)
    centre = products[-1, :-1]
    seen = Seen(images, patches, centre, products[:-1, :-1] - torch.outer(centre, centre), height, width)
    if _kept is not None:
        _kept[which] = seen  # with the images: what lies where they lie is they
    return seen


def _patches(images: Tensor, padding: int) -> Tensor:
    """Return the pixels that a 3x3 kernel sees at each place of each image, and a one below them, [9 * C + 1, B, H', W']."""
    count, channels, height, width = images.shape
    around = functional.pad(images, (padding,) * 4)
    height, width = height + 2 * padding - 2, width + 2 * padding - 2
    of_image, of_channel, down, across = around.stride()
    seen = around.as_strided((3, 3, channels, count, height, width), (down, across, of_channel, of_image, down, across))
    patches = images.new_empty(9 * channels + 1, count, height, width)
    patches[:-1].view(seen.shape).copy_(seen)
    patches[-1] = 1
    return patches


def _products(patches: Tensor) -> Tensor:
    """Return the means of products of what stands in patches [9 * C + 1, places], in float64: a small variance is not lost."""
    products = torch.zeros(len(patches), len(patches), dtype=torch.float64)
    for part in torch.split(patches, SUMMED, dim=1):
        exact = part.double()
        products.addmm_(exact, exact.T)
    return products / patches.shape[1]


def _taps(weight: Tensor) -> Tensor:
    """Return a kernel's weights [K, C, 3, 3] in the order of patches, [K, 9 * C]."""
    return weight.permute(0, 2, 3, 1).flatten(1)


def _parts(patches: Tensor, folded: Tensor, count: int, height: int, width: int) -> Iterator[tuple[Tensor, Tensor, slice]]:
    """Yield a few images' patches, the maps [images * H' * W', K] that the norm gives of them, and which images they are.

    The maps lie in one buffer, which the next ones take.
    """
    places, maps_of = height * width, folded.shape[1]
    images = min(count, max(1, AT_A_TIME // (places * maps_of)))
    buffer = patches.new_empty(images * places, maps_of)
    for first in range(0, count, images):
        some = slice(first, min(first + images, count))
        part = patches[:, some.start * places : some.stop * places]
        yield part, torch.mm(part.T, folded, out=buffer[: part.shape[1]]), some


def _as_maps(places: Tensor, height: int, width: int) -> Tensor:
    """Return [images * H' * W', K] as maps [images, K, H', W'] in channels-last order."""
    return places.view(-1, height, width, places.shape[1]).permute(0, 3, 1, 2)
