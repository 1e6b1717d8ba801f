"""Convolutional students that timm provides: always from scratch, and unchanged at every image size.

They halve the image five times, rounding up, so that 32 px and below end in a map of one pixel, which their batch norms and
global pooling take as it is; the `-modified` ResNets halve it three times. Nothing is adapted: `giftbench_adaptation` is "".
"""

from __future__ import annotations

import timm
from torch import nn

from harness.models import Shape
from harness.models.fitting import checked_rate, record


def resnet18(shape: Shape, classes: int) -> nn.Module:
    """ResNet-18 with the ImageNet stem (He et al., 2016)."""
    return _resnet("resnet18", shape, classes)


def resnet18_modified(shape: Shape, classes: int) -> nn.Module:
    """ResNet-18 for small images: 3x3 stride-1 stem without bias, no max pool."""
    return _modified(resnet18(shape, classes), shape[0])


def resnet101(shape: Shape, classes: int) -> nn.Module:
    """ResNet-101 with the ImageNet stem (He et al., 2016)."""
    return _resnet("resnet101", shape, classes)


def resnet101_modified(shape: Shape, classes: int) -> nn.Module:
    """ResNet-101 for small images: 3x3 stride-1 stem without bias, no max pool."""
    return _modified(resnet101(shape, classes), shape[0])


def efficientnet_b0(shape: Shape, classes: int, *, dropout: float = 0.0, drop_path: float = 0.0) -> nn.Module:
    """EfficientNet-B0 (Tan and Le, 2019); torchvision's has dropout=0.2 and drop_path=0.2."""
    model = timm.create_model(
        "efficientnet_b0",
        pretrained=False,
        in_chans=shape[0],
        num_classes=classes,
        drop_rate=checked_rate("model 'efficientnet-b0': dropout", dropout),
        drop_path_rate=checked_rate("model 'efficientnet-b0': drop_path", drop_path),
    )
    return record(model)


def mobilenet_v2(shape: Shape, classes: int, *, dropout: float = 0.0) -> nn.Module:
    """MobileNet-V2 of width 1.0 (Sandler et al., 2018); torchvision's has dropout=0.2."""
    rate = checked_rate("model 'mobilenet-v2': dropout", dropout)
    return record(timm.create_model("mobilenetv2_100", pretrained=False, in_chans=shape[0], num_classes=classes, drop_rate=rate))


def _resnet(name: str, shape: Shape, classes: int) -> nn.Module:
    # timm would start each block's last batch norm at zero; He et al., torchvision and the code of the papers do not.
    return record(timm.create_model(name, pretrained=False, in_chans=shape[0], num_classes=classes, zero_init_last=False))


def _modified(model: nn.Module, channels: int) -> nn.Module:
    # Torch's default initialisation, as in the released code of RDED and GIFT, which replaces the stem in the same way.
    model.conv1 = nn.Conv2d(channels, 64, kernel_size=3, stride=1, padding=1, bias=False)
    model.maxpool = nn.Identity()
    return model
