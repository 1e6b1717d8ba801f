"""Protocols: the paper's rule, what authors or a set's stored augmentations fill in, and what of one is written down."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from harness.boards.native import NATIVE_PROTOCOLS
from harness.boards.protocol import ADDED_LATER, NATIVE, PROTOCOLS, Protocol
from harness.core.errors import BoardError, UnknownName
from harness.core.spec import Spec

FIELDS = ("optimizer", "schedule", "augmentation", "mixing")


# -- the paper's rule --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("images", "batch"), [(1, 10), (10, 10), (11, 50), (500, 50), (501, 100), (20_000, 100), (20_001, 200)])
def test_the_batch_size_follows_the_papers_rule(images: int, batch: int) -> None:
    assert Protocol(name="paper").resolved(images, "cifar10").batch_size == batch
    assert Protocol(name="paper", batch_size=7).resolved(images, "cifar10").batch_size == 7


@pytest.mark.parametrize(
    ("dataset", "epochs"), [("cifar10", 1000), ("tiny-imagenet", 1000), ("imagenet-1k", 300), ("imagenet-1k-64", 300)]
)
def test_the_epochs_follow_the_papers_rule(dataset: str, epochs: int) -> None:
    assert Protocol(name="paper").resolved(10, dataset).epochs == epochs
    assert Protocol(name="paper", epochs=5).resolved(10, dataset).epochs == 5


@pytest.mark.parametrize("name", sorted(PROTOCOLS))
def test_a_protocol_is_named_alone_or_with_changes(name: str) -> None:
    alone, changed = Protocol.model_validate(name), Protocol.model_validate({"name": name, "precision": "bf16"})
    assert alone.label == name
    assert changed.label == f"{name} (precision=bf16)"
    assert changed.epochs == alone.epochs == PROTOCOLS[name].get("epochs", 0)


def test_what_is_filled_in_stays_when_it_is_filled_in_again() -> None:
    once = Protocol(name="quick", augmentation="flip", mixing="cutmix").resolved(30, "cifar10")
    assert once.resolved(30, "cifar10") == once
    assert (once.epochs, once.batch_size, once.mixing) == (100, 50, "cutmix(alpha=1.0)")


def test_a_protocol_of_an_unknown_name_is_refused_with_one_that_is_near() -> None:
    with pytest.raises(ValidationError, match=r"no protocol 'neutral:sotf'; did you mean 'neutral:soft'"):
        Protocol.model_validate({"name": "neutral:sotf", "epochs": 3})
    other = Protocol.model_validate({"name": "smkoe", "epochs": 3})  # a plugin's, as far as anybody knows by now
    with pytest.raises(UnknownName, match=r"no protocol 'smkoe'; did you mean 'smoke'\?"):
        other.resolved(10, "digits", classes=10)


# -- native ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("field", FIELDS)
def test_only_the_name_of_a_native_protocol_fills_in_what_says_native(field: str) -> None:
    with pytest.raises(
        ValidationError, match=f"{field} = 'native' goes with the name of a native protocol: .*native:rded.*; not 'quick'"
    ):
        Protocol.model_validate({"name": "quick", field: NATIVE})
    for name in NATIVE_PROTOCOLS:
        stated = getattr(Protocol.model_validate(name), field)
        assert stated == (Spec(name=NATIVE) if field in ("optimizer", "schedule") else NATIVE)
        resolved = Protocol.model_validate(name).resolved(10, "cifar10", classes=10, provenance={"lr": 0.1})
        assert str(getattr(resolved, field)) != NATIVE


def test_an_optimizer_that_the_protocol_cannot_give_is_missed_when_it_is_asked_for_and_no_earlier() -> None:
    unrated = Protocol.model_validate("native:datm").resolved(10, "cifar10", classes=10)
    assert unrated.epochs > 0
    with pytest.raises(BoardError, match="native:datm"):
        _ = unrated.own_optimizer
    own = Protocol.model_validate({"name": "native:datm", "optimizer": "sgd(lr=0.3)"}).resolved(10, "cifar10", classes=10)
    assert own.own_optimizer == Spec(name="sgd", options={"lr": 0.3})


# -- what is stored with a set -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("labels", ["auto", "stored"])
def test_stored_augmentations_take_the_place_of_the_protocols_own(labels: str) -> None:
    stated: dict[str, Any] = {"name": "quick", "batch_size": 9, "augmentation": "flip", "mixing": "mixup", "labels": labels}
    resolved = Protocol.model_validate(stated).resolved(30, "cifar10", factor=2, replay_batch=64)
    assert (resolved.batch_size, resolved.augmentation, resolved.mixing) == (64, "stored", "stored")
    assert (resolved.epochs, resolved.labels) == (100, labels)


@pytest.mark.parametrize("labels", ["teacher", "fixed", "hard"])
def test_labels_from_elsewhere_leave_stored_augmentations_out(labels: str) -> None:
    stated: dict[str, Any] = {"name": "quick", "batch_size": 9, "augmentation": "flip", "labels": labels}
    resolved = Protocol.model_validate(stated).resolved(30, "cifar10", replay_batch=64)
    assert (resolved.batch_size, resolved.augmentation, resolved.mixing) == (9, "flip", "none")
    with pytest.raises(BoardError, match="labels are taken from elsewhere"):
        Protocol.model_validate(stated | {"mixing": "stored"}).resolved(30, "cifar10", replay_batch=64)


@pytest.mark.parametrize("field", ["augmentation", "mixing"])
def test_a_set_with_nothing_stored_cannot_be_replayed(field: str) -> None:
    with pytest.raises(BoardError, match=r"protocol 'smoke': \"stored\" replays .*; this set has none") as raised:
        Protocol.model_validate({"name": "smoke", field: "stored"}).resolved(30, "cifar10")
    assert "\n" not in str(raised.value)


def test_a_mosaics_factor_goes_into_the_steps_that_ask_for_it() -> None:
    shuffled = Protocol.model_validate({"name": "quick", "augmentation": "patch-shuffle+flip"})
    assert shuffled.resolved(30, "cifar10", factor=2).augmentation == "patch-shuffle(factor=2)+flip"
    assert shuffled.resolved(30, "cifar10", factor=1).augmentation == "flip"


# -- what is written down ----------------------------------------------------------------------------------------------------


def test_a_field_that_came_later_is_written_where_it_is_stated_and_nowhere_else() -> None:
    old = {name: value for name, value in Protocol(name="smoke").model_dump().items() if name not in ADDED_LATER}
    unstated = Protocol.of_setup(old)  # as a record has it
    assert unstated.model_dump() == old
    assert Protocol.model_validate(old).model_dump() == old | {"cutout": "border"}, "a board that does not say means the authors'"
    for name, meaning in ADDED_LATER.items():
        assert getattr(unstated, name) == meaning
        stated = Protocol.of_setup(old | {name: meaning})
        assert stated.model_dump() == old | {name: meaning}
        assert stated == unstated


@pytest.mark.parametrize("name", sorted(PROTOCOLS))
def test_json_reads_back_as_what_was_written(name: str) -> None:
    resolved = Protocol.model_validate(name).resolved(30, "cifar10", classes=10, factor=2, provenance={"lr": 0.1})
    for protocol in (Protocol.model_validate(name), resolved):
        assert Protocol.model_validate_json(protocol.model_dump_json()) == protocol


def test_a_label_tells_all_that_a_board_changed_but_the_optimizer() -> None:
    changed = Protocol.model_validate({"name": "quick", "epochs": 7, "optimizer": "sgd", "mixing": "cutmix", "evaluations": 4})
    assert changed.label == "quick (epochs=7, mixing=cutmix(alpha=1.0))"


def test_a_protocol_cannot_be_changed_in_place() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Protocol().epochs = 3  # type: ignore[misc]
