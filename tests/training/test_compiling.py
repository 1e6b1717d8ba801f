"""Students whose passes are compiled: where that pays, and only where it changes no number beyond float noise."""

from __future__ import annotations

import copy
import logging
import os
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from harness.training import compiling
from harness.training.compiling import Compiler, Gain, pays
from harness.training.devices import device_name

SHAPE = (1, 4, 4)


def student() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.Flatten(), nn.Dropout(0.5), nn.Linear(12, 2))


def compiler(monkeypatch: pytest.MonkeyPatch, factor: float = 1.0, broken: str = "") -> Compiler:
    """Return one whose compiled students answer so many times what they should, or cannot be compiled."""

    def fake(network: nn.Module, **_: object) -> Callable[[Tensor], Tensor]:
        if broken:
            raise RuntimeError(broken)
        return lambda images: network(images) * factor

    monkeypatch.setattr(torch, "compile", fake)
    return Compiler()


@pytest.mark.skipif(not os.environ.get("GIFTBENCH_COMPILES"), reason="takes a C++ compiler and a minute: tox run -e compiles")
def test_a_compiled_student_gives_its_own_logits_and_learns() -> None:
    network, before = student(), torch.get_rng_state()
    forward = Compiler().forward(network, SHAPE, {6}, "float32")
    assert forward is not None
    assert torch.equal(torch.get_rng_state(), before)
    images, plain = torch.randn(6, *SHAPE), copy.deepcopy(network)
    for own, way in ((network, forward), (plain, plain)):
        torch.manual_seed(1)
        way(images).square().sum().backward()
        assert all(parameter.grad is not None for parameter in own.parameters())
    for own, its in zip(network.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(own.grad, its.grad)
    for own, its in zip(network.buffers(), plain.buffers(), strict=True):
        torch.testing.assert_close(own, its)


def test_asking_leaves_a_students_state_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    network = student().eval()
    before, drawn = copy.deepcopy(network.state_dict()), torch.get_rng_state()
    assert compiler(monkeypatch).forward(network, SHAPE, {6, 4}, "float32") is not None
    assert torch.equal(torch.get_rng_state(), drawn)
    assert not network.training
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert all(parameter.grad is None for parameter in network.parameters())


@pytest.mark.parametrize(
    ("how", "why"), [({"broken": "no working C++ compiler"}, "no working C++ compiler"), ({"factor": 1.01}, "other numbers than")]
)
def test_what_cannot_be_compiled_to_the_same_numbers_is_trained_as_it_is_and_said_once(
    how: dict[str, Any], why: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = compiler(monkeypatch, **how)
    with caplog.at_level(logging.WARNING, logger="giftbench"):
        for _ in range(2):
            assert own.forward(student(), SHAPE, {6}, "float32") is None
    (record,) = caplog.records
    assert record.getMessage().startswith("trained without torch.compile: ")
    assert why in record.getMessage()


def test_float_noise_is_no_change(monkeypatch: pytest.MonkeyPatch) -> None:
    assert compiler(monkeypatch, 1 + 1e-5).forward(student(), SHAPE, {6}, "float32") is not None


def test_a_student_of_no_known_gain_is_not_worth_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiling, "GAINS", {})
    assert not pays("mine", 32, 10**12, {50})


@pytest.mark.parametrize(("side", "sizes", "passed"), [(16, {50}, 40_000), (32, {50}, 10_000), (16, {50, 20}, 80_000)])
def test_compiling_pays_from_twice_its_cost_on(monkeypatch: pytest.MonkeyPatch, side: int, sizes: set[int], passed: int) -> None:
    """20 seconds of compiling a size; a pass of 50 images of 16 px takes 50 ms less: 1 ms an image, four times that at 32 px."""
    monkeypatch.setattr(compiling, "GAINS", {(device_name("cpu"), "mine"): Gain(16, 50, 20.0, 0.15, 0.1)})
    assert pays("mine", side, passed + 1, sizes)
    assert not pays("mine", side, passed - 1, sizes)


def test_a_gain_on_another_processor_is_none_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiling, "GAINS", {("CPU of another kind", "mine"): Gain(16, 50, 20.0, 0.15, 0.1)})
    assert not pays("mine", 32, 10**12, {50})


def test_every_gain_in_the_table_is_one_of_a_tenth() -> None:
    assert all(gain.compiled <= 0.9 * gain.plain and gain.compiling > 0 for gain in compiling.GAINS.values())
