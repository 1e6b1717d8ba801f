"""Parameters by name: checked against their defaults and filled in, by one rule for everything that boards name."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterable, Mapping

from harness.core.errors import BadOption, suggest


def filled(kind: str, name: str, defaults: Mapping[str, object], given: Mapping[str, object]) -> dict[str, object]:
    """Return every parameter of `name`: those that were given, in the type of their defaults, and the defaults of the others.

    Args:
        kind, name: of the thing that takes them, for the error: `loss` 'gift'.
        defaults: {parameter: default}; `inspect.Parameter.empty` where one has to be given.
        given: {parameter: value}. A bare none where a word is wanted is the word: norm=none.
    Raises: BadOption for a parameter that is not there (with a suggestion), that cannot have its value, or that is missing.
    """
    check_known(kind, name, defaults, given)
    values = {}
    for option, value in given.items():
        default = defaults[option]
        word = "none" if value is None and isinstance(default, str) else value
        check_type(f"{kind} {name!r}: {option}", default, word)
        values[option] = like(default, word)
    options = {**defaults, **values}
    missing = [option for option, value in options.items() if value is inspect.Parameter.empty]
    if missing:
        raise BadOption(f"{kind} {name!r} needs {', '.join(missing)}, as {name}({missing[0]}=…)")
    return options


def check_known(kind: str, name: str, known: Iterable[str], given: Iterable[str]) -> None:
    """Raise BadOption, with a suggestion, for the first parameter that `name` does not have."""
    for option in given:
        if option not in known:
            raise BadOption(f"{kind} {name!r} has no parameter {option!r}; {suggest(option, known)}")


def keyword_defaults(thing: Callable[..., object]) -> dict[str, object]:
    """Return {keyword-only parameter: default} of a callable; a parameter without default maps to `inspect.Parameter.empty`."""
    parameters = inspect.signature(thing).parameters.values()
    return {p.name: p.default for p in parameters if p.kind is inspect.Parameter.KEYWORD_ONLY}


def check_type(place: str, default: object, value: object) -> None:
    """Refuse a value whose type cannot stand where `default` stands. A default of None accepts anything finite."""
    if isinstance(value, float) and not math.isfinite(value):
        raise BadOption(f"{place} must be finite, not {value!r}")
    if default is None or default is inspect.Parameter.empty:
        return
    if isinstance(default, bool):
        good = isinstance(value, bool)
    elif isinstance(default, (int, float)):
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        good = number and (isinstance(default, float) or isinstance(value, int) or _is_whole(value))
    elif isinstance(default, (list, tuple)):
        good = isinstance(value, (list, tuple))
    else:
        good = isinstance(value, type(default))
    if not good:
        raise BadOption(f"{place} must be {_kind(default)}, not {value!r}")


def _is_whole(value: object) -> bool:
    return isinstance(value, float) and value.is_integer()


def _kind(default: object) -> str:
    names = {bool: "true or false", int: "a whole number", float: "a number", str: "a word", list: "a list", tuple: "a list"}
    return names.get(type(default), type(default).__name__)


def like(default: object, value: object) -> object:
    """Return a number in the type of `default`, so that 1 and 1.0 make one trial."""
    if isinstance(default, float) and isinstance(value, int):
        return float(value)
    if isinstance(default, int) and not isinstance(default, bool) and isinstance(value, float):
        return int(value)
    return value


def same(value: object, default: object) -> bool:
    """Return whether a parameter has its default's value; a list that JSON made of a tuple has."""
    if value == default:  # as the default's own type has it
        return True
    return isinstance(value, (list, tuple)) and isinstance(default, (list, tuple)) and list(value) == list(default)
