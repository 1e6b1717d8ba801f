"""Convolutions of timm's students on the CPU, made as products of matrices in training where that is what they are.

A convolution of one tap is a product of its weights with each place of the map, and so is one of many taps on a map of a single
place, of which all but the middle one see padding alone. As a convolution its weights are put into another order in memory, there
and back, in each pass; of a ResNet-101 on 16 px that is more work than the rest. Other sums in another order: float noise.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

#: Weights of a tap from which on a product is worth the calls around it.
LEAST = 1 << 14


class Product(nn.Conv2d):
    """A convolution that is made as a product of matrices in training, where it is one. In tests it is what it was."""

    def forward(self, input: Tensor) -> Tensor:
        """Return the maps [B, out, H', W'] of maps [B, in, H, W]."""
        if not self.training:
            return super().forward(input)
        if self.kernel_size == (1, 1):
            down, across = self.stride
            seen = input if self.stride == (1, 1) else input[:, :, ::down, ::across]
            weight = self.weight.flatten(1)
        elif input.shape[2:] == (1, 1):
            seen, weight = input, self.weight[:, :, self.kernel_size[0] // 2, self.kernel_size[1] // 2]
        else:
            return super().forward(input)
        return functional.linear(seen.permute(0, 2, 3, 1), weight, self.bias).permute(0, 3, 1, 2)


def as_products(student: nn.Module) -> nn.Module:
    """Have a student of timm, on the CPU, make convolutions as products where they are; return it. Others stay as they are."""
    if type(student).__module__.partition(".")[0] == "timm":
        for module in student.modules():
            if type(module) is nn.Conv2d and _centred(module) and module.weight.shape[:2].numel() >= LEAST:
                module.__class__ = Product
    return student


def _centred(conv: nn.Conv2d) -> bool:
    """Whether a convolution's middle tap sees the place of a map that its result is for, and the others what is around it."""
    odd = all(size % 2 == 1 for size in conv.kernel_size)
    around = tuple(dilation * (size // 2) for dilation, size in zip(conv.dilation, conv.kernel_size, strict=True))
    return odd and conv.groups == 1 and conv.padding_mode == "zeros" and conv.padding == around
