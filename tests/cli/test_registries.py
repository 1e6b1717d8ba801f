"""The kinds of things that boards name, and where each one's registry is."""

from __future__ import annotations

import pytest

from harness.cli.registries import LISTED, REGISTRIES, registry
from harness.core.errors import UnknownName


@pytest.mark.parametrize(("kind", "name"), [("losses", "gift"), ("schedules", "cosine"), ("scenarios", "cross-optimizer")])
def test_a_kind_has_a_registry_with_its_names(kind: str, name: str) -> None:
    assert name in registry(kind).names()


def test_every_kind_has_a_registry_and_strategies_are_listed_too() -> None:
    assert all(registry(kind).names() for kind in REGISTRIES)
    assert set(LISTED) - set(REGISTRIES) == {"strategies"}


def test_an_unknown_kind_is_answered_with_the_nearest(refused) -> None:
    with refused(UnknownName, "nothing is called 'loses'", "did you mean 'losses'"):
        registry("loses")
