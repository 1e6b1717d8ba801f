"""Convolutional students that timm provides: always from scratch, and unchanged at every image size.

They halve the image five times, rounding up, so that 32 px and below end in a map of one pixel, which their batch norms and
global pooling take as it is; the `-modified` ResNets halve it three times. Nothing is adapted: `giftbench_adaptation` is "".
"""

from __future__ import annotations

import math
from collections.abc import Callable

import timm
from torch import Tensor, nn

from harness.models import Shape
from harness.models.fitting import checked_init, checked_rate, record


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


def efficientnet_b0(shape: Shape, classes: int, *, dropout: float = 0.0, drop_path: float = 0.0, init: str = "timm") -> nn.Module:
    """EfficientNet-B0 (Tan and Le, 2019); torchvision's is init=torchvision, dropout=0.2, drop_path=0.2."""
    checked_init("efficientnet-b0", init)
    model = timm.create_model(
        "efficientnet_b0",
        pretrained=False,
        in_chans=shape[0],
        num_classes=classes,
        drop_rate=checked_rate("model 'efficientnet-b0': dropout", dropout),
        drop_path_rate=checked_rate("model 'efficientnet-b0': drop_path", drop_path),
    )
    return record(as_torchvision(model, _by_width) if init == "torchvision" else model)


def mobilenet_v2(shape: Shape, classes: int, *, dropout: float = 0.0, init: str = "timm") -> nn.Module:
    """MobileNet-V2 of width 1.0 (Sandler et al., 2018); torchvision's is init=torchvision, dropout=0.2."""
    checked_init("mobilenet-v2", init)
    rate = checked_rate("model 'mobilenet-v2': dropout", dropout)
    model = timm.create_model("mobilenetv2_100", pretrained=False, in_chans=shape[0], num_classes=classes, drop_rate=rate)
    return record(as_torchvision(model, _narrow) if init == "torchvision" else model)


def _resnet(name: str, shape: Shape, classes: int) -> nn.Module:
    # timm would start each block's last batch norm at zero; He et al., torchvision and the code of the papers do not.
    return record(timm.create_model(name, pretrained=False, in_chans=shape[0], num_classes=classes, zero_init_last=False))


def _modified(model: nn.Module, channels: int) -> nn.Module:
    # Torch's default initialisation, as in the released code of RDED and GIFT, which replaces the stem in the same way.
    model.conv1 = nn.Conv2d(channels, 64, kernel_size=3, stride=1, padding=1, bias=False)
    model.maxpool = nn.Identity()
    return model


def as_torchvision(model: nn.Module, draw: Callable[[Tensor], object]) -> nn.Module:
    """Draw a convolutional network's weights anew, as torchvision does: He et al. (2015) by a layer's outputs, biases at zero.

    A depthwise convolution counts the outputs of all its groups so, and starts narrower by the root of their number than timm's.

    Args:
        draw: fills the weights of a linear layer, [outputs, inputs], in place.
    """
    for layer in model.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out")
        elif isinstance(layer, nn.BatchNorm2d):
            nn.init.ones_(layer.weight)
        elif isinstance(layer, nn.Linear):
            draw(layer.weight)
        else:
            continue
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
    return model


def _by_width(weight: Tensor) -> Tensor:
    """Draw a classifier's weights as torchvision's EfficientNet does: uniformly, within a root of the classes."""
    bound = 1 / math.sqrt(len(weight))
    return nn.init.uniform_(weight, -bound, bound)


def _narrow(weight: Tensor) -> Tensor:
    """Draw a classifier's weights as torchvision's MobileNet-V2 does."""
    return nn.init.normal_(weight, 0, 0.01)
