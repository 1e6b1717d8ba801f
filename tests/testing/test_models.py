"""The kit's check of a model: what is wrong is told, what is right passes."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy
import pytest
import torch
from torch import Tensor, nn

from harness.core.errors import BadOption
from harness.testing import CheckFailed, check_model
from tests.testing.fails import Fails

calls = itertools.count()


class Small(nn.Module):
    """A student that is good in every way."""

    def __init__(self, shape: tuple[int, int, int], classes: int) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(shape[0], 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.AdaptiveAvgPool2d(2))
        self.head = nn.Linear(16, classes)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.head(self.body(images).flatten(1))
        return logits


def building(network: type[nn.Module]) -> Callable[..., nn.Module]:
    """Return a function that makes such networks."""
    return lambda shape, classes: network(shape, classes)


def small(shape: tuple[int, int, int], classes: int, *, width: int = 4, rates: Any = (0.1, 0.2)) -> nn.Module:
    return Small(shape, classes)


class Wide(Small):
    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images).repeat(1, 2)


class Gray(Small):
    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images[:, :2])


class Sixteen(Small):
    def __init__(self, shape: tuple[int, int, int], classes: int) -> None:
        super().__init__(shape, classes)
        self.head = nn.Linear(4 * 16 * 16, classes)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.body[:3](images).flatten(1))  # type: ignore[no-any-return]


class Idle(Small):
    def __init__(self, shape: tuple[int, int, int], classes: int) -> None:
        super().__init__(shape, classes)
        self.idle = nn.Linear(2, 2)


class Frozen(Small):
    def __init__(self, shape: tuple[int, int, int], classes: int) -> None:
        super().__init__(shape, classes)
        self.requires_grad_(False)
        self.scale = torch.ones((), requires_grad=True)

    def forward(self, images: Tensor) -> Tensor:
        return self.scale * super().forward(images)


class Unseeded(Small):
    def __init__(self, shape: tuple[int, int, int], classes: int) -> None:
        super().__init__(shape, classes)
        weights = numpy.random.default_rng().standard_normal((classes, 16))
        self.head.weight.data.copy_(torch.from_numpy(weights))


class Constant(Small):
    def __init__(self, shape: tuple[int, int, int], classes: int) -> None:
        super().__init__(shape, classes)
        for parameter in self.parameters():
            nn.init.constant_(parameter, 0.1)


class Hiding(Small):
    def __init__(self, shape: tuple[int, int, int], classes: int) -> None:
        super().__init__(shape, classes)
        self.hidden = torch.randn(classes)

    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images) + self.hidden.to(images.device)


class Single(Small):
    def forward(self, images: Tensor) -> Tensor:
        logits = super().forward(images)
        return torch.zeros_like(logits, dtype=torch.float32).index_add(0, torch.arange(len(logits)), logits)


class Infinite(Small):
    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images) + (0 if self.training else torch.inf)


class Steep(Small):
    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images) + (self.head.bias - self.head.bias.detach()).sqrt()


class Waiting(Small):
    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images if images.mean() > 0 else -images)


class Same(tuple[float, ...]):
    """Rates that are equal to all others."""

    __hash__ = tuple.__hash__

    def __eq__(self, other: object) -> bool:
        return True

    def __ne__(self, other: object) -> bool:
        return False


SAME = Same((0.1, 0.2))


def shameless(shape: tuple[int, int, int], classes: int, *, rates: Any = SAME) -> nn.Module:
    return Small(shape, classes)


BAD_MODELS: dict[str, tuple[Callable[..., Any], str]] = {
    "no module": (lambda shape, classes: "network", "is built as a str for images [1, 16, 16]"),
    "no builder": (lambda shape: Small(shape, 10), "fails to build for images [1, 16, 16]: TypeError"),
    "too wide": (Wide, "returns [4, 20] in train mode; return one row of logits an image, [4, 10]"),
    "two channels": (Gray, "on images [4, 3, 16, 16] in train mode: RuntimeError"),
    "one size": (Sixteen, "on images [4, 1, 32, 32] in train mode: RuntimeError"),
    "an idle layer": (Idle, "has a parameter that no gradient reaches, idle.weight"),
    "nothing learns": (Frozen, "has no parameter that learns"),
    "no seed": (Unseeded, "has other weights when it is built again after the same torch.manual_seed"),
    "one seed": (Constant, "has the same weights after another torch.manual_seed"),
    "outside the state": (Hiding, "answers otherwise once its state_dict is loaded into another"),
    "float32 alone": (Single, "under bf16 autocast: RuntimeError"),
    "not finite": (Infinite, "returns logits that are not finite in eval mode"),
    "infinite gradient": (Steep, "has a gradient that is not finite at head.bias"),
    "waiting": (Waiting, "makes the host wait for the device (item(), or an if on a tensor)"),
    "one label": (shameless, "has the same label whatever rates is"),
}


@pytest.mark.parametrize("what", BAD_MODELS)
def test_a_bad_model_is_told_what_is_wrong(what: str) -> None:
    model, words = BAD_MODELS[what]
    Fails(words)(check_model, building(model) if isinstance(model, type) else model)


def test_randomness_in_eval_mode_is_told() -> None:
    with pytest.raises(CheckFailed, match="gives two answers to the same images in eval mode"):
        check_model(building(Alternating))


class Alternating(Small):
    """Counts its calls; the global random stream would be the same for each."""

    calls = 0

    def forward(self, images: Tensor) -> Tensor:
        self.calls += 1
        return super().forward(images) + self.calls % 2


def test_good_models_pass_by_name_and_as_functions() -> None:
    check_model(small)
    check_model(small, width=8, classes=3, shape=(3, 8, 8))
    check_model("convnet1(width=4)", norm="instance")
    Fails("model 'Small' is a class; register a function model(shape, classes, *, option=default)")(check_model, Small)
    with pytest.raises(BadOption, match="has no parameter 'depth'"):
        check_model(small, depth=3)
