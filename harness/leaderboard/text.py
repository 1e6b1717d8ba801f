"""How values and names are written: numbers, labels in Markdown, errors in one short line without anybody's paths."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable
from typing import cast

_QUOTED_PATH = re.compile(r"""(['"])(?:file://)?(?:/|[A-Za-z]:[\\/])(?:[^'"]*[/\\])?([^'"/\\]*)[/\\]?\1""")
_PATH = re.compile(r"""(?:file://|(?<![\w.…~:/\\]))(?:/|(?<!\w)[A-Za-z]:[\\/])(?:[^\s/\\'"(),;]+[/\\])*([^\s/\\'"(),;]+)[/\\]?""")
#: What would be markup in a line of GitHub's Markdown: emphasis, code, tags, comments, cells, strokes, formulas, entities, links.
_SPECIAL = re.compile(r"[\\`*<|~$]|(?<!\w)_|_(?!\w)|(?<=<)!(?=--)|&(?=#?\w+;)|(?<=\])[(\[:]|:(?=//)|(?<=\bwww)\.", re.IGNORECASE)
_BREAKS = re.compile(r"\s*[\r\n\v\f\x1c-\x1e\x85\u2028\u2029]+\s*")
#: What spreadsheets take a cell for a formula by (OWASP, CSV injection).
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def as_text(value: object) -> str:
    """Return a label as text: missing is empty, whole numbers have no point, white space is single spaces."""
    if isinstance(value, str):
        return " ".join(value.split())
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (dict, list, tuple)):
        return json.dumps(value, sort_keys=True, default=str)
    try:
        return number(cast(float, value))
    except (TypeError, ValueError):
        return " ".join(str(value).split())


def number(value: float | None) -> str:
    """Return a number in its shortest form; empty when it is missing."""
    if isinstance(value, int):
        return str(value)  # of any size, which no float is
    if value is None or math.isnan(value):
        return ""
    return str(int(value)) if float(value).is_integer() else repr(float(value))


def fixed(value: float, decimals: int) -> str:
    """Return a number with so many decimals, never a negative zero; empty when it is missing."""
    if math.isnan(value):
        return ""
    shown = f"{value:.{decimals}f}"
    return shown[1:] if shown.startswith("-") and not shown.strip("-0.") else shown


def without_paths(text: str) -> str:
    """Return `text` with every absolute path cut to its last part, so that it reads the same on every machine."""
    return _PATH.sub(r"…/\1", _QUOTED_PATH.sub(r"\1…/\2\1", text))


def escape(text: str) -> str:
    """Return a label as Markdown that shows it as it is, on one line, in a table cell too."""
    return _SPECIAL.sub(lambda match: "\\" + match.group(), without_paths(_BREAKS.sub(" ", text)))


def paragraphs(text: str) -> str:
    """Return text as Markdown that shows it as it is; empty lines divide its paragraphs."""
    parts = (escape(part.strip()) for part in re.split(r"\n[ \t]*\n", text))
    return "\n\n".join(_first(part) for part in parts if part)


def _first(part: str) -> str:
    number = re.match(r"\d+(?=[.)])|(?=[#>+=-])", part)
    return part if number is None else f"{number[0]}\\{part[number.end() :]}"


def csv_cell(text: str) -> str:
    """Return a text as a cell of a CSV file that no spreadsheet takes for a formula; numbers stay what they are."""
    if not text.startswith(_FORMULA):
        return text
    try:
        float(text)
    except ValueError:
        return "'" + text
    return text


def code(text: str) -> str:
    """Return `text` as a Markdown code span."""
    return "`" + _BREAKS.sub(" ", text).replace("`", "'").replace("<!--", "< !--") + "`"


def short_error(error: str, limit: int = 160) -> str:
    """Return an error in short: no absolute paths, no memory addresses, at most `limit` characters."""
    line = without_paths(re.sub(r"\b0x[0-9a-fA-F]{4,}", "0x…", " ".join(error.split()))) or "no reason was recorded"
    return line if len(line) <= limit else line[: limit - 1].rstrip() + "…"


def listed(words: Iterable[str]) -> str:
    """Return `a`, `a and b` or `a, b and c`."""
    words = list(words)
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def runs(values: Iterable[int]) -> str:
    """Return whole numbers in ascending order, four or more in a row as a range: `0, 1, 2` and `0–9, 20`."""
    groups: list[list[int]] = []
    for value in sorted(set(values)):
        if groups and value == groups[-1][-1] + 1:
            groups[-1].append(value)
        else:
            groups.append([value])
    return ", ".join(f"{g[0]}–{g[-1]}" if len(g) > 3 else ", ".join(map(str, g)) for g in groups)


def letter(index: int) -> str:
    """Return the name of a footnote: a, b, … z, aa, ab, …"""
    return (letter(index // 26 - 1) if index >= 26 else "") + chr(ord("a") + index % 26)
