"""Options that say which of a board's records are meant."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import fields

import pytest

from harness.boards.selection import Selection
from harness.cli.commands.remove import remove
from harness.cli.commands.show import show
from harness.cli.selecting import OPTIONS, selected


@pytest.mark.parametrize("command", [show, remove])
def test_every_field_of_a_selection_has_one_option_of_its_name(command: Callable[..., None]) -> None:
    names = {name.rstrip("_") for name in inspect.signature(command).parameters}
    assert {field.name for field in fields(Selection)} <= names
    assert {f"--{field.name}" for field in fields(Selection)} == {*OPTIONS.split(", ")}


def test_a_set_that_is_only_named_says_which_trials_and_one_with_a_path_where_it_lies() -> None:
    brought, selection = selected(["RDED", "rded=/a/b"], None, ["sgd"], ["1"])
    assert brought == ["rded=/a/b"]
    assert selection == Selection(set=("RDED",), optimizer=("sgd",), seed=("1",))
    assert not selected(None, None, None, None)[1]
