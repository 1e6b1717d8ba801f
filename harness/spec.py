"""A thing with parameters, as boards and command lines write it: `gift`, `gift(gamma=0.2)`, `{name = "gift", gamma = 0.2}`."""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

from harness.errors import BadOption

_FORM = re.compile(r"^\s*([^()]+?)\s*(?:\((.*)\))?\s*$", re.DOTALL)
_WORDS = {"true": True, "false": False, "none": None}


class Spec(BaseModel):
    """A registered name and the parameters it was given.

    In a string, a bare word is a string (`smoothing=uniform`), `true`, `false` and `none` are what they say, and a word alone
    switches a flag on: `kl(rescale)` is `kl(rescale=true)`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    options: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _read(cls, value: Any) -> Any:
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

    def __str__(self) -> str:
        return render(self.name, self.options)


def parse(text: str) -> tuple[str, dict[str, Any]]:
    """Split `name(parameter=value, …)` into the name and its parameters. Values are literals; nothing is executed."""
    form = _FORM.match(text)
    if form is None:
        raise BadOption(f"cannot read {text!r}; write it as name or name(parameter=value, …)")
    name, inside = form.group(1), form.group(2)
    if not inside or not inside.strip():
        return name, {}
    try:
        call = ast.parse(f"f({inside})", mode="eval").body
        assert isinstance(call, ast.Call)
        options: dict[str, Any] = {}
        for flag in call.args:
            if not isinstance(flag, ast.Name):
                raise ValueError
            options[flag.id] = True
        for keyword in call.keywords:
            if keyword.arg is None or keyword.arg in options:
                raise ValueError
            options[keyword.arg] = _value(keyword.value)
    except (SyntaxError, ValueError, AssertionError):
        raise BadOption(f"cannot read the parameters of {text!r}; write them as {name}(parameter=value, …)") from None
    return name, options


def _value(node: ast.expr) -> Any:
    if isinstance(node, ast.Name):
        return _WORDS.get(node.id.lower(), node.id)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Sub):  # a bare word with a hyphen: off-target
        left, right = _value(node.left), _value(node.right)
        if isinstance(left, str) and isinstance(right, str):
            return f"{left}-{right}"
        raise ValueError
    if isinstance(node, (ast.List, ast.Tuple)):
        return [_value(item) for item in node.elts]
    return ast.literal_eval(node)


def render(name: str, options: Mapping[str, Any]) -> str:
    """Write a name and its parameters the way `parse` reads them; a flag that is on is its bare word."""
    if not options:
        return name
    flags = [k for k, v in options.items() if v is True]  # bare words come first, as Python's arguments do
    return f"{name}({', '.join(flags + [f'{k}={_text(v)}' for k, v in options.items() if v is not True])})"


def _text(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return value if re.fullmatch(r"[A-Za-z_]\w*(-[A-Za-z_]\w*)*", value) else repr(value)
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(_text(v) for v in value) + "]"
    return repr(value)
