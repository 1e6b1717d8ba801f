"""The code that names stand for: nothing for what ships in its first version, sources and raised versions for the rest."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from harness.core.code import Code
from harness.core.registry import Registry
from harness.core.spec import Spec


@pytest.fixture
def registry() -> Iterator[Registry[Any]]:
    registry: Registry[Any] = Registry("loss")
    registry.add("first", "harness.losses.classic:ce")
    registry.add("second", "harness.losses.classic:kl", version=2)
    registry.register("mine")(lambda logits, targets: logits)
    yield registry


def of(registry: Registry[Any], text: str) -> Code:
    return Code.of((registry, Spec.model_validate(text)))


def test_what_ships_in_its_first_version_says_nothing(registry: Registry[Any]) -> None:
    assert of(registry, "first") == Code()
    assert of(registry, "first").facts == {}


def test_a_raised_version_and_a_plugin_s_source_are_said(registry: Registry[Any]) -> None:
    assert of(registry, "second").facts == {"versions": {"loss second": 2}}
    source = registry.source("mine")
    assert source is not None
    assert of(registry, "mine").facts == {"plugins": {"loss mine": source.digest}}
    both = of(registry, "mine") | of(registry, "second")
    assert both.facts == {"plugins": {"loss mine": source.digest}, "versions": {"loss second": 2}}


def test_names_that_parameters_hold_are_said_too(registry: Registry[Any]) -> None:
    assert list(of(registry, 'first(native="mine(scale=2)", mode=uniform)').sources) == ["loss mine"]
    assert of(registry, "first(native=second)").versions == {"loss second": 2}


def test_names_anywhere_in_a_scenario_s_options_are_said(registry: Registry[Any]) -> None:
    options = {"losses": ["first", {"name": "mine", "scale": 2.0}], "share": 0.5, "path": "a (b"}
    assert list(Code.within(options, [registry]).sources) == ["loss mine"]
    assert Code.within({"share": 0.5}, [registry]) == Code()
