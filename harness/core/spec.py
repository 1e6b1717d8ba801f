"""A thing with parameters, as boards and command lines write it: `gift`, `gift(gamma=0.2)`, `{name = "gift", gamma = 0.2}`."""

from __future__ import annotations

import ast
import keyword
import math
import re
from collections.abc import Iterator, Mapping
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from harness.core.errors import BadOption

_FORM = re.compile(r"^\s*([^()\s][^()]*?)\s*(?:\((.*)\))?\s*$", re.DOTALL)
#: A name in quotes, which any path may be written in, and parameters.
_QUOTED = re.compile(r"""\s*('(?:[^'\\]|\\.)+'|"(?:[^"\\]|\\.)+")\s*(?:\((.*)\))?\s*""", re.DOTALL)
#: What begins a name of the form `prefix/ANYTHING` or `prefix:ANYTHING`.
_PREFIX = re.compile(r"[\w-]+[/:].")
#: What JSON can hold.
Json = None | bool | int | float | str | list["Json"] | dict[str, "Json"]
_WORDS = {"true": True, "false": False, "none": None}
#: A parameter whose value is a path: any letters and digits, and of ASCII's other characters those that nothing else is written
#: with; parentheses in pairs.
_PATH = re.compile(r"\s*(\w+)\s*=\s*((?! )(?:[\w/.~+@:%#&() -]|[^\x00-\xa0\u2028\u2029])+)(?<! )\s*")
#: A parameter whose value is the name of a file or folder, with no slash in it: what `_word` looks at.
_NAME = re.compile(r"\s*([^\W\d]\w*)\s*=\s*([\w.~][\w.~+@:%-]*(?: +[\w.~+@:%-]+)*)\s*")


class Spec(BaseModel):
    """A registered name and the parameters it was given.

    In a string, a bare word is a string (`smoothing=uniform`), and so is a path or a file's name (`images=../data/train (1)`,
    `images=set.v2`); `true`, `false` and `none` are what they say, and a word alone switches a flag on: `kl(rescale)` is
    `kl(rescale=true)`. A name that is a path may have parentheses, and stands in quotes where these could be parameters:
    `'folder:pets(old)'(size=32)`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    options: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _read(cls, value: object) -> dict[str, object]:
        if isinstance(value, Spec):
            return {"name": value.name, "options": dict(value.options)}
        if isinstance(value, str):
            name, options = parse(value)
            return {"name": name, "options": options}
        if isinstance(value, Mapping):
            if not isinstance(value.get("name"), str):
                raise ValueError('needs a name: {name = "…", parameter = value}')
            if isinstance(value.get("options"), Mapping) and set(value) == {"name", "options"}:
                return dict(value)
            return {"name": value["name"], "options": {k: v for k, v in value.items() if k != "name"}}
        raise ValueError(f'expected a name such as "gift" or "gift(gamma=0.2)", or a table with a name; got {value!r}')

    @classmethod
    def model_validate(cls, obj: object, **settings: Any) -> Self:
        """Read a string, a table or a Spec. Raises BadOption, in one line, when it is none of them or cannot be parsed."""
        try:
            return super().model_validate(obj, **settings)
        except ValidationError as error:
            raise BadOption(re.sub(r"^Value error, ", "", error.errors(include_url=False)[0]["msg"])) from None

    def __str__(self) -> str:
        return render(self.name, self.options)


#: What names a thing in a call: as boards write it, or read already.
Named = str | Mapping[str, object] | Spec


def read(named: Named) -> tuple[str, Mapping[str, object]]:
    """Return the name and the parameters. Raises BadOption, in one line, when they cannot be read."""
    if isinstance(named, str):
        return parse(named)
    spec = named if isinstance(named, Spec) else Spec.model_validate(named)
    return spec.name, spec.options


def parse(text: str) -> tuple[str, dict[str, Json]]:
    """Split `name(parameter=value, …)` into the name and its parameters. Values are literals or paths; nothing is executed."""
    name, inside = _halves(text)
    if not inside.strip():
        return name, {}
    try:
        options: dict[str, Json] = {}
        for key, value in _arguments(inside):
            if key in options:
                raise ValueError
            options[key] = value
    except (SyntaxError, ValueError, RecursionError, MemoryError):  # the last two: nesting too deep for Python's parser
        line = f"cannot read the parameters of {text!r}; write them as {name}(parameter=value, …)"
        if "/" in inside:
            line += "; numbers are written out, and a path with commas, quotes or brackets in it goes in quotes"
        raise BadOption(line) from None
    return name, options


def _halves(text: str) -> tuple[str, str]:
    """Return the name and what stands in the parentheses after it; both as they are written."""
    quoted = _QUOTED.fullmatch(text)
    if quoted is not None:
        name = ast.literal_eval(quoted[1])
        return name, quoted[2] or ""
    named = _named_path(text.strip())
    if named is not None:
        return named
    form = _FORM.match(text)
    if form is None:
        raise BadOption(f"cannot read {text!r}; write it as name or name(parameter=value, …)")
    return form[1], form[2] or ""


def _named_path(text: str) -> tuple[str, str] | None:
    """Return the halves of what begins with a prefix, `folder:PATH`, whose path may have parentheses; None where it has none.

    Parameters are what stands in the last parentheses, where these end the text, unless that is a word after a space, as in
    `folder:data/pets (copy)`, or no parameter.
    """
    head, bracket, _ = text.partition("(")
    if not bracket or not _PREFIX.match(head):
        return None
    for start in (place for place, sign in enumerate(text) if sign == "("):
        if not text.endswith(")"):
            break
        inside = text[start + 1 : -1]
        if text[start - 1] == " " and "=" not in inside:
            continue
        if _can_be_read(inside):
            return text[:start].rstrip(), inside
    last = text.rpartition("(")[2]
    return None if "=" in last or text.count("(") != text.count(")") else (text, "")


def _can_be_read(inside: str) -> bool:
    try:
        return not inside.strip() or bool(list(_arguments(inside)))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False


def _arguments(inside: str) -> Iterator[tuple[str, Json]]:
    """Yield each parameter and its value. Python alone would refuse a flag after a value: `kl(temperature=4, rescale)`."""
    text = ""
    for piece in inside.split(","):
        text += piece
        path = _path(text) or _word(text)
        if path is not None:
            yield path
            text = ""
            continue
        try:
            call = ast.parse(f"f({text})", mode="eval").body
        except SyntaxError:  # the comma was inside a list or a quotation
            text += ","
            continue
        if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name):
            raise ValueError
        match call.args, call.keywords:
            case [ast.Name(id=flag)], []:
                yield flag, True
            case [], [ast.keyword(arg=str(key), value=value)]:
                yield key, _value(value)
            case _:
                raise ValueError
        text = ""
    if text:
        raise ValueError


def _path(text: str) -> tuple[str, str] | None:
    """Return the parameter and its value where that is a bare path. It has a slash, which no other value has outside quotes."""
    form = _PATH.fullmatch(text)
    if form is None or "/" not in form[2] or not _is_paired(form[2]):
        return None
    if all(map(_is_number, form[2].strip("()").split("/"))):
        return None
    match ast.parse(f"f({form[1]}=0)", mode="eval").body:
        case ast.Call(keywords=[ast.keyword(arg=str(key))]):  # as Python spells it
            return key, form[2]
    raise ValueError


def _is_paired(text: str) -> bool:
    """Return whether every parenthesis is closed, and none before it is opened."""
    depth = 0
    for sign in text:
        depth += (sign == "(") - (sign == ")")
        if depth < 0:
            return False
    return depth == 0


def _word(text: str) -> tuple[str, str] | None:
    """Return the parameter and its value where that is the name of a file or folder, and neither a number nor a plain word.

    Such as `cda_in1k.v2`, `2025-set`, `my set`, `..`: they have a letter, or are nothing but dots or a tilde.
    """
    form = _NAME.fullmatch(text)
    if form is None or not (re.search(r"[^\W\d_]", form[2]) or form[2] in (".", "..", "~")) or _is_literal(form[2]):
        return None
    parts = form[2].split("-")
    plain = all(part.isidentifier() and (not keyword.iskeyword(part) or part.lower() in _WORDS) for part in parts)
    return None if plain else (form[1], form[2])


def _is_literal(text: str) -> bool:
    """Return whether a word is a number as Python writes one: 1e-3, 0x10, 2j."""
    try:
        return not isinstance(ast.literal_eval(text), str)
    except (SyntaxError, ValueError):
        return False


def _is_number(text: str) -> bool:
    """Tell `1/20`, which somebody may have meant to be divided, from a path."""
    try:
        float(text)
    except ValueError:
        return False
    return True


def _value(node: ast.expr) -> Json:
    if isinstance(node, ast.Name):
        return _WORDS.get(node.id.lower(), node.id)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Sub):  # a bare word with a hyphen: off-target
        left, right = _value(node.left), _value(node.right)
        if isinstance(left, str) and isinstance(right, str):
            return f"{left}-{right}"
        raise ValueError
    if isinstance(node, (ast.List, ast.Tuple)):
        return [_value(item) for item in node.elts]
    value = ast.literal_eval(node)
    if value is None or isinstance(value, (bool, int, float, str, dict)):
        return value
    raise ValueError  # bytes, sets, complex numbers: nothing that JSON can hold


def specs(*given: Named) -> tuple[Spec, ...]:
    """Read several strings, tables or Specs. Raises BadOption, in one line, for one that cannot be read."""
    return tuple(Spec.model_validate(each) for each in given)


def render(name: str, options: Mapping[str, object]) -> str:
    """Write a name and its parameters the way `parse` reads them; a flag that is on is its bare word."""
    if {*"()"} & {*name} or name[:1] in ("'", '"'):  # a path with parentheses in it
        name = _as_name(name, bare=not options)
    if not options:
        return name
    flags = [k for k, v in options.items() if v is True]  # bare words come first, as Python's arguments do
    return f"{name}({', '.join(flags + [f'{k}={write(v)}' for k, v in options.items() if v is not True])})"


def _as_name(name: str, bare: bool) -> str:
    """Return a name in quotes where it would be read otherwise without them, alone or before parameters."""
    try:
        return name if parse(name if bare else f"{name}(x=1)") == (name, {} if bare else {"x": 1}) else repr(name)
    except BadOption:
        return repr(name)


def write(value: object) -> str:
    """Write a parameter's value the way `parse` reads it."""
    if isinstance(value, Spec):
        return str(value)
    if value is None or isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        parts = value.split("-")
        bare = all(re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", part) and not keyword.iskeyword(part) for part in parts)
        return value if bare and not _WORDS.keys() & {part.lower() for part in parts} else repr(value)
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(write(v) for v in value) + "]"
    if isinstance(value, float) and math.isinf(value):
        return "1e999" if value > 0 else "-1e999"
    return repr(value)
