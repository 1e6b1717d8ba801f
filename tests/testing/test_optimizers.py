"""`check_optimizer` and `check_schedule` let pass what ships, and name what an optimizer or a schedule does wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch.optim import SGD
from torch.optim.lr_scheduler import LambdaLR

from harness import optimizers
from harness.testing import CheckFailed, check_optimizer, check_schedule

Register = Callable[[Any], None]


@pytest.fixture
def optimizer() -> Iterator[Register]:
    yield lambda thing: optimizers.registry.register("mine")(thing)
    optimizers.registry.remove("mine")


@pytest.fixture
def schedule() -> Iterator[Register]:
    yield lambda thing: optimizers.schedules.register("mine")(thing)
    optimizers.schedules.remove("mine")


@pytest.mark.parametrize("name", [*optimizers.registry.names(), "timm/lion"])
def test_every_optimizer_that_ships_passes(name: str) -> None:
    check_optimizer(name)


@pytest.mark.parametrize("name", optimizers.schedules.names())
def test_every_schedule_that_ships_passes(name: str) -> None:
    check_schedule(name)


def test_parameters_are_passed_on() -> None:
    check_optimizer("sgd(momentum=0.0)", lr=0.01)
    check_schedule("warmup-cosine", warmup=3)


class Waiting(SGD):
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        float(self.param_groups[0]["params"][0].sum().item())
        super().step()


class Forgetful(SGD):
    def load_state_dict(self, state_dict: Any) -> None: ...


class Drawing(SGD):
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        super().step()
        with torch.no_grad():
            self.param_groups[0]["params"][0].add_(torch.randn(()))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda model: None, "is a NoneType; return a torch.optim.Optimizer"),
        (lambda model: SGD([next(model.parameters())], lr=0.1), "leaves 0.bias"),
        (lambda model: SGD(model.parameters(), lr=0.0), "learning rates"),
        (lambda model: SGD(model.parameters(), lr=1e30), "not finite"),
        (lambda model: Waiting(model.parameters(), lr=0.1), "makes the host wait"),
        (lambda model: Drawing(model.parameters(), lr=0.1), "other weights for the same steps"),
        (lambda model: Forgetful(model.parameters(), lr=0.1, momentum=0.9), "does not go on from its state_dict()"),
        (lambda model: [][1], "fails to be made: IndexError"),
    ],
)
def test_what_an_optimizer_does_wrong_is_named(optimizer: Register, make: Any, words: str) -> None:
    optimizer(make)
    with pytest.raises(CheckFailed, match="optimizer 'mine'") as caught:
        check_optimizer("mine")
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("factor", "words"),
    [
        (lambda epoch: -1.0 if epoch else 1.0, "finite and at least 0"),
        (lambda epoch: float("nan") if epoch > 5 else 1.0, "finite and at least 0"),
        (lambda epoch: [][epoch] if epoch > 6 else 1.0, "fails to be stepped after epoch 6"),
    ],
)
def test_what_a_schedule_does_wrong_is_named(schedule: Register, factor: Any, words: str) -> None:
    schedule(lambda optimizer, epochs: LambdaLR(optimizer, factor))
    with pytest.raises(CheckFailed, match="schedule 'mine'") as caught:
        check_schedule("mine")
    assert words in str(caught.value)


def test_a_schedule_of_one_group_alone_is_named(schedule: Register) -> None:
    schedule(lambda optimizer, epochs: LambdaLR(optimizer, [lambda epoch: 1.0, lambda epoch: 0.5**epoch]))
    with pytest.raises(CheckFailed, match="in proportion"):
        check_schedule("mine")
