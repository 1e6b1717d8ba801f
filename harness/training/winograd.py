"""3x3 convolutions with a quarter of the multiplications, for training on the CPU in float32: minimal filtering, F(4x4, 3x3).

A square of 4 x 4 results is made of 6 x 6 pixels, of which neighbours share two rows and columns. In another basis, of 36
points, a convolution is one product of matrices a point, over all squares and channels at once, instead of nine for each of 16
results (Winograd, Arithmetic Complexity of Computations, 1980; Lavin and Gray, Fast Algorithms for Convolutional Neural
Networks, 2016). Its gradients are the same sums, read the other way round. Float noise is some four times that of torch's own.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

#: Sides of a square of results, and of the square of pixels that it is made of.
RESULTS, PIXELS = 4, 6
#: Along one side: the points of its pixels, those of a kernel's taps (in 24ths), and the results of its points.
OF_PIXELS = (
    (4, 0, -5, 0, 1, 0),
    (0, -4, -4, 1, 1, 0),
    (0, 4, -4, -1, 1, 0),
    (0, -2, -1, 2, 1, 0),
    (0, 2, -1, -2, 1, 0),
    (0, 4, 0, -5, 0, 1),
)
OF_TAPS = ((6, 0, 0), (-4, -4, -4), (-4, 4, -4), (1, 2, 4), (1, -2, 4), (0, 0, 24))
OF_POINTS = ((1, 1, 1, 1, 1, 0), (0, 1, -1, 2, -2, 0), (0, 1, 1, 4, 4, 0), (0, 1, -1, 8, -8, 1))
#: Points that are worked on at a time: they, and what comes of them, stay in a core's own cache. So many squares there are at
#: least, for each of which the kernel's points are read once.
AT_A_TIME, LEAST = 200_000, 64


class Filtered(torch.autograd.Function):
    """A 3x3 convolution of stride 1, whose images are surrounded by zeros so that its maps are as large."""

    @staticmethod
    def forward(ctx: Any, images: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        """Return the maps [B, K, H, W], in channels-last order, of images [B, C, H, W], a weight [K, C, 3, 3] and a bias [K]."""
        count, channels, height, width = images.shape
        of_pixels, of_taps, of_points = _bases(images.dtype)
        kernels = _both_ways(of_taps, weight.permute(2, 3, 0, 1).reshape(3, 3, -1)).view(PIXELS**2, -1, channels)
        rows, columns = -(-height // RESULTS), -(-width // RESULTS)
        maps = images.new_empty(count, rows, RESULTS, columns, RESULTS, len(weight))
        at_once = -(-max(LEAST, AT_A_TIME // (PIXELS**2 * channels)) // (rows * columns))
        points = []
        for some, into in zip(torch.split(images, at_once), torch.split(maps, at_once), strict=True):
            points.append(_both_ways(of_pixels, _cut(some, rows, columns)).view(PIXELS**2, -1, channels))
            results = _both_ways(of_points, torch.bmm(points[-1], kernels.transpose(1, 2)).view(PIXELS, PIXELS, -1))
            torch.add(results.view(RESULTS, RESULTS, *into.shape[:2], columns, -1).permute(2, 3, 0, 4, 1, 5), bias, out=into)
        ctx.save_for_backward(kernels, *points)
        ctx.at_once, ctx.form, ctx.height, ctx.width = at_once, maps.shape, height, width
        return maps.view(count, rows * RESULTS, columns * RESULTS, -1)[:, :height, :width].permute(0, 3, 1, 2)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the gradients of images, weight and bias."""
        kernels, *points = ctx.saved_tensors
        of_pixels, of_taps, of_points = (base.T for base in _bases(gradient.dtype))
        count, rows, _, columns, _, results = ctx.form
        channels = kernels.shape[2]
        around = (0, 0, 0, columns * RESULTS - ctx.width, 0, rows * RESULTS - ctx.height)
        whole = functional.pad(gradient.permute(0, 2, 3, 1), around).view(ctx.form)
        of_images = gradient.new_empty(count, ctx.height, ctx.width, channels)
        of_kernels, of_bias = torch.zeros_like(kernels), gradient.new_zeros(results)
        for some, into, part in zip(torch.split(whole, ctx.at_once), torch.split(of_images, ctx.at_once), points, strict=True):
            laid = some.permute(2, 4, 0, 1, 3, 5).reshape(RESULTS, RESULTS, -1)
            of_bias += laid.view(-1, results).sum(0)
            back = _both_ways(of_points, laid).view(PIXELS**2, -1, results)
            of_kernels.baddbmm_(back.transpose(1, 2), part)
            squares = _both_ways(of_pixels, torch.bmm(back, kernels).view(PIXELS, PIXELS, -1))
            into.copy_(_joined(squares.view(PIXELS, PIXELS, len(into), rows, columns, -1))[:, : ctx.height, : ctx.width])
        of_weight = _both_ways(of_taps, of_kernels.view(PIXELS, PIXELS, -1)).view(3, 3, results, channels).permute(2, 3, 0, 1)
        return of_images.permute(0, 3, 1, 2), of_weight.contiguous(memory_format=torch.channels_last), of_bias


def _cut(images: Tensor, rows: int, columns: int) -> Tensor:
    """Return the squares of pixels, [6, 6, B * rows * columns * C], of images [B, C, H, W] with zeros around them."""
    height, width = images.shape[2:]
    below, right = rows * RESULTS + 1 - height, columns * RESULTS + 1 - width
    padded = functional.pad(images.permute(0, 2, 3, 1), (0, 0, 1, right, 1, below))
    return _squares(padded, PIXELS, PIXELS, rows, columns).reshape(PIXELS, PIXELS, -1)


def _joined(squares: Tensor) -> Tensor:
    """Return the sums of squares of pixels [6, 6, B, rows, columns, C] where these lie upon each other, [B, …, …, C].

    That is an image, with what is right of it and below it, but without the zeros above and left of it.
    """
    _, _, count, rows, columns, channels = squares.shape
    sums = squares.new_zeros(count, rows * RESULTS + 2, columns * RESULTS + 2, channels)
    parts = (slice(0, RESULTS), slice(RESULTS, PIXELS))  # no two first parts lie upon each other, nor second ones
    for down in parts:
        for across in parts:
            part = squares[down, across]
            place = _squares(sums[:, down.start :, across.start :], len(part), part.shape[1], rows, columns)
            place += part
    return sums[:, 1:, 1:]


def _squares(padded: Tensor, height: int, width: int, rows: int, columns: int) -> Tensor:
    """Return a view of images [B, H, W, C], [height, width, B, rows, columns, C]: a square in each four rows and columns."""
    image, row, column, channel = padded.stride()
    shape = (height, width, len(padded), rows, columns, padded.shape[3])
    return padded.as_strided(shape, (row, column, image, RESULTS * row, RESULTS * column, channel), padded.storage_offset())


def _both_ways(base: Tensor, squares: Tensor) -> Tensor:
    """Return squares [N, N, M] in another basis, [P, P, M], by a base [P, N] of one direction."""
    down = (base @ squares.flatten(1)).view(len(base), base.shape[1], -1)
    return torch.bmm(base.expand(len(down), *base.shape), down)


@cache
def _bases(dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
    """Return the bases of one direction: points of pixels [6, 6], points of taps [6, 3], results of points [4, 6]."""
    of_pixels, of_taps, of_points = (torch.tensor(base, dtype=torch.float64) for base in (OF_PIXELS, OF_TAPS, OF_POINTS))
    return of_pixels.to(dtype), (of_taps / 24).to(dtype), of_points.to(dtype)
