"""Networks as their authors build and save them give the same logits once they are read into ours."""

from __future__ import annotations

from argparse import Namespace
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional

from harness import models
from harness.core.errors import DataError
from harness.models import Shape
from harness.teachers import checkpoints
from harness.teachers.key_styles import looks_like

CLASSES = 7
SMALL: Shape = (3, 32, 32)


def scrambled(network: nn.Module) -> nn.Module:
    """Return the network in eval mode with norms and running statistics that no two layers share."""
    draws = torch.Generator().manual_seed(0)
    for name, tensor in network.state_dict().items():
        if tensor.is_floating_point() and tensor.dim() == 1:
            noise = torch.rand(tensor.shape, generator=draws)
            tensor.copy_(0.5 + noise if name.endswith(("running_var", "weight")) else noise - 0.5)
    return network.eval()


def logits_of(network: nn.Module, shape: Shape) -> Tensor:
    images = torch.randn(2, *shape, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        found: Tensor = network(images)
    assert found.std() > 1e-3
    return found


def loaded(path: Path, spec: str, shape: Shape, classes: int = CLASSES) -> nn.Module:
    network = models.build(spec, shape, classes)
    network.load_state_dict(checkpoints.fit(path, checkpoints.read(path), network, spec).state)
    return network.eval()


def agrees(author: nn.Module, saved: Any, path: Path, spec: str, shape: Shape) -> bool:
    torch.save(saved, path)
    return torch.allclose(logits_of(loaded(path, spec, shape), shape), logits_of(author, shape), atol=1e-5)


# -- networks as authors write them ----------------------------------------------------------------------------------------


class RdedConvNet(nn.Module):
    """Layers grouped by kind."""

    def __init__(self, shape: Shape, depth: int, width: int, classes: int) -> None:
        super().__init__()
        channels = [shape[0]] + [width] * depth
        self.layers = nn.ModuleDict(
            {
                "conv": nn.ModuleList(nn.Conv2d(channels[d], width, 3, padding=1) for d in range(depth)),
                "norm": nn.ModuleList(nn.BatchNorm2d(width) for _ in range(depth)),
                "act": nn.ModuleList(nn.ReLU() for _ in range(depth)),
                "pool": nn.ModuleList(nn.AvgPool2d(2) for _ in range(depth)),
            }
        )
        self.classifier = nn.Linear(width * (shape[1] >> depth) * (shape[2] >> depth), classes)

    def forward(self, x: Tensor) -> Tensor:
        for conv, norm, act, pool in zip(*(self.layers[k] for k in ("conv", "norm", "act", "pool")), strict=True):
            x = pool(act(norm(conv(x))))
        return self.classifier(x.flatten(1))


class DcConvNet(nn.Module):
    """Layers in one Sequential: MTT, DATM, DC-BENCH, and G-VBSM's ConvNetW128. Grey images of 28 px become maps of 32."""

    def __init__(self, shape: Shape, depth: int, norm: str, classes: int, width: int = 128) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for d in range(depth):
            layers.append(nn.Conv2d(width if d else shape[0], width, 3, padding=3 if shape[0] == 1 and d == 0 else 1))
            if norm != "none":
                layers.append(nn.BatchNorm2d(width) if norm == "batch" else nn.GroupNorm(width, width))
            layers += [nn.ReLU(inplace=True), nn.AvgPool2d(2)]
        self.features = nn.Sequential(*layers)
        side = 32 if shape[1] == 28 else shape[1]
        self.classifier = nn.Linear(width * (side >> depth) ** 2, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.features(x).flatten(1))


class KuangliuBlock(nn.Module):
    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, width, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.shortcut = nn.Sequential()
        if stride != 1 or channels != width:
            self.shortcut = nn.Sequential(nn.Conv2d(channels, width, 1, stride, bias=False), nn.BatchNorm2d(width))

    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(self.bn2(self.conv2(functional.relu(self.bn1(self.conv1(x))))) + self.shortcut(x))


class KuangliuResNet18(nn.Module):
    def __init__(self, classes: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        for stage, (channels, width) in enumerate(((64, 64), (64, 128), (128, 256), (256, 512)), start=1):
            blocks = KuangliuBlock(channels, width, 1 if stage == 1 else 2), KuangliuBlock(width, width, 1)
            self.add_module(f"layer{stage}", nn.Sequential(*blocks))
        self.linear = nn.Linear(512, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.relu(self.bn1(self.conv1(x)))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.linear(functional.adaptive_avg_pool2d(x, 1).flatten(1))


class DistillerWideBlock(nn.Module):
    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__()
        self.bn1, self.relu1 = nn.BatchNorm2d(channels), nn.ReLU(inplace=True)
        self.conv1 = nn.Conv2d(channels, width, 3, stride, 1, bias=False)
        self.bn2, self.relu2 = nn.BatchNorm2d(width), nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.convShortcut = nn.Conv2d(channels, width, 1, stride, bias=False) if channels != width else None

    def forward(self, x: Tensor) -> Tensor:
        if self.convShortcut is not None:
            x = self.relu1(self.bn1(x))
            return self.convShortcut(x) + self.conv2(self.relu2(self.bn2(self.conv1(x))))
        return x + self.conv2(self.relu2(self.bn2(self.conv1(self.relu1(self.bn1(x))))))


class DistillerWideResNet(nn.Module):
    """WRN-16-2 of RepDistiller, at 32 px."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False)
        for index, (channels, width) in enumerate(((16, 32), (32, 64), (64, 128)), start=1):
            group = nn.Module()
            group.layer = nn.Sequential(
                DistillerWideBlock(channels, width, 1 if index == 1 else 2), DistillerWideBlock(width, width, 1)
            )
            self.add_module(f"block{index}", group)
        self.bn1, self.relu, self.fc = nn.BatchNorm2d(128), nn.ReLU(), nn.Linear(128, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv1(x)
        for block in (self.block1, self.block2, self.block3):
            x = block.layer(x)
        return self.fc(functional.avg_pool2d(self.relu(self.bn1(x)), 8).flatten(1))


class DistillerInverted(nn.Module):
    def __init__(self, channels: int, width: int, stride: int, expansion: int) -> None:
        super().__init__()
        inner, self.same = channels * expansion, stride == 1 and channels == width
        self.conv = nn.Sequential(
            *(nn.Conv2d(channels, inner, 1, bias=False), nn.BatchNorm2d(inner), nn.ReLU(inplace=True)),
            nn.Conv2d(inner, inner, 3, stride, 1, groups=inner, bias=False),
            *(nn.BatchNorm2d(inner), nn.ReLU(inplace=True), nn.Conv2d(inner, width, 1, bias=False), nn.BatchNorm2d(width)),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv(x) if self.same else self.conv(x)


class DistillerMobileNet(nn.Module):
    """MobileNet-V2 of width 0.5 of RepDistiller."""

    SETTING = ((1, 16, 1, 1), (6, 24, 2, 1), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.conv1 = nn.Sequential(nn.Conv2d(3, 16, 3, 2, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU(inplace=True))
        self.blocks, channels = nn.ModuleList(), 16
        for expansion, width, count, stride in self.SETTING:
            stage = []
            for index in range(count):
                stage.append(DistillerInverted(channels, width // 2, stride if index == 0 else 1, expansion))
                channels = width // 2
            self.blocks.append(nn.Sequential(*stage))
        self.conv2 = nn.Sequential(nn.Conv2d(160, 1280, 1, bias=False), nn.BatchNorm2d(1280), nn.ReLU(inplace=True))
        self.classifier = nn.Sequential(nn.Linear(1280, classes))

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv1(x)
        for block in self.blocks:
            x = block(x)
        return self.classifier(functional.adaptive_avg_pool2d(self.conv2(x), 1).flatten(1))


def shuffle(x: Tensor) -> Tensor:
    count, channels, height, width = x.shape
    return x.view(count, 2, channels // 2, height, width).permute(0, 2, 1, 3, 4).reshape(count, channels, height, width)


class DistillerShuffleBlock(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        half = channels // 2
        for number, groups in ((1, 1), (2, half), (3, 1)):
            kernel = 3 if groups > 1 else 1
            self.add_module(f"conv{number}", nn.Conv2d(half, half, kernel, padding=kernel // 2, groups=groups, bias=False))
            self.add_module(f"bn{number}", nn.BatchNorm2d(half))

    def forward(self, x: Tensor) -> Tensor:
        kept, out = x.chunk(2, 1)
        out = self.bn2(self.conv2(functional.relu(self.bn1(self.conv1(out)))))
        return shuffle(torch.cat([kept, functional.relu(self.bn3(self.conv3(out)))], 1))


class DistillerShuffleDown(nn.Module):
    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        half = width // 2
        for number, (given, made, kernel, stride, groups) in enumerate(
            (
                (channels, channels, 3, 2, channels),
                (channels, half, 1, 1, 1),
                (channels, half, 1, 1, 1),
                (half, half, 3, 2, half),
                (half, half, 1, 1, 1),
            ),
            start=1,
        ):
            self.add_module(f"conv{number}", nn.Conv2d(given, made, kernel, stride, kernel // 2, groups=groups, bias=False))
            self.add_module(f"bn{number}", nn.BatchNorm2d(made))

    def forward(self, x: Tensor) -> Tensor:
        left = functional.relu(self.bn2(self.conv2(self.bn1(self.conv1(x)))))
        right = self.bn4(self.conv4(functional.relu(self.bn3(self.conv3(x)))))
        return shuffle(torch.cat([left, functional.relu(self.bn5(self.conv5(right)))], 1))


class DistillerShuffleNet(nn.Module):
    """ShuffleNet-V2 of width 0.5 of RepDistiller."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.conv1, self.bn1, channels = nn.Conv2d(3, 24, 1, bias=False), nn.BatchNorm2d(24), 24
        for index, (width, count) in enumerate(((48, 3), (96, 7), (192, 3)), start=1):
            blocks = [DistillerShuffleDown(channels, width), *(DistillerShuffleBlock(width) for _ in range(count))]
            self.add_module(f"layer{index}", nn.Sequential(*blocks))
            channels = width
        self.conv2, self.bn2 = nn.Conv2d(192, 1024, 1, bias=False), nn.BatchNorm2d(1024)
        self.linear = nn.Linear(1024, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.layer3(self.layer2(self.layer1(functional.relu(self.bn1(self.conv1(x))))))
        x = functional.relu(self.bn2(self.conv2(x)))
        return self.linear(functional.avg_pool2d(x, x.size(3)).flatten(1))


def small_resnet(name: str = "resnet18", classes: int = CLASSES) -> nn.Module:
    """Return torchvision's ResNet with the stem that RDED and SRe2L give it."""
    network = torchvision.models.get_model(name, num_classes=classes)
    network.conv1 = nn.Conv2d(3, 64, 3, 1, 1, bias=False)
    network.maxpool = nn.Identity()
    return network


# -- one row of the table after another ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("depth", "shape"), [(3, (3, 32, 32)), (4, (3, 64, 64)), (2, (1, 16, 16))])
def test_a_convnet_of_rded(tmp_path: Path, depth: int, shape: Shape) -> None:
    author = scrambled(RdedConvNet(shape, depth, 16, CLASSES))
    assert agrees(author, {"model": author.state_dict()}, tmp_path / "conv.pth", f"convnet{depth}(width=16)", shape)


def test_a_convnet_of_rded_read_into_one_of_another_depth_is_refused(tmp_path: Path) -> None:
    author = RdedConvNet(SMALL, 3, 16, CLASSES)
    torch.save({"model": author.state_dict()}, tmp_path / "conv.pth")
    with pytest.raises(checkpoints.DataError, match=r"does not fit convnet4.*model name\? It looks like convnet3\(width=16\)"):
        loaded(tmp_path / "conv.pth", "convnet4(width=16)", SMALL)


def test_a_resnet_of_sre2l_on_cifar100_comes_from_parallel_training_with_its_accuracy_beside_it(tmp_path: Path) -> None:
    author = scrambled(small_resnet())
    saved = {"state_dict": nn.DataParallel(author).state_dict(), "acc": 77.4, "epoch": 199}
    assert all(name.startswith("module.") for name in saved["state_dict"])
    assert agrees(author, saved, tmp_path / "ckpt.pth", "resnet18-modified", (3, 16, 16))


def test_a_resnet_in_the_style_of_kuangliu(tmp_path: Path) -> None:
    author = scrambled(KuangliuResNet18(CLASSES))
    assert agrees(author, {"net": nn.DataParallel(author).state_dict()}, tmp_path / "ckpt.pth", "resnet18-modified", (3, 16, 16))


def test_a_resnet_of_sre2l_on_tiny_imagenet_lies_beside_its_optimizer_and_a_namespace(tmp_path: Path) -> None:
    author = scrambled(small_resnet())
    optimizer = torch.optim.SGD(author.parameters(), 0.2, momentum=0.9)
    saved = {
        "model": author.state_dict(),
        "optimizer": optimizer.state_dict(),
        "epoch": 49,
        "args": Namespace(data_path="tiny", lr=0.2, mixup_alpha=0.0, device="cuda", distributed=False),
    }
    assert agrees(author, saved, tmp_path / "checkpoint.pth", "resnet18-modified", (3, 16, 16))


@pytest.mark.parametrize(
    ("name", "author", "spec", "sides"),
    [
        ("ResNet18", KuangliuResNet18, "resnet18-modified", (16,)),
        ("ConvNetW128", lambda classes: DcConvNet(SMALL, 3, "batch", classes), "convnet3", (32,)),
        ("ConvNet", lambda classes: DcConvNet(SMALL, 3, "instance", classes), "convnet3(norm=instance)", (32,)),
        ("WRN_16_2", DistillerWideResNet, "wrn-16-2", (32,)),
        ("MobileNetV2", DistillerMobileNet, "mobilenet-v2-x0.5-modified", (32, 64)),
        ("ShuffleNetV2_0_5", DistillerShuffleNet, "shufflenet-v2-x0.5-modified", (32, 64)),
    ],
)
def test_a_teacher_of_gvbsm(tmp_path: Path, name: str, author: Any, spec: str, sides: tuple[int, ...]) -> None:
    network = scrambled(author(CLASSES))
    path = tmp_path / "CIFAR-100" / name / f"squeeze_{name}.pth"
    path.parent.mkdir(parents=True)
    for side in sides:
        assert agrees(network, network.state_dict(), path, spec, (3, side, side))
    assert looks_like(network.state_dict()) == spec


@pytest.mark.parametrize(("depth", "norm", "side"), [(3, "instance", 32), (4, "instance", 64), (3, "batch", 32), (3, "none", 32)])
def test_a_convnet_of_mtt_datm_and_dc_bench(tmp_path: Path, depth: int, norm: str, side: int) -> None:
    author = scrambled(DcConvNet((3, side, side), depth, norm, CLASSES))
    assert agrees(author, author.state_dict(), tmp_path / "net.pt", f"convnet{depth}(norm='{norm}')", (3, side, side))


@pytest.mark.parametrize(("depth", "norm"), [(3, "instance"), (3, "batch"), (4, "none")])
def test_a_convnet_of_dc_for_grey_images_of_28_pixels(tmp_path: Path, depth: int, norm: str) -> None:
    """Its code pads images of one channel by 3 in the first convolution."""
    shape = (1, 28, 28)
    author = scrambled(DcConvNet(shape, depth, norm, CLASSES))
    spec = f"convnet{depth}(norm='{norm}', padding=3)"
    assert agrees(author, author.state_dict(), tmp_path / "net.pt", spec, shape)
    with pytest.raises(DataError, match="wrong image size, or padding\\? Images of one channel are padded by 3"):
        loaded(tmp_path / "net.pt", f"convnet{depth}(norm='{norm}')", shape)


@pytest.mark.parametrize(("spec", "side"), [("convnet3", 32), ("convnet3(padding=3)", 28)])
def test_who_loads_a_grey_convnet_is_told_how_its_images_are_padded(tmp_path: Path, spec: str, side: int) -> None:
    """The same weights fit 32 px padded by 1 and 28 px padded by 3; what is around the image is black there, the mean here."""
    torch.save(DcConvNet((1, 28, 28), 3, "batch", CLASSES).state_dict(), tmp_path / "net.pt")
    network = models.build(spec, (1, side, side), CLASSES)
    (note,) = checkpoints.fit(tmp_path / "net.pt", checkpoints.read(tmp_path / "net.pt"), network, spec).notes
    assert note.startswith(f"padding={3 if side == 28 else 1}: ")


@pytest.mark.parametrize(
    ("author", "spec", "side"),
    [
        ("resnet18", "resnet18", 32),
        ("efficientnet_b0", "efficientnet-b0", 64),
        ("mobilenet_v2", "mobilenet-v2", 64),
        ("shufflenet_v2_x0_5", "shufflenet-v2-x0.5", 64),
        ("swin_v2_t", "swin-v2-tiny", 256),
        ("swin_v2_t", "swin-v2-tiny(windows=pad)", 64),
    ],
)
def test_a_network_of_torchvision(tmp_path: Path, author: str, spec: str, side: int) -> None:
    network = scrambled(torchvision.models.get_model(author, num_classes=CLASSES))
    assert agrees(network, network.state_dict(), tmp_path / f"{author}.pth", spec, (3, side, side))
    assert looks_like(network.state_dict()) == spec.partition("(")[0]


@pytest.mark.parametrize("author", ["efficientnet_b0", "mobilenet_v2"])
def test_a_network_of_torchvision_saved_by_safetensors_which_forgets_the_order(tmp_path: Path, author: str) -> None:
    network = scrambled(torchvision.models.get_model(author, num_classes=CLASSES))
    spec, shape = author.replace("_", "-").replace("netv", "net-v"), (3, 32, 32)
    save_file(network.state_dict(), str(tmp_path / "net.safetensors"))
    ours = loaded(tmp_path / "net.safetensors", spec, shape)
    assert torch.allclose(logits_of(ours, shape), logits_of(network, shape), atol=1e-5)


def test_a_large_resnet_is_known_by_its_blocks() -> None:
    with torch.device("meta"):
        assert looks_like(small_resnet("resnet101").state_dict()) == "resnet101-modified"
        assert looks_like(torchvision.models.resnet34().state_dict()) == "resnet34"
        assert looks_like(torchvision.models.vgg11().state_dict()) == ""


def test_names_that_nobody_knows_are_taken_in_their_order_when_kinds_and_shapes_agree(tmp_path: Path) -> None:
    author = scrambled(DcConvNet(SMALL, 2, "batch", CLASSES, 16))
    renamed = OrderedDict((f"part{i}.{name.rpartition('.')[2]}", t) for i, (name, t) in enumerate(author.state_dict().items()))
    assert agrees(author, renamed, tmp_path / "odd.pth", "convnet2(width=16)", SMALL)
