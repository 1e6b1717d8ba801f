"""Tables as GitHub Markdown that reads well as plain text too."""

from __future__ import annotations

from tabulate import tabulate

from harness.leaderboard.tables import Table
from harness.leaderboard.text import escape


def markdown(table: Table, level: int = 3, fold: bool = False) -> str:
    """Return a table with its heading, footnotes and notes.

    Args:
        level: of the heading; 0 leaves the heading out.
        fold: put the notes (not the footnotes) behind a line that opens on a click.
    """
    parts = [f"{'#' * level} {table.title}"] if level else []
    parts.append(grid(table))
    if fold and table.notes:
        parts.append(bullets(table.footnotes))
        parts.append(f"<details><summary>What these numbers rest on</summary>\n\n{bullets(table.notes)}\n\n</details>")
    else:
        parts.append(bullets([*table.footnotes, *table.notes]))
    return "\n\n".join(part for part in parts if part) + "\n"


def bullets(notes: list[str]) -> str:
    """Return a Markdown list."""
    return "\n".join(f"- {note}" for note in notes)


def grid(table: Table) -> str:
    """Return the table itself: a method's name stands in its first row only."""
    cells, marks = table.shown("value", "suffix", "native"), table.marks()
    shown = {place: _cell(value, suffix, *marks[place]) for place, (value, suffix, _) in cells.items()}
    native = {place[:2] for place, (*_, is_native) in cells.items() if is_native and table.rows == "loss"}
    several = len({ipc for ipc, _ in table.column_labels}) > 1
    lines, above = [], None
    for method, row in table.row_labels:
        values = [shown.get((method, row, ipc, column), "") for ipc, column in table.column_labels]
        label = escape(row) + (" (native)" if (method, row) in native else "")
        lines.append(["" if method == above else escape(method), label, *values])
        above = method
    heads = [
        " / ".join(filter(None, [f"IPC {ipc}" if ipc and (several or not column) else "", escape(column)]))
        for ipc, column in table.column_labels
    ]
    text: str = tabulate(
        lines,
        headers=[escape(table.groups), escape(table.corner), *heads],
        tablefmt="pipe",
        colalign=["left", "left", *["right"] * len(heads)],
        disable_numparse=True,
    )
    return text


def _cell(value: object, suffix: object, bold: bool, underlined: bool) -> str:
    text = escape(str(value))
    text = f"<u>{text}</u>" if underlined else text
    return (f"**{text}**" if bold else text) + escape(str(suffix))
