"""Protocols by name: a plugin's is asked as a native one is, a board may say any field otherwise, a record needs no plugin."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from harness import Case, NativeProtocol, protocols
from harness.boards.protocol import PROTOCOLS, Protocol
from harness.boards.recipes import FIXED, asked, authors_statistics, registry
from harness.core.errors import PluginError, UnknownName


@pytest.fixture
def mine() -> Iterator[None]:
    @protocols.register("mine")
    def of_case(case: Case) -> NativeProtocol:
        """Longer for small sets."""
        return NativeProtocol(
            1000 // case.images, min(case.images, 50), "sgd(lr=0.5)", "cosine", "flip+pad-crop", "mixup", normalisation="imagenet"
        )

    yield
    registry.remove("mine")


def test_all_that_ship_are_registered_and_described() -> None:
    assert set(PROTOCOLS) == {name for name in registry.names() if registry.origin(name) == "giftbench"}
    assert set(FIXED) <= set(PROTOCOLS)
    assert all(registry.describe(name).summary for name in PROTOCOLS)


def test_a_plugins_protocol_is_asked_about_the_set(mine: None) -> None:
    protocol = Protocol.model_validate("mine")
    small, large = (protocol.resolved(images, "cifar10", classes=10) for images in (10, 100))
    assert (small.epochs, small.batch_size, large.epochs, large.batch_size) == (100, 10, 10, 50)
    assert (str(small.optimizer), str(small.schedule)) == ("sgd(lr=0.5)", "cosine")
    assert (small.augmentation, small.mixing, small.normalisation) == ("flip+pad-crop(padding=4)", "mixup(alpha=0.8)", "imagenet")
    assert protocol.label == "mine"
    assert authors_statistics("mine", "cifar10") == ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def test_a_board_may_say_any_field_otherwise(mine: None) -> None:
    protocol = Protocol.model_validate({"name": "mine", "epochs": 7, "mixing": "none", "optimizer": "adamw"})
    whole = protocol.resolved(10, "cifar10", classes=10)
    assert (whole.epochs, whole.mixing, whole.optimizer.name, whole.schedule.name) == (7, "none", "adamw", "cosine")


def test_a_record_is_read_where_the_plugin_is_not(mine: None) -> None:
    whole = Protocol.model_validate("mine").resolved(10, "cifar10", classes=10)
    content = whole.model_dump(mode="json")
    registry.remove("mine")
    try:
        assert Protocol.of_setup(content).model_dump(mode="json") == content
        board = Protocol.model_validate("mine")
        assert board.label == "mine"
        with pytest.raises(UnknownName, match="no protocol 'mine'"):
            board.resolved(10, "cifar10", classes=10)
        assert authors_statistics("mine", "cifar10") is None
    finally:
        protocols.register("mine")(lambda case: case)


def test_what_ships_cannot_be_replaced() -> None:
    for name in ("paper", "native:rded", "neutral:soft"):
        with pytest.raises(PluginError, match=f"two protocols are named '{name}'"):
            protocols.register(name)(lambda case: case)


def test_a_plugin_that_fails_is_one_line() -> None:
    protocols.register("broken")(lambda case: case.images / 0)
    try:
        with pytest.raises(PluginError, match=r"\Aprotocol 'broken': ZeroDivisionError: division by zero\Z"):
            asked("broken", Case(10, "cifar10", 10))
    finally:
        registry.remove("broken")
