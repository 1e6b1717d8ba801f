"""ResNetAP-10, on which IDC, Minimax and what follows them test sets of ImageNet's subsets (Kim et al., 2022)."""

from __future__ import annotations

import math
from collections import OrderedDict

from torch import Tensor, nn
from torch.nn import functional

from harness.core.errors import BadOption, suggest
from harness.models import Shape
from harness.models.fitting import record

NORMS = ("instance", "batch")
#: Channels of each stage at width 1.
STAGES = (64, 128, 256, 512)
#: Up to so many pixels there is no pool after the first convolution; up to as many again one of 2.
SMALL, MID = 64, 128


class Block(nn.Module):
    """Two 3x3 convolutions of stride 1; where the map shrinks, it is by average pools, between them and beside them."""

    def __init__(self, channels: int, width: int, stride: int, norm: str) -> None:
        super().__init__()
        self.stride = stride
        self.conv1 = nn.Conv2d(channels, width, kernel_size=3, padding=1, bias=False)
        self.bn1 = _norm(norm, width)
        self.conv2 = nn.Conv2d(width, width, kernel_size=3, padding=1, bias=False)
        self.bn2 = _norm(norm, width)
        kept = stride == 1 and channels == width
        self.downsample = (
            None
            if kept
            else nn.Sequential(
                nn.Conv2d(channels, width, kernel_size=1, bias=False), nn.AvgPool2d(stride, stride), _norm(norm, width)
            )
        )

    def forward(self, x: Tensor) -> Tensor:
        """[B, channels, H, W] -> [B, width, H // stride, W // stride]."""
        active = functional.relu(self.bn1(self.conv1(x)))
        if self.stride > 1:
            active = functional.avg_pool2d(active, self.stride, self.stride)
        kept: Tensor = x if self.downsample is None else self.downsample(x)
        added: Tensor = self.bn2(self.conv2(active))
        return functional.relu(added + kept)


class ResNetAP(nn.Module):
    """ResNet of one block a stage that shrinks by average pools alone; names of layers are those of IDC's code."""

    def __init__(self, shape: Shape, classes: int, width: float, norm: str, strides: tuple[int, ...]) -> None:
        super().__init__()
        channels, height, size = shape
        side = min(height, size)
        widths = [int(channels_of * width) for channels_of in STAGES]
        kernel, pool = (3, 1) if side <= SMALL else (3, 2) if side <= MID else (7, 4)
        first = [
            ("conv1", nn.Conv2d(channels, widths[0], kernel_size=kernel, padding=kernel // 2, bias=False)),
            ("bn1", _norm(norm, widths[0])),
            ("relu", nn.ReLU(inplace=True)),
            *([("pool", nn.AvgPool2d(pool, pool))] if pool > 1 else []),
        ]
        self.layer0 = nn.Sequential(OrderedDict(first))
        before = widths[0]
        for number, (own, stride) in enumerate(zip(widths, strides, strict=True), 1):
            setattr(self, f"layer{number}", nn.Sequential(Block(before, own, stride, norm)))
            before = own
        self.fc = nn.Linear(before, classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                fan = module.kernel_size[0] * module.kernel_size[1] * module.out_channels
                nn.init.normal_(module.weight, 0.0, math.sqrt(2.0 / fan))

    def forward(self, images: Tensor) -> Tensor:
        """[B, C, H, W] -> [B, classes]."""
        maps = self.layer0(images)
        for number in range(1, len(STAGES) + 1):
            maps = getattr(self, f"layer{number}")(maps)
        logits: Tensor = self.fc(maps.mean((2, 3)))
        return logits


def _norm(norm: str, width: int) -> nn.Module:
    if norm == "instance":
        return nn.GroupNorm(width, width)
    if norm == "batch":
        return nn.BatchNorm2d(width)
    raise BadOption(f"a ResNetAP has no norm {norm!r}; {suggest(norm, NORMS)}")


def resnetap10(shape: Shape, classes: int, *, width: float = 1.0, norm: str = "instance") -> ResNetAP:
    """ResNet-10 with average pools in place of strides, instance norm (IDC, Minimax).

    Sides below 16 px leave a map of less than two pixels before the last stages, which then do not shrink it.
    """
    if not 0 < width <= 8:
        raise BadOption(f"a ResNetAP's width must be above 0 and at most 8, not {width}")
    side = min(shape[1:]) // (1 if min(shape[1:]) <= SMALL else 2 if min(shape[1:]) <= MID else 4)
    strides = [1]
    for _ in STAGES[1:]:
        strides.append(2 if side >= 4 else 1)
        side //= strides[-1]
    change = "" if strides == [1, 2, 2, 2] else f"{sum(stride > 1 for stride in strides)} of 3 poolings"
    return record(ResNetAP(shape, classes, width, norm, tuple(strides)), change)
