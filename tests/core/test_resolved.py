"""A registered name with its parameters: one value, however it is written."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest

from harness import losses
from harness.core.errors import BadOption
from harness.core.registry import Registry
from harness.core.resolved import resolved_from


@pytest.fixture
def registry() -> Registry[Any]:
    return Registry("widget")


def test_resolving_fills_in_every_parameter() -> None:
    assert losses.registry.resolve("gift(gamma=0.2)").options == {"gamma": 0.2, "alpha": 0.1, "smoothing": "uniform"}
    assert losses.registry.resolve({"name": "gift", "gamma": 0.2}) == losses.registry.resolve("gift", gamma=0.2)


def test_a_name_with_the_same_parameters_is_one_value_however_it_is_written(registry: Registry[Any]) -> None:
    @registry.register("thing")
    def thing(x: int, *, size: float = 1.0, flag: bool = False, words: tuple[str, ...] = ("a",)) -> float:
        return x * size

    first = registry.resolve("thing")
    same: list[Any] = ["thing(size=1)", "thing(flag=false, size=1.0)", {"name": "thing", "words": ["a"]}, first, first.spec]
    for form in same:
        assert registry.resolve(form) is first
        assert registry.resolve(form).label == "thing"
    assert registry.resolve("thing", size=2) is registry.resolve("thing(size=2)") is registry.resolve(first, size=2) is not first
    assert registry.resolve("thing(flag)").options["flag"] is True
    with pytest.raises(BadOption, match="flag must be true or false, not 1"):  # though 1 == true, which is known by now
        registry.resolve("thing(flag=1)")


def test_what_was_made_by_its_name_says_what_it_is(registry: Registry[Any]) -> None:
    class Plain:
        pass

    class Slots:
        __slots__ = ()

    registry.register("function")(lambda *, size=1: size)
    registry.register("plain")(Plain)
    registry.register("slots")(Slots)
    for name in ("function", "function(size=2)", "plain"):
        assert resolved_from(registry.create(name)) is registry.resolve(name)
    for other in (registry.create("slots"), Plain(), partial(registry.create("function")), len, None):
        assert resolved_from(other) is None


def test_a_label_shows_only_what_differs_from_the_defaults() -> None:
    assert losses.registry.label("gift(gamma=0.1)") == "gift"
    assert losses.registry.label("kl(temperature=4, rescale)") == "kl(rescale, temperature=4.0)"
