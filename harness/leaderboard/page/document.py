"""An HTML document whose policy lets it do nothing but run and look as it was written: no request, no code from data."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

HERE = Path(__file__).parent


@cache
def _templates() -> Environment:
    return Environment(
        loader=FileSystemLoader(HERE / "templates"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        undefined=StrictUndefined,
    )


def document(template: str, scripts: Sequence[str], styles: Sequence[str], **values: Any) -> str:
    """Return a template filled in; what it shows is text, unless it is Markup.

    Args:
        template: a file of `templates/`.
        scripts, styles: all that may run and give looks, in the order in which the template has them.
        values: by name, as the template calls them.
    """
    return (
        _templates()
        .get_template(template)
        .render(
            policy=policy(scripts, styles),
            scripts=[Markup(script) for script in scripts],
            styles=[Markup(style) for style in styles],
            **values,
        )
    )


def policy(scripts: Sequence[str], styles: Sequence[str]) -> str:
    """Return a Content-Security-Policy that forbids everything but these scripts and styles, by their digests."""
    allowed = {"script-src": scripts, "style-src": styles}
    parts = ["default-src 'none'"]
    for directive, texts in allowed.items():
        parts.append(f"{directive} {' '.join(map(_source, texts)) or chr(39) + 'none' + chr(39)}")
    return "; ".join([*parts, "base-uri 'none'", "form-action 'none'"])


def _source(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


@cache
def part(name: str) -> str:
    """Return the text of a file of `templates/`, a script or a style."""
    return (HERE / "templates" / name).read_text("utf-8")


@cache
def vendored(name: str) -> str:
    """Return the text of a file of `vendor/`, which is what was published. Raises ValueError when it is not."""
    content = (HERE / "vendor" / name).read_bytes()
    digest = json.loads((HERE / "vendor" / "digests.json").read_text("utf-8"))[name]["sha256"]
    if hashlib.sha256(content).hexdigest() != digest:
        raise ValueError(f"{HERE / 'vendor' / name}: not the file that digests.json names; install giftbench anew")
    return content.decode("utf-8")
