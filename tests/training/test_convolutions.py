"""A convolution that is made in another way gives what it gave, gradients too, and only where there is such a way."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import pytest
import timm
import torch
from torch import Tensor, nn

from harness import models
from harness.models import Shape
from harness.training import convolutions
from harness.training.convolutions import Blocks, Convolution, made_fast
from harness.training.devices import on_device
from harness.training.first_block import FirstBlock
from harness.training.stack import agrees
from harness.training.winograd import Filtered


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(convolutions, "LEAST", 1)


@pytest.fixture
def filtered(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, ...]]:
    """Return the shapes of the images that minimal filtering is given, as they come; four channels and squares are enough."""
    shapes: list[tuple[int, ...]] = []

    class Noted:
        @staticmethod
        def apply(images: Tensor, *rest: Tensor) -> Tensor:
            shapes.append(tuple(images.shape))
            maps: Tensor = Filtered.apply(images, *rest)
            return maps

    for name, value in (("Filtered", Noted), ("CHANNELS", 4), ("SQUARES", 4)):
        monkeypatch.setattr(convolutions, name, value)
    return shapes


def passed(network: nn.Module, images: Tensor) -> list[Tensor]:
    """Return what a network gives and the gradients of its weights and images."""
    seen = images.clone().requires_grad_()
    torch.manual_seed(4)  # of what is dropped
    logits = network(seen)
    weighted = torch.linspace(-1, 1, logits.numel(), dtype=logits.dtype).reshape(logits.shape)
    (logits * weighted).sum().backward()
    gradients = [weight.grad for weight in network.parameters()]
    assert all(gradient is not None for gradient in (*gradients, seen.grad))
    return [logits.detach(), *gradients, seen.grad]  # type: ignore[list-item]


STUDENTS = [
    ("resnet18", (1, 16, 16)),
    ("efficientnet-b0", (1, 16, 16)),
    ("timm/resnet10t", (3, 32, 32)),
    ("convnet3(width=64)", (3, 32, 32)),
]
PRODUCTS = [
    ({"kernel_size": 1}, 5, True),
    ({"kernel_size": 1, "stride": 2}, 5, True),
    ({"kernel_size": 1, "stride": (2, 3), "bias": False}, 7, True),
    ({"kernel_size": 3, "padding": 1}, 1, True),
    ({"kernel_size": 3, "padding": 1, "stride": 2}, 1, True),
    ({"kernel_size": (5, 3), "padding": (4, 1), "dilation": (2, 1)}, 1, True),
    ({"kernel_size": 3, "padding": 1}, 2, True),  # of this class, but no product on such maps
    ({"kernel_size": 1, "groups": 2}, 5, False),
    ({"kernel_size": 3, "padding": 1, "groups": 2}, 1, False),
    ({"kernel_size": 1, "padding": 1}, 5, False),
    ({"kernel_size": 3}, 3, False),
    ({"kernel_size": 3, "padding": "same"}, 1, False),
    ({"kernel_size": 2, "padding": 1}, 1, False),
    ({"kernel_size": 3, "padding": 1, "padding_mode": "reflect"}, 4, False),
    ({"kernel_size": 3, "padding": 1, "padding_mode": "circular"}, 1, False),
]


@pytest.mark.parametrize(("options", "size", "expected"), PRODUCTS, ids=str)
def test_results_and_gradients_are_those_of_the_convolution(options: dict[str, Any], size: int, expected: bool) -> None:
    torch.manual_seed(1)
    network = on_device(nn.Sequential(nn.Conv2d(4, 6, **options)).double(), "cpu")
    plain = copy.deepcopy(network)
    assert made_fast(network) is isinstance(network[0], Convolution) is expected
    images = torch.randn(3, 4, size, size, dtype=torch.float64).contiguous(memory_format=torch.channels_last)
    for ours, theirs in zip(passed(network, images), passed(plain, images), strict=True):
        assert ours.shape == theirs.shape
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)
    assert torch.equal(network.eval()(images), plain.eval()(images)), "a test is what it was, to the bit"


@pytest.mark.parametrize(("model", "shape"), STUDENTS)
def test_a_student_learns_what_it_learned(model: str, shape: Shape) -> None:
    torch.manual_seed(0)
    network = on_device(models.build(model, shape, 10).double(), "cpu")
    plain = copy.deepcopy(network)
    made_fast(network)
    images = torch.randn(4, *shape, dtype=torch.float64).contiguous(memory_format=torch.channels_last)
    for ours, theirs in zip(passed(network, images), passed(plain, images), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-8)
    assert any(isinstance(module, Convolution) for module in network.modules())
    assert network.state_dict().keys() == plain.state_dict().keys()
    assert all(type(module) is nn.Conv2d for module in plain.modules() if isinstance(module, nn.Conv2d))


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(("kernel", "stride"), [(3, 1), (5, 2)])
def test_of_a_channel_by_itself_a_single_place_is_scaled(kernel: int, stride: int, bias: bool) -> None:
    torch.manual_seed(3)
    conv = nn.Conv2d(6, 6, kernel, stride, kernel // 2, groups=6, bias=bias)
    network = on_device(nn.Sequential(conv).double(), "cpu")
    plain = copy.deepcopy(network)
    assert made_fast(network)
    for side in (1, 3):
        images = torch.randn(2, 6, side, side, dtype=torch.float64)
        for ours, theirs in zip(passed(network, images), passed(plain, images), strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)
        network.zero_grad()
        plain.zero_grad()


def test_small_convolutions_stay_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(convolutions, "LEAST", 1 << 14)
    sizes = [(127, 129, 5), (128, 127, 5), (128, 128, 5), (64, 63, 3), (64, 64, 3)]
    network = nn.Sequential(*(nn.Conv2d(given, made, side, padding=side // 2) for given, made, side in sizes))
    assert made_fast(network)
    assert [isinstance(module, Convolution) for module in network] == [False, False, True, False, True]
    assert not made_fast(models.build("convnet3(width=16)", (1, 16, 16), 10))


def test_a_subclass_stays_what_it_is() -> None:
    network = nn.Sequential(timm.layers.Conv2dSame(4, 4, 1))
    assert not made_fast(network)
    assert type(network[0]) is timm.layers.Conv2dSame


def fast(**options: Any) -> nn.Sequential:
    torch.manual_seed(2)
    arguments = {"in_channels": 4, "out_channels": 6, "kernel_size": 3, "padding": 1, **options}
    network = on_device(nn.Sequential(nn.Conv2d(**arguments)), "cpu")
    assert made_fast(network)
    return network


@pytest.mark.parametrize("bias", [True, False])
def test_what_is_filtered_is_the_convolution(filtered: list[tuple[int, ...]], bias: bool) -> None:
    network = fast(bias=bias).double()
    plain = nn.Sequential(nn.Conv2d(4, 6, 3, padding=1, bias=bias)).double()
    plain.load_state_dict(network.state_dict())
    images = torch.randn(2, 4, 8, 8, dtype=torch.float64)
    for ours, theirs in zip(passed(network, images), passed(plain, images), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-10)
    assert filtered == [(2, 4, 8, 8)]


CASES = [
    ({}, (1, 4, 8, 8), True),
    ({"stride": 2}, (4, 4, 8, 8), False),
    ({"dilation": 2, "padding": 2}, (4, 4, 8, 8), False),
    ({"kernel_size": 5, "padding": 2}, (4, 4, 8, 8), False),
    ({}, (1, 4, 8, 4), False),  # two squares
    ({}, (1, 4, 7, 8), False),  # seven eighths of four channels
    ({}, (4, 4, 1, 1), False),  # a product
    ({"out_channels": 16, "in_channels": 16}, (4, 16, 3, 3), True),
    ({"out_channels": 16, "in_channels": 16}, (4, 16, 2, 2), False),  # a quarter of a square
]


@pytest.mark.parametrize(("options", "shape", "expected"), CASES, ids=str)
def test_filtered_is_what_is_large_enough(
    filtered: list[tuple[int, ...]], options: dict[str, Any], shape: tuple[int, ...], expected: bool
) -> None:
    network = fast(**options)
    network(torch.randn(shape))
    assert filtered == [shape] * expected
    network.eval()(torch.randn(shape))
    assert len(filtered) == expected, "a test is what it was"


def test_under_autocast_a_convolution_is_torchs(filtered: list[tuple[int, ...]]) -> None:
    with torch.autocast("cpu", torch.bfloat16):
        assert fast()(torch.randn(4, 4, 8, 8)).dtype == torch.bfloat16
    fast().bfloat16()(torch.randn(4, 4, 8, 8).bfloat16())
    assert filtered == []


@pytest.mark.parametrize("groups", [1, 4])
def test_under_autocast_a_single_place_has_the_type_that_torch_gives_it(groups: int) -> None:
    network = nn.Sequential(nn.Conv2d(4, 4, 3, padding=1, groups=groups))
    plain, images = copy.deepcopy(network), torch.randn(2, 4, 1, 1)
    assert made_fast(network)
    with torch.autocast("cpu", torch.bfloat16):
        ours, theirs = network(images), plain(images)
    assert ours.dtype == theirs.dtype == torch.bfloat16
    torch.testing.assert_close(ours, theirs, rtol=0.02, atol=0.02)


def test_students_of_a_stack_make_theirs_as_torch_does(filtered: list[tuple[int, ...]]) -> None:
    students = [fast(), fast()]
    assert agrees(students, torch.randn(4, 4, 8, 8))
    assert {shape[0] for shape in filtered} == {4}, "each alone, and no more"
    assert len(filtered) == 2


def test_a_tap_of_stacked_students_has_a_gradient() -> None:
    weights = torch.randn(3, 5, 4, 3, 3, dtype=torch.float64, requires_grad=True)
    taps = torch.func.vmap(lambda weight: convolutions.Tap.apply(weight, 1, 2))(weights)
    assert torch.equal(taps, weights[:, :, :, 1, 2])
    (gradient,) = torch.autograd.grad(taps.square().sum(), weights)
    assert torch.equal(gradient[:, :, :, 1, 2], 2 * weights[:, :, :, 1, 2])
    gradient[:, :, :, 1, 2] = 0
    assert not gradient.any()


# -- a first block in one ----------------------------------------------------------------------------------------------------


@pytest.fixture
def in_one(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, ...]]:
    """Return the shapes of the images of which first blocks are made in one, as they come; few values are enough."""
    shapes: list[tuple[int, ...]] = []

    class Noted:
        @staticmethod
        def apply(images: Tensor, *rest: Any) -> Any:
            shapes.append(tuple(images.shape))
            return FirstBlock.apply(images, *rest)

    monkeypatch.setattr(convolutions, "FirstBlock", Noted)
    monkeypatch.setattr(convolutions, "HELD", 8 * 8 * 27 * 3)
    return shapes


def trained(network: nn.Module, images: Tensor) -> list[Tensor]:
    """Return logits, gradients and buffers after two passes of a network that is trained, and what it gives in a test."""
    for part in images.chunk(2):
        logits = network.train()(part)
        (logits * torch.linspace(-1, 1, logits.numel(), dtype=logits.dtype).reshape(logits.shape)).sum().backward()
    gradients = [weight.grad for weight in network.parameters() if weight.grad is not None]
    return [logits.detach(), *gradients, *network.buffers(), network.eval()(images).detach()]


@pytest.mark.parametrize(
    ("model", "shape"), [("convnet3(width=27)", (1, 8, 8)), ("convnet2(padding=3, width=30)", (1, 6, 6)), ("convnet3", (3, 8, 8))]
)
def test_a_convnet_learns_and_remembers_what_it_did(in_one: list[tuple[int, ...]], model: str, shape: Shape) -> None:
    torch.manual_seed(0)
    network = on_device(models.build(model, shape, 10).double(), "cpu")
    plain, images = copy.deepcopy(network), torch.randn(6, *shape, dtype=torch.float64)
    assert made_fast(network)
    assert network.state_dict().keys() == plain.state_dict().keys()
    ours, theirs = trained(network, images), trained(plain, images)
    assert len(ours) == len(theirs)
    for own, its in zip(ours, theirs, strict=True):
        torch.testing.assert_close(own, its, rtol=1e-8, atol=1e-9)
    assert in_one == [(3, *shape)] * 2, "in training alone"


def block(conv: Mapping[str, Any], norm: Mapping[str, Any], pool: nn.Module) -> nn.Sequential:
    arguments = {"kernel_size": 3, "padding": 1, **conv}
    return nn.Sequential(nn.Conv2d(1, 27, **arguments), nn.BatchNorm2d(27, **norm), nn.ReLU(), pool, nn.Flatten())


@pytest.mark.parametrize(
    "network",
    [
        block({"kernel_size": 5, "padding": 2}, {}, nn.AvgPool2d(2)),
        block({"stride": 2}, {}, nn.AvgPool2d(2)),
        block({"padding": 0}, {}, nn.AvgPool2d(2)),
        block({"padding": "same"}, {}, nn.AvgPool2d(2)),
        block({"padding_mode": "reflect"}, {}, nn.AvgPool2d(2)),
        block({}, {"affine": False}, nn.AvgPool2d(2)),
        block({}, {"momentum": None}, nn.AvgPool2d(2)),
        block({}, {"track_running_stats": False}, nn.AvgPool2d(2)),
        block({}, {}, nn.MaxPool2d(2)),
        block({}, {}, nn.AvgPool2d(3)),
        block({}, {}, nn.AvgPool2d(2, 1)),
        block({}, {}, nn.AvgPool2d(2, ceil_mode=True)),
        block({}, {}, nn.AvgPool2d(2, divisor_override=3)),
        nn.Sequential(nn.Conv2d(1, 20, 3, padding=1), nn.BatchNorm2d(20), nn.ReLU(), nn.AvgPool2d(2)),
        nn.Sequential(nn.Conv2d(1, 27, 3, padding=1), nn.BatchNorm2d(27), nn.ReLU()),
        nn.Sequential(nn.Conv2d(1, 27, 3, padding=1), nn.ReLU(), nn.BatchNorm2d(27), nn.AvgPool2d(2)),
    ],
    ids=range(16),
)
def test_what_is_no_such_block_stays_what_it_is(network: nn.Sequential) -> None:
    made_fast(network)
    assert type(network) is nn.Sequential


def first() -> nn.Sequential:
    network = block({}, {}, nn.AvgPool2d(2))
    assert made_fast(network)
    assert type(network) is Blocks
    return network


def test_in_one_is_what_is_large_enough_and_can_be(in_one: list[tuple[int, ...]]) -> None:
    first()(torch.randn(3, 1, 8, 8))
    assert in_one == [(3, 1, 8, 8)]
    in_one.clear()
    for images in (torch.randn(2, 1, 8, 8), torch.randn(3, 1, 9, 9), torch.randn(3, 1, 8, 8).requires_grad_()):
        first()(images)
    with torch.autocast("cpu", torch.bfloat16):
        first()(torch.randn(3, 1, 8, 8))
    network = first()
    network[1].eval()
    network(torch.randn(3, 1, 8, 8))
    assert in_one == []


def test_students_of_a_stack_make_their_first_blocks_as_torch_does(in_one: list[tuple[int, ...]]) -> None:
    assert agrees([first(), first()], torch.randn(3, 1, 8, 8))
    assert in_one == [(3, 1, 8, 8)] * 2, "each alone, and no more"


def test_who_listens_to_a_module_of_a_block_hears_of_it(in_one: list[tuple[int, ...]]) -> None:
    network, heard = first(), []
    network[2].register_forward_hook(lambda module, given, maps: heard.append(maps.shape))
    network(torch.randn(3, 1, 8, 8))
    assert heard == [(3, 27, 8, 8)]
    assert in_one == []


def test_a_block_without_a_bias_has_none(in_one: list[tuple[int, ...]]) -> None:
    network = block({"bias": False}, {}, nn.AvgPool2d(2)).double()
    plain, images = copy.deepcopy(network), torch.randn(6, 1, 8, 8, dtype=torch.float64)
    assert made_fast(network)
    for own, its in zip(trained(network, images), trained(plain, images), strict=True):
        torch.testing.assert_close(own, its, rtol=1e-8, atol=1e-9)
    assert len(in_one) == 2
