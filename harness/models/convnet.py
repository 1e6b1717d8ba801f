"""ConvNet-D, the small network that most distilled sets are made with (Gidaris and Komodakis, 2018; Zhao et al., 2021)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from harness.core.errors import BadOption, suggest
from harness.models import Shape
from harness.models.fitting import record, remark

NORMS = ("batch", "instance", "none")
#: What whoever puts published weights into a network for images of one channel should know.
GREY = "padding={}: the code of DC, DSA, DM, MTT and DATM pads images of one channel by 3 in the first convolution, 28 px to 32"
#: Values of a map from which `Halved` beats torch's own gradient on the CPU; below, calling it costs more than it saves.
LARGE_MAP = 2**21


class ConvNet(nn.Module):
    """D x [3x3 convolution with bias -> norm -> ReLU -> 2x2 average pool], flatten, linear.

    Args:
        shape: (channels, height, width) of the images.
        classes: width of the logits.
        depth: number of blocks.
        width: channels of each convolution.
        norm: "batch"; "instance" (a group norm of one channel a group, affine); "none".
        padding: zeros around the image in the first convolution, in pixels; 1 keeps its size. The code of DC, which DSA, DM, MTT
            and DATM share, has 3 for images of one channel: 28 px become 32, with the mean around them.
    Raises: BadOption for another norm, or a width, depth or padding below one.
    """

    def __init__(self, shape: Shape, classes: int, depth: int, width: int = 128, norm: str = "batch", padding: int = 1) -> None:
        super().__init__()
        if width < 1 or depth < 1 or padding < 1:
            wanted = "a width, a depth and a padding of at least 1"
            raise BadOption(f"a ConvNet needs {wanted}, not {width}, {depth} and {padding}")
        channels, height, size = padded(shape, padding)
        blocks: list[nn.Module] = []
        for pooled in poolings(depth, height, size):
            around = 1 if blocks else padding
            blocks += [nn.Conv2d(channels, width, kernel_size=3, padding=around), *_norm(norm, width), nn.ReLU(inplace=True)]
            channels = width
            if pooled:
                blocks.append(HalvingPool())
                height, size = height // 2, size // 2
        self.features = nn.Sequential(*blocks)
        self.classifier = nn.Linear(width * height * size, classes)

    def forward(self, images: Tensor) -> Tensor:
        """[B, C, H, W] -> [B, classes]; `flatten` reads channel, row, column whatever the memory format."""
        logits: Tensor = self.classifier(self.features(images).flatten(1))
        return logits


class HalvingPool(nn.AvgPool2d):
    """2x2 average pool of stride 2, with a faster gradient on a GPU and of large maps on the CPU; the numbers are the same."""

    def __init__(self) -> None:
        super().__init__(kernel_size=2, stride=2)

    def forward(self, maps: Tensor) -> Tensor:
        """[B, C, H, W] -> [B, C, H // 2, W // 2]."""
        odd = maps.shape[-1] % 2 or maps.shape[-2] % 2
        if odd or not maps.requires_grad or (maps.is_cpu and maps.numel() < LARGE_MAP):
            return super().forward(maps)
        halved: Tensor = Halved.apply(maps)
        return halved


class Halved(torch.autograd.Function):
    """The 2x2 average pool of maps of even sides.

    Each pixel's gradient is a quarter of its average's. torch's own function adds that to a map of zeros, which it first has to
    write; writing each value once saves 3 % of a bf16 step of ConvNet-3 on the CPU.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(maps: Tensor) -> Tensor:
        """[..., H, W] -> [..., H / 2, W / 2]."""
        return functional.avg_pool2d(maps, 2)

    @staticmethod
    def setup_context(ctx: object, inputs: object, output: object) -> None:
        """Nothing is kept: the gradient depends on no value."""

    @staticmethod
    def backward(ctx: object, gradient: Tensor) -> Tensor:
        return functional.interpolate(gradient * 0.25, scale_factor=2, mode="nearest")


def poolings(depth: int, height: int, width: int) -> tuple[bool, ...]:
    """Decide after which of the `depth` blocks an image of height x width pixels is pooled.

    Every block pools until that would leave a later block a map of one pixel, whose instance norm is constant and whose
    3x3 kernels see nothing but their centre; the last block pools whenever it can. Odd maps lose their last row and column.

    | pixels | depth | map after each block | recorded |
    | ---: | ---: | --- | --- |
    | 16 | 3 | 8 4 2 | |
    | 16 | 4 | 8 4 2 1 | |
    | 16 | 5 | 8 4 2 2 1 | 4 of 5 poolings |
    | 16 | 8 | 8 4 2 2 2 2 2 1 | 4 of 8 poolings |
    | 28 | 3 | 14 7 3 | |
    | 28 | 5 | 14 7 3 3 1 | 4 of 5 poolings |
    | 32 | 3 | 16 8 4 | |
    | 32 | 6 | 16 8 4 2 2 1 | 5 of 6 poolings |
    | 64 | 4 | 32 16 8 4 | |
    | 96 | 5 | 48 24 12 6 3 | |
    | 224 | 6 | 112 56 28 14 7 3 | |
    """
    side, pooled = min(height, width), []
    for block in range(1, depth + 1):
        pooled.append(side >= (2 if block == depth else 4))
        side = side // 2 if pooled[-1] else side
    return tuple(pooled)


def padded(shape: Shape, padding: int) -> Shape:
    """Return the shape of an image whose first convolution pads it by `padding` pixels instead of 1."""
    return shape[0], shape[1] + 2 * (padding - 1), shape[2] + 2 * (padding - 1)


def convnet(depth: int, shape: Shape, classes: int, width: int, norm: str, padding: int) -> ConvNet:
    """Return a ConvNet of any depth with its adaptation recorded (see `ConvNet` and `poolings`)."""
    network = ConvNet(shape, classes, depth, width, norm, padding)
    pooled = poolings(depth, *padded(shape, padding)[1:])
    change = "" if all(pooled) else f"{sum(pooled)} of {depth} poolings"
    return remark(record(network, change), GREY.format(padding) if shape[0] == 1 else "")


def _norm(norm: str, width: int) -> list[nn.Module]:
    if norm == "batch":
        return [nn.BatchNorm2d(width)]
    if norm == "instance":
        return [nn.GroupNorm(width, width)]
    if norm == "none":
        return []
    raise BadOption(f"a ConvNet has no norm {norm!r}; {suggest(norm, NORMS)}")


def convnet1(shape: Shape, classes: int, *, width: int = 128, norm: str = "batch", padding: int = 1) -> ConvNet:
    """ConvNet with one block."""
    return convnet(1, shape, classes, width, norm, padding)


def convnet2(shape: Shape, classes: int, *, width: int = 128, norm: str = "batch", padding: int = 1) -> ConvNet:
    """ConvNet with two blocks."""
    return convnet(2, shape, classes, width, norm, padding)


def convnet3(shape: Shape, classes: int, *, width: int = 128, norm: str = "batch", padding: int = 1) -> ConvNet:
    """ConvNet with three blocks, the usual one for 32 px."""
    return convnet(3, shape, classes, width, norm, padding)


def convnet4(shape: Shape, classes: int, *, width: int = 128, norm: str = "batch", padding: int = 1) -> ConvNet:
    """ConvNet with four blocks, the usual one for 64 px."""
    return convnet(4, shape, classes, width, norm, padding)


def convnet5(shape: Shape, classes: int, *, width: int = 128, norm: str = "batch", padding: int = 1) -> ConvNet:
    """ConvNet with five blocks, the usual one for 128 px."""
    return convnet(5, shape, classes, width, norm, padding)


def convnet6(shape: Shape, classes: int, *, width: int = 128, norm: str = "batch", padding: int = 1) -> ConvNet:
    """ConvNet with six blocks, the usual one above 128 px."""
    return convnet(6, shape, classes, width, norm, padding)


def convnet7(shape: Shape, classes: int, *, width: int = 128, norm: str = "batch", padding: int = 1) -> ConvNet:
    """ConvNet with seven blocks."""
    return convnet(7, shape, classes, width, norm, padding)


def convnet8(shape: Shape, classes: int, *, width: int = 128, norm: str = "batch", padding: int = 1) -> ConvNet:
    """ConvNet with eight blocks."""
    return convnet(8, shape, classes, width, norm, padding)
