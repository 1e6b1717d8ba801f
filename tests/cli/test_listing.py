"""What `giftbench list` prints: names with parameters, and where they come from."""

from __future__ import annotations

import pytest

from harness.cli.listing import entries, show
from harness.core.errors import UnknownName


def test_an_entry_has_its_parameters_with_defaults_and_its_origin() -> None:
    (gift,) = [entry for entry in entries("losses") if entry.name == "gift"]
    assert "gamma" in gift.parameters
    assert gift.summary
    assert gift.origin == "giftbench"


def test_protocols_are_listed_without_a_registry() -> None:
    assert {"paper", "quick", "smoke"} <= {entry.name for entry in entries("protocols")}


def test_one_kind_is_printed_alone_and_all_under_their_names(capsys: pytest.CaptureFixture[str]) -> None:
    show("optimizers")
    alone = capsys.readouterr().out
    assert "adamw" in alone
    assert "optimizers:" not in alone
    show("all")
    assert {"losses:", "optimizers:", "protocols:"} <= set(capsys.readouterr().out.splitlines())


def test_an_unknown_kind_is_refused(refused) -> None:
    with refused(UnknownName, "'modles'", "'models'"):
        entries("modles")
