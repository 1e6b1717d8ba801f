"""Parameters by name: checked against their defaults and filled in."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness import losses, models
from harness.core.errors import BadOption
from harness.core.registry import Registry


@pytest.fixture
def registry() -> Registry[Any]:
    return Registry("widget")


def test_a_whole_number_and_a_float_make_the_same_parameter() -> None:
    resolved = losses.registry.resolve("kl(temperature=4)")
    assert isinstance(resolved.options["temperature"], float)
    assert isinstance(models.registry.resolve("convnet1(width=8.0)").options["width"], int)


def test_an_unknown_parameter_is_answered_with_the_nearest() -> None:
    with pytest.raises(BadOption, match=r"loss 'gift' has no parameter 'gama'; did you mean 'gamma'\?"):
        losses.create("gift(gama=0.2)")


def test_a_parameter_without_default_must_be_given(registry: Registry[Any]) -> None:
    @registry.register("needy")
    def needy(*, first: int, second: int = 2) -> int:
        return first + second

    with pytest.raises(BadOption, match=r"widget 'needy' needs first, as needy\(first=…\)"):
        registry.create("needy")
    assert registry.create("needy(first=1)")() == 3
    assert registry.describe("needy").parameters == {"first": "required", "second": "2"}


@pytest.mark.parametrize(
    ("parameter", "good", "bad", "kind"),
    [
        ("flag", ["true", "false"], ["1", "yes", "none"], "true or false"),
        ("count", ["3", "3.0"], ["3.5", "true", "three", "none"], "a whole number"),
        ("share", ["3", "0.5"], ["true", "half", "[0.5]"], "a number"),
        ("word", ["some", "'some words'"], ["3", "true"], "a word"),
        ("several", ["[1]", "(1, 2)", "[]"], ["1", "one"], "a list"),
    ],
)
def test_a_parameter_keeps_the_type_of_its_default(
    registry: Registry[Any], parameter: str, good: list[str], bad: list[str], kind: str
) -> None:
    @registry.register("typed")
    def typed(
        *,
        flag: bool = False,
        count: int = 1,
        share: float = 1.0,
        word: str = "a",
        several: tuple[int, ...] = (1,),
        free: Any = None,
    ) -> None:
        return

    for value in good:
        registry.resolve(f"typed({parameter}={value})")
    for value in bad:
        with pytest.raises(BadOption, match=f"widget 'typed': {parameter} must be {kind}, not "):
            registry.resolve(f"typed({parameter}={value})")


@pytest.mark.parametrize("value", [float("inf"), float("-inf"), float("nan")])
@pytest.mark.parametrize("default", [1, 1.0, None])
def test_a_number_must_be_finite(registry: Registry[Any], default: Any, value: float) -> None:
    def thing(*, size: Any = default) -> None:
        return

    registry.register("thing")(thing)
    with pytest.raises(BadOption, match="widget 'thing': size must be finite"):
        registry.resolve({"name": "thing", "size": value})


#: (parameter, values it takes with what they become, values it refuses, what the refusal calls for)
ANNOTATED: list[tuple[str, dict[str, object], list[str], str]] = [
    ("bare", {"0.9": 0.9, "5e-4": 5e-4, "2": 2, "2.0": 2}, ["true", "half"], "a number"),
    ("share", {"0.9": 0.9, "1": 1}, ["true", "none"], "a number"),
    ("count", {"3": 3, "3.0": 3}, ["0.5", "true"], "a whole number"),
    ("divisor", {"0.5": 0.5, "2": 2.0}, ["true"], "a number"),
    ("either", {"0.5": 0.5, "2": 2}, ["half"], "a number"),
    ("limit", {"0.5": 0.5, "none": None, "2": 2.0}, ["half", "true"], "a number or none"),
    ("choice", {"fast": "fast", "[1, 2]": [1, 2]}, ["3", "true"], "a word or a list"),
    ("perhaps", {"fast": "fast", "none": None}, ["3"], "a word or none"),
    ("word", {"none": "none"}, ["3"], "a word"),
]
SOURCE = """
from typing import Optional, Union

def annotated(
    *, bare=0, share: float = 0, count: int = 0, divisor: int = 0.1, either: Union[int, float] = 1, limit: Optional[float] = 1.0,
    choice: "str | tuple[float, ...]" = "slow", perhaps: str | None = "slow", word: str = "batch",
):
    pass
"""


@pytest.fixture(params=["loaded", "annotations as text", "as written"])
def resolve(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Any]:
    """What fills a widget in: by the object, with annotations that are objects and that are text; by its source alone."""
    registry: Registry[Any] = Registry("widget")
    future = "from __future__ import annotations\n" if request.param == "annotations as text" else ""
    (tmp_path / "annotated_widget.py").write_text(future + SOURCE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "annotated_widget", raising=False)
    registry.add("annotated", "annotated_widget:annotated")
    return registry.as_written if request.param == "as written" else registry.resolve


@pytest.mark.parametrize(("parameter", "good", "bad", "kind"), ANNOTATED)
def test_a_defaults_type_is_not_taken_for_the_parameters(
    resolve: Callable[[str], Any], parameter: str, good: dict[str, object], bad: list[str], kind: str
) -> None:
    """A default of 0 takes a fraction unless the source says int, and what an annotation allows is allowed."""
    for text, value in good.items():
        stored = resolve(f"annotated({parameter}={text})").options[parameter]
        assert (stored, type(stored)) == (value, type(value))
    for text in bad:
        with pytest.raises(BadOption, match=f"widget 'annotated': {parameter} must be {kind}, not "):
            resolve(f"annotated({parameter}={text})")


def test_a_word_without_default_is_a_word_whatever_is_written(registry: Registry[Any]) -> None:
    @registry.register("stored")
    def stored(*, images: str) -> str:
        return images

    assert registry.create("stored(images=10)")() == "10"
    with pytest.raises(BadOption, match="images must be a word, not True"):
        registry.create("stored(images=true)")
