"""How a student's convolutions are made in training on the CPU: by fewer operations than torch's, where there is a way.

| convolution | made |
| --- | --- |
| of one tap | as a product of its weights with each place of the map |
| on a map of a single place, of which all taps but the middle one see padding alone | as a product, too |
| such a one, each channel by itself | by a number a channel |
| of 3 x 3 taps and enough channels, on enough of a map | by a quarter of the multiplications (`harness.training.winograd`) |
| of images, with batch norm, ReLU and 2 x 2 pool after it | with these, without its maps (`harness.training.first_block`) |

As a convolution the weights of products are put into another order in memory, there and back, in each pass; of a
ResNet-101 on 16 px that is more work than the rest. Sums in another order are float noise, of which a record's environment tells.
"""

from __future__ import annotations

from itertools import islice
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from harness.training.first_block import FirstBlock
from harness.training.winograd import RESULTS, Filtered

#: How they are made: by the ways of this module, or as torch makes them, as records were made that say nothing.
Convolutions = Literal["fast", "torch"]
#: Weights of a tap from which on a product is worth the calls around it.
LEAST = 1 << 14
#: Channels, in and out, from which on a quarter of the multiplications is worth the change of basis, where squares cut a map
#: without rest; how many squares it takes, for the kernels change theirs, too; and what share of them the map has to fill.
CHANNELS, SQUARES, FILLED = 64, 40, 0.5
#: Values of a first block's maps from which on not to hold them is worth the calls around it, and how many of its channels it
#: takes for each pixel that they are made of.
HELD, CHANNELS_A_PIXEL = 250_000, 2.3


class Convolution(nn.Conv2d):
    """A convolution that is made in the way that takes least, in training. In tests it is what it was."""

    def forward(self, input: Tensor) -> Tensor:
        """Return the maps [B, out, H', W'] of maps [B, in, H, W]."""
        if not self.training:
            return super().forward(input)
        if input.shape[2:] == (1, 1) and self.groups == 1:
            return self._product(input, self._middle)
        if input.shape[2:] == (1, 1) and not torch.is_autocast_enabled("cpu"):
            return self._scaled(input, self._middle)
        if self.kernel_size == (1, 1) and _is_large(self):
            down, across = self.stride
            seen = input if self.stride == (1, 1) else input[:, :, ::down, ::across]
            return self._product(seen, self.weight.flatten(1))
        if self._is_filtered(input):
            bias = self.weight.new_zeros(self.out_channels) if self.bias is None else self.bias
            maps: Tensor = Filtered.apply(input, self.weight, bias)
            return maps
        return super().forward(input)

    @property
    def _middle(self) -> Tensor:
        """The weights of the middle tap, [out, in / groups]."""
        if self.kernel_size == (1, 1):
            return self.weight.flatten(1)
        middle: Tensor = Tap.apply(self.weight, self.kernel_size[0] // 2, self.kernel_size[1] // 2)
        return middle

    def _scaled(self, seen: Tensor, weight: Tensor) -> Tensor:
        scaled = seen * weight[:, :, None]
        return scaled if self.bias is None else scaled + self.bias[:, None, None]

    def _product(self, seen: Tensor, weight: Tensor) -> Tensor:
        return functional.linear(seen.permute(0, 2, 3, 1), weight, self.bias).permute(0, 3, 1, 2)

    def _is_filtered(self, images: Tensor) -> bool:
        """Whether this convolution of such images takes least by minimal filtering, and whether that can be done here."""
        if not (_can_be_filtered(self) and _is_plain(images)):
            return False
        count, _, height, width = images.shape
        squares = -(-height // RESULTS) * -(-width // RESULTS)
        share = height * width / (squares * RESULTS**2)
        return count * squares >= SQUARES and share >= FILLED and share * min(self.weight.shape[:2]) >= CHANNELS


class Blocks(nn.Sequential):
    """Modules of which the first four are made in one on the way to the fifth, in training, where that takes less."""

    def forward(self, input: Tensor) -> Tensor:
        """Return what the modules make of images [B, C, H, W], one after another."""
        if not self._is_one(input):
            whole: Tensor = super().forward(input)  # type: ignore[no-untyped-call]
            return whole
        conv, norm = _head(self)
        around = int(conv.padding[0])
        maps: Tensor
        maps, mean, variance = FirstBlock.apply(input, conv.weight, conv.bias, norm.weight, norm.bias, norm.eps, around)
        self._note(conv, norm, mean, variance, 4 * maps.numel() // conv.out_channels)
        for module in islice(self, 4, None):
            maps = module(maps)
        return maps

    def _is_one(self, images: Tensor) -> bool:
        """Whether the first four take least in one for such images, and whether that can be done here."""
        if not self.training or images.requires_grad or not _is_plain(images) or any(map(_is_hooked, islice(self, 4))):
            return False
        conv, norm = _head(self)
        height, width = (side + 2 * int(conv.padding[0]) - 2 for side in images.shape[2:])
        held = len(images) * conv.out_channels * height * width
        return norm.training and height % 2 == width % 2 == 0 and held >= HELD

    @staticmethod
    def _note(conv: nn.Conv2d, norm: nn.BatchNorm2d, mean: Tensor, variance: Tensor, count: int) -> None:
        """Have the norm remember a batch's mean and variance of so many places a channel, as it does by itself."""
        assert norm.running_mean is not None and norm.running_var is not None
        assert norm.num_batches_tracked is not None and norm.momentum is not None
        with torch.no_grad():
            norm.num_batches_tracked.add_(1)
            norm.running_mean.lerp_(mean if conv.bias is None else mean + conv.bias, norm.momentum)
            norm.running_var.lerp_(variance * (count / (count - 1)), norm.momentum)


class Tap(torch.autograd.Function):
    """A tap of a kernel's weights, whose gradient lies in memory as they do: torch's own lies as it comes, and is copied."""

    generate_vmap_rule = True

    @staticmethod
    def forward(weight: Tensor, row: int, column: int) -> Tensor:
        """[K, C, rows, columns] -> [K, C]."""
        return weight[:, :, row, column].clone()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, int, int], output: Tensor) -> None:
        """Keep which tap of what."""
        weight, ctx.row, ctx.column = inputs
        ctx.save_for_backward(weight)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        """Return zeros but for the tap."""
        (weight,) = ctx.saved_tensors
        whole = torch.zeros_like(weight)
        whole[:, :, ctx.row, ctx.column] = gradient
        return whole, None, None


def made_fast(student: nn.Module) -> bool:
    """Have a student on the CPU make its convolutions in the way that takes least; return whether there is another for any."""
    changed = [module for module in student.modules() if type(module) is nn.Conv2d and _has_another(module)]
    for module in changed:
        module.__class__ = Convolution
    blocks = [module for module in student.modules() if type(module) is nn.Sequential and _is_block(module)]
    for block in blocks:
        block.__class__ = Blocks
    return bool(changed or blocks)


def _is_block(modules: nn.Sequential) -> bool:
    """Whether modules begin with a convolution of images, a batch norm that remembers, a ReLU, and a pool that halves."""
    kinds = [nn.Conv2d if isinstance(module, Convolution) else type(module) for module in islice(modules, 3)]
    if kinds != [nn.Conv2d, nn.BatchNorm2d, nn.ReLU] or len(modules) < 4:
        return False
    conv, norm = _head(modules)
    pool = modules[3]
    if not isinstance(pool, nn.AvgPool2d) or pool.ceil_mode or pool.divisor_override is not None:
        return False
    if [_pair(size) for size in (pool.kernel_size, pool.stride, pool.padding)] != [(2, 2), (2, 2), (0, 0)]:
        return False
    taps = conv.kernel_size == (3, 3) and conv.stride == conv.dilation == (1, 1) and conv.padding_mode == "zeros"
    around = taps and not isinstance(conv.padding, str) and conv.padding[0] == conv.padding[1] >= 1
    wide = conv.groups == 1 and conv.out_channels >= CHANNELS_A_PIXEL * conv.in_channels * 9
    return around and wide and norm.affine and norm.track_running_stats and norm.momentum is not None


def _head(modules: nn.Sequential) -> tuple[nn.Conv2d, nn.BatchNorm2d]:
    conv, norm = islice(modules, 2)
    return cast(nn.Conv2d, conv), cast(nn.BatchNorm2d, norm)


def _pair(size: int | tuple[int, ...]) -> tuple[int, ...]:
    return (size, size) if isinstance(size, int) else size


def _is_hooked(module: nn.Module) -> bool:
    """Whether somebody wants to hear of what goes through a module."""
    return any((module._forward_hooks, module._forward_pre_hooks, module._backward_hooks, module._backward_pre_hooks))


def _is_plain(images: Tensor) -> bool:
    """Whether torch computes in float32, or more, just as it is called: autocast, compiler and stacks have rules of their own."""
    narrow = images.dtype in (torch.bfloat16, torch.float16) or torch.is_autocast_enabled("cpu")
    return not (narrow or torch.compiler.is_compiling() or torch._C._are_functorch_transforms_active())


def _has_another(conv: nn.Conv2d) -> bool:
    """Whether there may be another way: the middle tap sees the place that the result is for, others what is around it."""
    odd = all(size % 2 == 1 for size in conv.kernel_size)
    around = tuple(dilation * (size // 2) for dilation, size in zip(conv.dilation, conv.kernel_size, strict=True))
    if not (odd and conv.padding_mode == "zeros" and conv.padding == around):
        return False
    if conv.groups > 1:
        return conv.groups == conv.in_channels == conv.out_channels
    return conv.kernel_size == (1, 1) or _is_large(conv) or _can_be_filtered(conv)


def _is_large(conv: nn.Conv2d) -> bool:
    return conv.weight.shape[:2].numel() >= LEAST


def _can_be_filtered(conv: nn.Conv2d) -> bool:
    taps = conv.kernel_size == (3, 3) and conv.stride == conv.dilation == (1, 1)
    return conv.groups == 1 and taps and min(conv.weight.shape[:2]) >= CHANNELS
