"""Errors whose cause is the user's input: a name that was meant, and the place it stands at."""

from __future__ import annotations

import pytest

from harness.core.errors import BadOption, DataError, GiftbenchError, NotAtHand, at, suggest


@pytest.mark.parametrize(
    ("name", "valid", "words"),
    [
        ("adamww", ["sgd", "adamw"], "did you mean 'adamw'?"),
        ("convnet9", ["convnet1", "convnet2", "x"], "did you mean 'convnet2' or 'convnet1'?"),
        ("zzz", ["b", "a"], "valid: a, b"),
        ("zzz", [], "valid: none"),
    ],
)
def test_the_nearest_names_are_suggested_or_all_valid_ones(name: str, valid: list[str], words: str) -> None:
    assert suggest(name, valid) == words


def test_a_long_list_of_valid_names_is_cut() -> None:
    assert suggest("zzz", [f"{number:02}" for number in range(30)]).endswith("22, 23, …")


def test_a_place_is_put_before_the_message_and_the_kind_and_cause_are_kept() -> None:
    with pytest.raises(BadOption) as caught, at("board.toml"), at("losses"):
        raise BadOption("no such loss") from KeyError("x")
    assert str(caught.value) == "board.toml: losses: no such loss"
    assert isinstance(caught.value.__cause__, KeyError)


def test_other_errors_pass_as_they_are() -> None:
    with pytest.raises(ValueError, match=r"^mine$") as caught, at("board.toml"):
        raise ValueError("mine")
    assert not isinstance(caught.value, GiftbenchError)


def test_data_that_are_not_at_hand_are_data_that_are_wrong() -> None:
    with pytest.raises(DataError, match=r"^cifar10: bring it"), at("cifar10"):
        raise NotAtHand("bring it")
