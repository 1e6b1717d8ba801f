"""Small networks for small images, with the names of their layers as G-VBSM's teachers publish them (Shao et al., 2024).

Those teachers come from the networks of RepDistiller (Tian et al., 2020). They take 32 and 64 px as they are: nothing is adapted.
"""

from __future__ import annotations

from collections import OrderedDict

from torch import Tensor, nn
from torch.nn import functional
from torchvision.models import shufflenet_v2_x0_5 as torchvision_shufflenet

from harness.models import Shape
from harness.models.fitting import record

#: (expansion, channels at width 1, blocks, stride of the first block) of each stage of MobileNet-V2 for small images.
MOBILE_STAGES = ((1, 16, 1, 1), (6, 24, 2, 1), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
MOBILE_FEATURES = 1280


class WideBlock(nn.Module):
    """Two 3x3 convolutions, each after batch norm and ReLU; where the width changes the shortcut starts after the first ReLU."""

    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv1 = nn.Conv2d(channels, width, kernel_size=3, stride=stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, kernel_size=3, padding=1, bias=False)
        self.convShortcut = None if channels == width else nn.Conv2d(channels, width, kernel_size=1, stride=stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """[B, channels, H, W] -> [B, width, H / stride, W / stride]."""
        active = functional.relu(self.bn1(x))
        kept: Tensor = x if self.convShortcut is None else self.convShortcut(active)
        added: Tensor = self.conv2(functional.relu(self.bn2(self.conv1(active))))
        return kept + added


class WideResNet(nn.Module):
    """Wide ResNet of depth 6n + 4 (Zagoruyko and Komodakis, 2016), ended by global average pooling."""

    def __init__(self, depth: int, widen: int, channels: int, classes: int) -> None:
        super().__init__()
        blocks = (depth - 4) // 6
        widths = (16, 16 * widen, 32 * widen, 64 * widen)
        self.conv1 = nn.Conv2d(channels, widths[0], kernel_size=3, padding=1, bias=False)
        self.block1 = _wide_group(blocks, widths[0], widths[1], 1)
        self.block2 = _wide_group(blocks, widths[1], widths[2], 2)
        self.block3 = _wide_group(blocks, widths[2], widths[3], 2)
        self.bn1 = nn.BatchNorm2d(widths[3])
        self.fc = nn.Linear(widths[3], classes)
        _he(self)

    def forward(self, images: Tensor) -> Tensor:
        """[B, C, H, W] -> [B, classes]."""
        maps = self.block3(self.block2(self.block1(self.conv1(images))))
        logits: Tensor = self.fc(functional.relu(self.bn1(maps)).mean((2, 3)))
        return logits


class Inverted(nn.Module):
    """Inverted residual of MobileNet-V2 (Sandler et al., 2018), with ReLU and with its 1x1 convolution even at expansion 1."""

    def __init__(self, channels: int, width: int, stride: int, expansion: int) -> None:
        super().__init__()
        inner = channels * expansion
        self.residual = stride == 1 and channels == width
        self.conv = nn.Sequential(
            nn.Conv2d(channels, inner, kernel_size=1, bias=False),
            nn.BatchNorm2d(inner),
            nn.ReLU(inplace=True),
            nn.Conv2d(inner, inner, kernel_size=3, stride=stride, padding=1, groups=inner, bias=False),
            nn.BatchNorm2d(inner),
            nn.ReLU(inplace=True),
            nn.Conv2d(inner, width, kernel_size=1, bias=False),
            nn.BatchNorm2d(width),
        )

    def forward(self, x: Tensor) -> Tensor:
        """[B, channels, H, W] -> [B, width, H / stride, W / stride]."""
        out: Tensor = self.conv(x)
        return x + out if self.residual else out


class SmallMobileNet(nn.Module):
    """MobileNet-V2 of any width that halves the image four times instead of five."""

    def __init__(self, width: float, channels: int, classes: int) -> None:
        super().__init__()
        inner = int(32 * width)
        self.conv1 = _conv_norm_relu(channels, inner, kernel=3, stride=2)
        stages = []
        for expansion, full, count, stride in MOBILE_STAGES:
            blocks = []
            for index in range(count):
                blocks.append(Inverted(inner, int(full * width), stride if index == 0 else 1, expansion))
                inner = int(full * width)
            stages.append(nn.Sequential(*blocks))
        self.blocks = nn.Sequential(*stages)
        self.conv2 = _conv_norm_relu(inner, MOBILE_FEATURES, kernel=1, stride=1)
        self.classifier = nn.Sequential(nn.Linear(MOBILE_FEATURES, classes))
        _he(self)

    def forward(self, images: Tensor) -> Tensor:
        """[B, C, H, W] -> [B, classes]."""
        logits: Tensor = self.classifier(self.conv2(self.blocks(self.conv1(images))).mean((2, 3)))
        return logits


def wrn_16_2(shape: Shape, classes: int) -> nn.Module:
    """Wide ResNet 16-2 (Zagoruyko and Komodakis, 2016)."""
    return record(WideResNet(16, 2, shape[0], classes))


def mobilenet_v2_half_modified(shape: Shape, classes: int) -> nn.Module:
    """MobileNet-V2 of width 0.5 for small images, ReLU instead of ReLU6: G-VBSM's MobileNetV2 on CIFAR and Tiny-ImageNet."""
    return record(SmallMobileNet(0.5, shape[0], classes))


def shufflenet_v2_half(shape: Shape, classes: int) -> nn.Module:
    """ShuffleNet-V2 of width 0.5 with the ImageNet stem (Ma et al., 2018), as torchvision has it."""
    return _shufflenet(classes, nn.Conv2d(shape[0], 24, kernel_size=3, stride=2, padding=1, bias=False))


def shufflenet_v2_half_modified(shape: Shape, classes: int) -> nn.Module:
    """ShuffleNet-V2 of width 0.5 for small images: 1x1 stride-1 stem, no max pool; G-VBSM's on CIFAR and Tiny-ImageNet."""
    return _shufflenet(classes, nn.Conv2d(shape[0], 24, kernel_size=1, bias=False), maxpool=nn.Identity())


def _shufflenet(classes: int, stem: nn.Conv2d, **layers: nn.Module) -> nn.Module:
    model: nn.Module = torchvision_shufflenet(num_classes=classes)
    model.get_submodule("conv1").register_module("0", stem)
    for name, layer in layers.items():
        model.register_module(name, layer)
    return record(model)


def _wide_group(blocks: int, channels: int, width: int, stride: int) -> nn.Sequential:
    layer = [WideBlock(channels if i == 0 else width, width, stride if i == 0 else 1) for i in range(blocks)]
    return nn.Sequential(OrderedDict(layer=nn.Sequential(*layer)))


def _conv_norm_relu(channels: int, width: int, kernel: int, stride: int) -> nn.Sequential:
    conv = nn.Conv2d(channels, width, kernel, stride, padding=kernel // 2, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(width), nn.ReLU(inplace=True))


def _he(model: nn.Module) -> None:
    """Draw the weights of all convolutions as He et al. (2015) do, by their outputs."""
    for layer in model.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
