"""Parameters by name: checked against their defaults and annotations, and filled in; one rule for all that boards name."""

from __future__ import annotations

import ast
import inspect
import math
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from types import MappingProxyType

from harness.core.errors import BadOption, suggest

NOTHING: Mapping[str, str] = MappingProxyType({})
#: What annotations call the kinds of values that a board can write.
_KINDS: Mapping[str, type] = {
    "bool": bool,
    "int": int,
    "float": float,
    "str": str,
    "None": type(None),
    "NoneType": type(None),
    **dict.fromkeys(("list", "tuple", "List", "Tuple", "Sequence", "Iterable", "Collection"), list),
}
_WORDS = {bool: "true or false", int: "a whole number", float: "a number", str: "a word", list: "a list", type(None): "none"}


def filled(
    kind: str, name: str, defaults: Mapping[str, object], given: Mapping[str, object], annotations: Mapping[str, str] = NOTHING
) -> dict[str, object]:
    """Return every parameter of `name`: those that were given, in the type of their defaults, and the defaults of the others.

    Args:
        kind, name: of the thing that takes them, for the error: `loss` 'gift'.
        defaults: {parameter: default}; `inspect.Parameter.empty` where one has to be given.
        given: {parameter: value}. A bare none where a word is wanted is the word: norm=none.
        annotations: {parameter: what its source says of its type}, as far as it does. It has the last word on whether a number
            is a whole one, and allows what the default alone would not: none, where it says `float | None`.
    Raises: BadOption for a parameter that is not there (with a suggestion), that cannot have its value, or that is missing.
    """
    check_known(kind, name, defaults, given)
    values = {}
    for option, value in given.items():
        default, annotation = defaults[option], annotations.get(option, "")
        word = value
        if value is None and isinstance(default, str) and type(None) not in _said(annotation):
            word = "none"
        if default is inspect.Parameter.empty and _said(annotation) == {str}:
            word = str(value) if type(value) is int else value  # a folder may be called 10
            default = ""
        check_type(f"{kind} {name!r}: {option}", default, word, annotation)
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


def annotations_of(thing: Callable[..., object]) -> dict[str, str]:
    """Return {parameter: annotation, as it may be written} of a callable, without those that have none."""
    parameters = inspect.signature(thing).parameters.values()
    return {p.name: _text(p.annotation) for p in parameters if p.annotation is not p.empty}


def _text(annotation: object) -> str:
    return annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)


def check_type(place: str, default: object, value: object, annotation: str = "") -> None:
    """Refuse a value whose type can stand neither where `default` stands nor where `annotation` does.

    A number is whole where the annotation says int and not float, unless the default has a fraction; a default such as 0 says
    nothing of that. A default of None accepts anything finite.
    """
    if isinstance(value, float) and not math.isfinite(value):
        raise BadOption(f"{place} must be finite, not {value!r}")
    if default is None or default is inspect.Parameter.empty:
        return
    kinds = _kinds(default, annotation)
    if not any(_is(kind, value) for kind in kinds):
        raise BadOption(f"{place} must be {' or '.join(_WORDS.get(kind, kind.__name__) for kind in kinds)}, not {value!r}")


def _kinds(default: object, annotation: str) -> list[type]:
    """Return the kinds of values that may be given, the default's first."""
    said = _said(annotation)
    own = list if isinstance(default, (list, tuple)) else type(default)
    if own is int and int not in said:
        own = float
    kinds = list(dict.fromkeys([own, *(kind for kind in _WORDS if kind in said)]))
    return [kind for kind in kinds if not (kind is int and float in kinds)]


def _is(kind: type, value: object) -> bool:
    if kind is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    if kind is int:
        return (isinstance(value, int) and not isinstance(value, bool)) or _is_whole(value)
    if kind is list:
        return isinstance(value, (list, tuple))
    return isinstance(value, kind)


@cache
def _said(annotation: str) -> frozenset[type]:
    """Return the kinds of values that an annotation names: those of `float | None`, `Optional[float]`, `tuple[float, ...]`."""
    try:
        return frozenset(_named(ast.parse(annotation, mode="eval").body))
    except SyntaxError:  # there is none, or it is no text that could stand in a source
        return frozenset()


def _named(node: ast.expr) -> Iterable[type]:
    if isinstance(node, ast.Constant):
        return _named(ast.parse(node.value, mode="eval").body) if isinstance(node.value, str) else _kind_of(str(node.value))
    if isinstance(node, ast.BinOp):
        return [*_named(node.left), *_named(node.right)]
    if not isinstance(node, ast.Subscript):
        return _kind_of(ast.unparse(node).rpartition(".")[2])
    outer, inner = ast.unparse(node.value).rpartition(".")[2], node.slice
    if outer in ("Optional", "Union"):
        parts = inner.elts if isinstance(inner, ast.Tuple) else [inner]
        return [*(kind for part in parts for kind in _named(part)), *([type(None)] if outer == "Optional" else [])]
    return _kind_of(outer)


def _kind_of(name: str) -> list[type]:
    return [_KINDS[name]] if name in _KINDS else []


def _is_whole(value: object) -> bool:
    return isinstance(value, float) and value.is_integer()


def like(default: object, value: object) -> object:
    """Return a number in the type of `default`, so that 1 and 1.0 make one trial; a fraction stays one."""
    if isinstance(default, float) and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if isinstance(default, int) and not isinstance(default, bool) and isinstance(value, float) and value.is_integer():
        return int(value)
    return value


def same(value: object, default: object) -> bool:
    """Return whether a parameter has its default's value; a list that JSON made of a tuple has."""
    if value == default:  # as the default's own type has it
        return True
    return isinstance(value, (list, tuple)) and isinstance(default, (list, tuple)) and list(value) == list(default)
