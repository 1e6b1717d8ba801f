"""`check_augmentation` lets pass what ships, and names what a step does wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch

from harness import augmentations
from harness.augmentation.words import STEPS
from harness.testing import CheckFailed, check_augmentation


@pytest.fixture
def register() -> Iterator[Callable[[Any], None]]:
    yield lambda thing: augmentations.register("mine")(thing)
    augmentations.registry.remove("mine")


@pytest.mark.parametrize("name", [name for name in STEPS if name != "torchvision-rand-augment"])
def test_every_step_that_ships_passes(name: str) -> None:
    """But for RandAugment, which on a CPU, where nothing waits, looks up which images each operation was drawn for."""
    check_augmentation(name if name != "flip" else "flip+pad-crop")


def in_place(batch: torch.Tensor, generator: Any) -> torch.Tensor:
    return batch.mul_(0.5)


def of_the_default_stream(batch: torch.Tensor, generator: Any) -> torch.Tensor:
    return batch + torch.rand(len(batch), 1, 1, 1)


def of_one_stream(batch: torch.Tensor, generator: Any) -> torch.Tensor:
    return batch + torch.rand(batch.shape, generator=generator)


def of_the_whole_batch(batch: torch.Tensor, generator: Any) -> torch.Tensor:
    return batch - batch.mean()


def waiting(batch: torch.Tensor, generator: Any) -> torch.Tensor:
    return batch * float(batch.max())


@pytest.mark.parametrize(
    ("step", "words"),
    [
        (lambda batch, generator: batch[:, :, 1:], "return a batch of the same shape and type"),
        (lambda batch, generator: batch.double(), "return a batch of the same shape and type"),
        (lambda batch, generator: None, "returns NoneType"),
        (lambda batch, generator: batch / 0, "not finite"),
        (lambda batch, generator: batch.nothing, "fails on a batch"),
        (in_place, "changes the batch that it is given"),
        (of_the_default_stream, "draw from that alone"),
        (of_one_stream, "fails for two trainings at once"),
        (of_the_whole_batch, "draw by harness.augmentations.uniforms"),
        (waiting, "makes the host wait"),
    ],
)
def test_what_a_step_does_wrong_is_named(register: Any, step: Any, words: str) -> None:
    register(step)
    with pytest.raises(CheckFailed, match="augmentation 'mine'") as caught:
        check_augmentation("mine")
    assert words in str(caught.value)


def test_parameters_are_passed_on(register: Any) -> None:
    def mine(batch: torch.Tensor, generator: Any, *, strength: float = 0.0) -> torch.Tensor:
        return batch + (0 if strength == 0 else float("nan"))

    register(mine)
    check_augmentation("mine")
    with pytest.raises(CheckFailed, match="not finite"):
        check_augmentation("mine", strength=0.5)
