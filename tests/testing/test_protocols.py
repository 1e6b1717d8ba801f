"""`check_protocol` lets pass what ships, and names what a protocol does wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from harness import NativeProtocol, protocols
from harness.boards.protocol import PROTOCOLS
from harness.testing import CheckFailed, check_protocol


@pytest.fixture
def register() -> Iterator[Callable[[Any], None]]:
    yield lambda thing: protocols.register("mine")(thing)
    protocols.registry.remove("mine")


def says(**changed: Any) -> Callable[[Any], NativeProtocol]:
    usual = {"epochs": 3, "batch_size": 5, "optimizer": "adamw", "schedule": "cosine", "augmentation": "flip"}
    return lambda case: NativeProtocol(**{**usual, **changed})


@pytest.mark.parametrize("name", [name for name in PROTOCOLS if name != "native:datm"])
def test_every_protocol_that_ships_passes(name: str) -> None:
    check_protocol(name)


def test_a_sound_one_passes(register: Any) -> None:
    register(says())
    check_protocol("mine")


@pytest.mark.parametrize(
    ("recipe", "words"),
    [
        (lambda case: None, "returns a NoneType; a NativeProtocol is right"),
        (lambda case: case.nothing, "AttributeError"),
        (says(epochs=0), "0 epochs"),
        (says(batch_size=-1), "batches of -1"),
        (says(normalisation="imagenett"), "did you mean 'imagenet'"),
        (says(optimizer="sgdd"), "no optimizer 'sgdd'"),
        (says(schedule="cosine(minimun=1)"), "no parameter 'minimun'"),
        (says(augmentation="flip+flop"), "no augmentation 'flop'"),
        (says(mixing="cutmixx"), "no mixing 'cutmixx'"),
        (says(optimizer="sgd("), "cannot read 'sgd('"),
    ],
)
def test_what_a_protocol_does_wrong_is_named(register: Any, recipe: Any, words: str) -> None:
    register(recipe)
    with pytest.raises(CheckFailed, match="protocol 'mine'") as caught:
        check_protocol("mine")
    assert words in str(caught.value)


def test_one_that_draws_is_named(register: Any) -> None:
    epochs = iter(range(1, 100))
    register(lambda case: says(epochs=next(epochs))(case))
    with pytest.raises(CheckFailed, match="something else the second time"):
        check_protocol("mine")
