"""Options of scenarios: what a board may write, and the one line that answers what it may not."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import pytest
from pydantic import Field, field_validator, model_validator

from harness import ScenarioOptions, Spec, specs
from harness.core.errors import BadOption, BoardError, GiftbenchError, PluginError
from harness.running.scenario_options import fitted


class Options(ScenarioOptions):
    steps: tuple[int, ...] = (5, 10)
    share: float = 0.5
    losses_: tuple[Spec, ...] = specs("gift")
    loss: Spec = "kl"  # type: ignore[assignment]  # a default is read as a board's value is
    word: Literal["sliced", "unsliced"] = "sliced"
    order: str | tuple[int, ...] = "seed"
    room: Annotated[int, Field(ge=0)] = 0
    flags: tuple[bool, ...] = ()
    sizes: list[int] = Field(default_factory=lambda: [1])
    rate: float | None = None
    on: bool = False
    name_: str = "none"
    pairs: tuple[tuple[float, float], ...] = ()

    @field_validator("share")
    @classmethod
    def _share(cls, value: float) -> float:
        if value == 0.25:
            raise ValueError("must be no quarter")
        if value == 0.75:
            raise BadOption("three quarters are too many")
        return value

    @model_validator(mode="after")
    def _together(self) -> Options:
        if self.on and self.rate is None:
            raise ValueError("on goes with a rate")
        return self


class Needy(ScenarioOptions):
    size: int


def read(**given: Any) -> Options:
    return Options.read("mine", given, "board.toml: scenarios[1]")


def test_defaults_are_read_like_values() -> None:
    options = read()
    assert options.loss == Spec(name="kl")
    assert (options.steps, options.losses_, options.sizes) == ((5, 10), (Spec(name="gift"),), [1])


@pytest.mark.parametrize(
    ("option", "value", "expected"),
    [
        ("steps", 3, (3,)),
        ("steps", [3, 4], (3, 4)),
        ("steps", [2.0], (2,)),
        ("sizes", 3, [3]),
        ("share", 1, 1.0),
        ("losses_", "gift(gamma=0.2)", (Spec(name="gift", options={"gamma": 0.2}),)),
        ("losses_", {"name": "gift", "gamma": 0.2}, (Spec(name="gift", options={"gamma": 0.2}),)),
        ("losses_", ["kl(rescale)", "kl(reduction=none)"], specs("kl(rescale=true)", {"name": "kl", "reduction": None})),
        ("loss", Spec(name="ce"), Spec(name="ce")),
        ("order", "sorted", "sorted"),
        ("order", [1, 0], (1, 0)),
        ("flags", True, (True,)),
        ("rate", 2, 2.0),
        ("rate", None, None),
        ("name_", "none", "none"),
        ("pairs", [[0, 1], [0.5, 2]], ((0.0, 1.0), (0.5, 2.0))),
    ],
)
def test_a_value_is_taken_as_its_type_has_it(option: str, value: Any, expected: Any) -> None:
    found = getattr(read(**{option: value}), option)
    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize(
    ("given", "error", "words"),
    [
        ({"stpes": 3}, BoardError, ": scenario 'mine' has no option 'stpes'; did you mean 'steps'"),
        ({"sedes": 3}, BoardError, ": scenario 'mine' has no option 'sedes'; did you mean 'seeds'"),
        ({"steps": [5, "6"]}, BadOption, ".steps[1] must be a whole number, not '6'"),
        ({"steps": 2.5}, BadOption, ".steps[0] must be a whole number, not 2.5"),
        ({"steps": True}, BadOption, ".steps must be a list, not True"),
        ({"steps": [True]}, BadOption, ".steps[0] must be a whole number, not True"),
        ({"share": "half"}, BadOption, ".share must be a number, not 'half'"),
        ({"share": float("inf")}, BadOption, ".share must be finite, not inf"),
        ({"share": 0.25}, BadOption, ".share must be no quarter"),
        ({"share": 0.75}, BadOption, ".share: three quarters are too many"),
        (
            {"losses_": ["gift", "gift("]},
            BadOption,
            ".losses_[1]: cannot read 'gift('; write it as name or name(parameter=value, …)",
        ),
        ({"loss": 3}, BadOption, '.loss: expected a name such as "gift"'),
        ({"word": "slice"}, BadOption, ".word must be 'sliced' or 'unsliced', not 'slice'; did you mean 'sliced'"),
        ({"word": "whole"}, BadOption, ".word must be 'sliced' or 'unsliced', not 'whole'"),
        ({"order": 3}, BadOption, ".order must be a word or a list, not 3"),
        ({"order": [1, "a"]}, BadOption, ".order[1] must be a whole number, not 'a'"),
        ({"room": -1}, BadOption, ".room must be 0 or more, not -1"),
        ({"on": 1}, BadOption, ".on must be true or false, not 1"),
        ({"name_": 3}, BadOption, ".name_ must be a word, not 3"),
        ({"pairs": [[0, 1], [0, "b"]]}, BadOption, ".pairs[1][1] must be a number, not 'b'"),
        ({"pairs": [[0, 1, 2]]}, BadOption, ".pairs[0]: "),
        ({"on": True}, BadOption, ": scenario 'mine': on goes with a rate"),
    ],
)
def test_what_is_wrong_is_one_line_with_its_place(given: dict[str, Any], error: type[GiftbenchError], words: str) -> None:
    with pytest.raises(error) as raised:
        read(**given)
    assert type(raised.value) is error
    assert str(raised.value).startswith(f"board.toml: scenarios[1]{words}")
    assert "\n" not in str(raised.value)


def test_an_option_without_a_default_has_to_be_given() -> None:
    with pytest.raises(BoardError, match=r"b: scenarios\[0\]: scenario 'needy' needs the option 'size'"):
        Needy.read("needy", {}, "b: scenarios[0]")
    assert Needy.read("needy", {"size": 3}, "b").size == 3
    assert Needy.described() == {"size": "required"}


def test_an_option_may_not_have_the_name_of_what_every_entry_says() -> None:
    class Taken(ScenarioOptions):
        seeds: int = 3

    with pytest.raises(PluginError, match="scenario 'mine': every entry of a board has the key 'seeds'; rename the option"):
        Taken.read("mine", {}, "b")


def test_options_are_listed_as_a_board_writes_them() -> None:
    assert Options.described() | {} == {
        "steps": "[5, 10]",
        "share": "0.5",
        "losses_": "[gift]",
        "loss": "kl",
        "word": "sliced",
        "order": "seed",
        "room": "0",
        "flags": "[]",
        "sizes": "[1]",
        "rate": "none",
        "on": "false",
        "name_": "'none'",
        "pairs": "[]",
    }


def test_options_do_not_change() -> None:
    with pytest.raises(ValueError, match="frozen"):
        read().share = 0.1


@pytest.mark.parametrize("value", [[1, 2], {"a": 1}, None, "word", 2.5])
def test_what_needs_no_fitting_stays_as_it_is(value: Any) -> None:
    assert fitted(value, Any) is value
