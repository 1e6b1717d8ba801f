"""A convolution that is made as a product gives what it gave, gradients too, and only where it is a product."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import timm
import torch
from torch import Tensor, nn

from harness import models
from harness.models import Shape
from harness.training import products
from harness.training.devices import on_device
from harness.training.products import Product, as_products


class Timm(nn.Sequential):
    """A network that timm made, as far as can be told."""

    __module__ = "timm.models.some"


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(products, "LEAST", 1)


def passed(network: nn.Module, images: Tensor) -> list[Tensor]:
    """Return what a network gives and the gradients of its weights and images."""
    seen = images.clone().requires_grad_()
    logits = network(seen)
    weighted = torch.linspace(-1, 1, logits.numel(), dtype=logits.dtype).reshape(logits.shape)
    (logits * weighted).sum().backward()
    gradients = [weight.grad for weight in network.parameters()]
    assert all(gradient is not None for gradient in (*gradients, seen.grad))
    return [logits.detach(), *gradients, seen.grad]  # type: ignore[list-item]


PRODUCTS = [
    ({"kernel_size": 1}, 5, True),
    ({"kernel_size": 1, "stride": 2}, 5, True),
    ({"kernel_size": 1, "stride": (2, 3), "bias": False}, 7, True),
    ({"kernel_size": 3, "padding": 1}, 1, True),
    ({"kernel_size": 3, "padding": 1, "stride": 2}, 1, True),
    ({"kernel_size": (5, 3), "padding": (4, 1), "dilation": (2, 1)}, 1, True),
    ({"kernel_size": 3, "padding": 1}, 2, True),  # of this class, but no product on such maps
    ({"kernel_size": 1, "groups": 2}, 5, False),
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
    network = on_device(Timm(nn.Conv2d(4, 6, **options)).double(), "cpu")
    plain = copy.deepcopy(network)
    assert isinstance(as_products(network)[0], Product) is expected  # type: ignore[index]
    images = torch.randn(3, 4, size, size, dtype=torch.float64).contiguous(memory_format=torch.channels_last)
    for ours, theirs in zip(passed(network, images), passed(plain, images), strict=True):
        assert ours.shape == theirs.shape
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)
    assert torch.equal(network.eval()(images), plain.eval()(images)), "a test is what it was, to the bit"


@pytest.mark.parametrize(("model", "shape"), [("resnet18", (1, 16, 16)), ("timm/resnet10t", (3, 32, 32))])
def test_a_student_of_timm_learns_what_it_learned(model: str, shape: Shape) -> None:
    torch.manual_seed(0)
    network = on_device(models.build(model, shape, 10).double(), "cpu")
    plain = copy.deepcopy(network)
    as_products(network)
    images = torch.randn(4, *shape, dtype=torch.float64).contiguous(memory_format=torch.channels_last)
    for ours, theirs in zip(passed(network, images), passed(plain, images), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-9)
    assert any(isinstance(module, Product) for module in network.modules())
    assert network.state_dict().keys() == plain.state_dict().keys()
    assert all(type(module) is nn.Conv2d for module in plain.modules() if isinstance(module, nn.Conv2d))


def test_students_of_others_and_small_convolutions_stay_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    ours = as_products(models.build("convnet3(width=8)", (1, 8, 8), 10))
    theirs = as_products(nn.Sequential(nn.Conv2d(4, 6, 1)))
    monkeypatch.setattr(products, "LEAST", 25)
    small = as_products(Timm(nn.Conv2d(4, 6, 1), nn.Conv2d(5, 5, 1)))
    assert not any(isinstance(module, Product) for network in (ours, theirs) for module in network.modules())
    assert [isinstance(module, Product) for module in small.children()] == [False, True]


def test_a_subclass_of_timm_stays_what_it_is() -> None:
    network = Timm(timm.layers.Conv2dSame(4, 4, 1))
    assert type(as_products(network)[0]) is timm.layers.Conv2dSame  # type: ignore[index]
