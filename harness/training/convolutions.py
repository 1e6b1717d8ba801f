"""How a student's convolutions are made in training on the CPU: by fewer operations than torch's, where there is a way.

| convolution | made |
| --- | --- |
| of one tap | as a product of its weights with each place of the map |
| on a map of a single place, of which all taps but the middle one see padding alone | as a product, too |
| such a one, each channel by itself | by a number a channel |
| of 3 x 3 taps and enough channels, on enough of a map | by a quarter of the multiplications (`harness.training.winograd`) |

As a convolution the weights of products are put into another order in memory, there and back, in each pass; of a
ResNet-101 on 16 px that is more work than the rest. Sums in another order are float noise, of which a record's environment tells.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from harness.training.winograd import RESULTS, Filtered

#: How they are made: by the ways of this module, or as torch makes them, as records were made that say nothing.
Convolutions = Literal["fast", "torch"]
#: Weights of a tap from which on a product is worth the calls around it.
LEAST = 1 << 14
#: Channels, in and out, from which on a quarter of the multiplications is worth the change of basis, where squares cut a map
#: without rest; and how many squares it takes, for the kernels change theirs, too.
CHANNELS, SQUARES = 64, 40


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
        if not _can_be_filtered(self):
            return False
        if images.dtype == torch.bfloat16 or torch.is_autocast_enabled("cpu") or torch.compiler.is_compiling():
            return False
        if torch._C._are_functorch_transforms_active():  # a stack has a rule for what torch knows alone
            return False
        count, _, height, width = images.shape
        squares = -(-height // RESULTS) * -(-width // RESULTS)
        share = height * width / (squares * RESULTS**2)
        return count * squares >= SQUARES and share * min(self.weight.shape[:2]) >= CHANNELS


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
    return bool(changed)


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
