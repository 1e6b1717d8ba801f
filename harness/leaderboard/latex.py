"""Tables as LaTeX, for a paper: `booktabs`, ties in bold, and nothing else to load."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from itertools import groupby

from harness.leaderboard.page.inline import plain
from harness.leaderboard.tables import Table
from harness.leaderboard.text import without_paths

#: What LaTeX reads as a command, and signs that its fonts have under another name.
SIGNS = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "%": r"\%",
    "_": r"\_",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': "{''}",
    "'": r"\textquotesingle{}",
    "`": r"\textasciigrave{}",
    "-": "{-}",  # two of them are no dash
    "±": r"$\pm$",
    "↑": r"$\uparrow$",
    "↓": r"$\downarrow$",
    "†": r"$^{\dagger}$",
    "—": "---",
    "–": "--",
    "…": r"\dots{}",
    "×": r"$\times$",
    "²": "$^2$",
    "≤": r"$\leq$",
    "≥": r"$\geq$",
    "γ": r"$\gamma$",
    "α": r"$\alpha$",
    "β": r"$\beta$",
    "ß": r"\ss{}",
    "ø": r"\o{}",
    "æ": r"\ae{}",
}
#: The accents that LaTeX sets, by the combining character.
ACCENTS = {"\u0300": "`", "\u0301": "'", "\u0302": "^", "\u0303": "~", "\u0308": '"', "\u030a": "r", "\u030c": "v", "\u0327": "c"}
#: A gain as a suffix has it, and what a caption says of gains.
GAIN = re.compile(r"[↑↓]|\([+-]?\d+\.\d+\)")
GAINS = "points above or below the native loss, in brackets where their 95 % interval holds 0"
HEAD = r"""% Put \usepackage{booktabs,textcomp} into the preamble, and \input this file or copy a table out of it.
% Bold: the best of a set's rows in its column and all that cannot be told from it; underlined: the best of several bold ones.
"""


def table_tex(tables: Sequence[tuple[str, Table]]) -> str:
    """Return (scenario, table) pairs as LaTeX, each a `table` with a caption and a label of its own."""
    return HEAD + "".join(f"\n{_float(number, scenario, table)}" for number, (scenario, table) in enumerate(tables, 1))


def tex(text: str) -> str:
    """Return text as LaTeX that shows it as it is, on one line; a character that its fonts lack becomes a question mark."""
    return "".join(_sign(sign) for sign in " ".join(without_paths(text).split()))


def _sign(sign: str) -> str:
    if sign in SIGNS:
        return SIGNS[sign]
    if " " <= sign <= "~":
        return sign
    base, *marks = [*unicodedata.normalize("NFKD", sign)]
    if len(marks) == 1 and base.isascii() and marks[0] in ACCENTS:
        return f"\\{ACCENTS[marks[0]]}{{{base}}}"
    return "?"


def _float(number: int, scenario: str, table: Table) -> str:
    labels = table.column_labels
    lines = [
        r"\begin{table}",
        r"\centering\small",
        rf"\caption{{{tex(scenario)}: {tex(plain(table.title))}. {tex(_caption(table))}}}",
        rf"\label{{tab:{re.sub(r'[^a-z0-9]+', '-', scenario.lower()).strip('-')}-{number}}}",
        rf"\begin{{tabular}}{{ll{'r' * len(labels)}}}",
        r"\toprule",
        *_heads(table),
        r"\midrule",
        *_rows(table),
        r"\bottomrule",
        r"\end{tabular}",
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"


def _caption(table: Table) -> str:
    """Return what a table's cells hold, the small figures that follow some of them included."""
    return table.contents + (f" In small: {GAINS}." if _gains(table) else "")


def _gains(table: Table) -> bool:
    return any(GAIN.search(str(suffix)) for (suffix,) in table.shown("suffix").values())


def _heads(table: Table) -> Iterator[str]:
    """Yield the lines above a table's rows: IPCs over the columns that each has, where there are both."""
    labels, first = table.column_labels, f"{tex(table.groups)} & {tex(table.corner)}"
    if not any(column for _, column in labels):
        yield f"{first} & {' & '.join(_ipc(ipc) for ipc, _ in labels)} " + r"\\"
        return
    if any(ipc for ipc, _ in labels):
        spans, rules, at = [], [], 3
        for ipc, group in groupby(labels, key=lambda label: label[0]):
            width = len([*group])
            spans.append(rf"\multicolumn{{{width}}}{{c}}{{{_ipc(ipc)}}}")
            rules.append(rf"\cmidrule(lr){{{at}-{at + width - 1}}}")
            at += width
        yield f"& & {' & '.join(spans)} " + r"\\"
        yield "".join(rules)
    yield f"{first} & {' & '.join(tex(column) for _, column in labels)} " + r"\\"


def _ipc(ipc: str) -> str:
    return f"IPC {tex(ipc)}" if ipc else ""


def _rows(table: Table) -> Iterator[str]:
    cells, marks, above = table.shown("value", "suffix"), table.marks(), None
    for method, row in table.row_labels:
        if above not in (None, method):
            yield r"\midrule"
        places = [(method, row, ipc, column) for ipc, column in table.column_labels]
        values = [_cell(cells[place], marks[place]) if place in cells else "" for place in places]
        yield f"{'' if method == above else tex(method)} & {tex(row)} & {' & '.join(values)} " + r"\\"
        above = method


def _cell(cell: tuple[object, ...], marks: tuple[bool, bool]) -> str:
    """Return a cell's value and what follows it, the spread and the gain in small."""
    (value, suffix), (bold, underlined) = cell, marks
    mean, sign, spread = str(value).partition(" ± ")
    text = tex(mean)
    text = rf"\underline{{{text}}}" if underlined else text
    text = rf"\textbf{{{text}}}" if bold else text
    small = " ".join(part for part in (f"$\\pm$ {tex(spread)}" if sign else "", tex(str(suffix))) if part)
    return text + (rf" {{\scriptsize {small}}}" if small else "")
