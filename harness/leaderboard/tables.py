"""From records to tables: a pure function of a DataFrame of records."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pandas

from harness.leaderboard.cells import CELL, cells_of, is_native, natives
from harness.leaderboard.columns import AXES, each
from harness.leaderboard.notes import footnotes, notes, usual_count
from harness.leaderboard.settings import Setting, separate
from harness.leaderboard.text import escape, fixed

#: A table wider than this many columns becomes one table an IPC.
WIDEST = 9


@dataclass(frozen=True, eq=False)
class Table:
    """A table of one setting.

    Attributes:
        title: dataset, IPC when it is one, and what tells this setting from the others of the same records.
        cells: long form, one row a cell. A scenario that makes its own tables needs the columns `method`, `row`, `ipc`, `column`
            and `value` (the text); `rank` (1 bold, 2 underlined), `suffix` (what follows the value), the axes' own names and
            the figures of table.csv are optional. Labels and values are plain text.
        rows, columns: what the labels are, as tables call it: "loss", "optimizer".
        row_labels: (method, label) of each row, from top to bottom.
        column_labels: (IPC, label) of each column, from left to right.
        footnotes: what the marks in the cells mean, Markdown.
        notes: what the numbers rest on, Markdown, a bullet each.
    """

    title: str
    cells: pandas.DataFrame
    rows: str
    columns: str
    row_labels: tuple[tuple[str, str], ...]
    column_labels: tuple[tuple[str, str], ...]
    footnotes: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def pivot(frame: pandas.DataFrame, rows: str = "loss", columns: str = "optimizer") -> list[Table]:
    """Return the tables of a DataFrame of records (`harness.records.to_frame`).

    One table a setting, as in Tables 5 and 12 of the GIFT paper: rows are methods and, within each, the labels `rows` with the
    native loss first; columns are IPC by the labels `columns`. Records that differ in anything else are never averaged and
    never stand in one table. Cells are mean ± standard deviation (ddof 1) of the accuracy after the last epoch.

    Args:
        frame: one row a record, in any order; the scenario's own labels may be axes.
        rows, columns: columns of the frame that make the axes.
    """
    if frame.empty:
        return []
    return [table for setting in separate(frame, rows, columns) for table in _tables(setting, rows, columns)]


def _tables(setting: Setting, rows: str, columns: str) -> Iterator[Table]:
    records = setting.records
    cells = cells_of(records, rows, columns)
    ipcs = sorted(records["ipc"].unique(), key=lambda ipc: float(ipc or "inf"))
    if len(ipcs) * records["column"].nunique() <= WIDEST:
        yield _table(setting, records, cells, ipcs, rows, columns)
        return
    for ipc in ipcs:
        yield _table(setting, records[records["ipc"] == ipc], cells[cells["ipc"] == ipc], [ipc], rows, columns)


def _table(
    setting: Setting, records: pandas.DataFrame, cells: pandas.DataFrame, ipcs: list[str], rows: str, columns: str
) -> Table:
    native = natives(records)
    labels = list(records["row"].unique())
    row_labels = [
        (method, label)
        for method in records["method"].unique()
        for label in sorted(labels, key=lambda label: rows == "loss" and label != native.get(method))
    ]
    column_labels = [(ipc, label) for ipc in ipcs for label in records["column"].unique()]
    filled = _filled(cells, row_labels, column_labels, records, rows, columns)
    letters, marks = footnotes(filled)
    usual = usual_count(filled)
    filled["value"] = [_value(cell) for cell in each(filled)]
    filled["suffix"] = [_suffix(cell, letters, usual) for cell in each(filled)]
    single = f"IPC {ipcs[0]}" if len(ipcs) == 1 and ipcs[0] else ""
    title = ", ".join(part for part in (escape(setting.dataset), single) if part) or "Results"
    title += f" — {', '.join(setting.heading)}" if setting.heading else ""
    under = notes(records, filled, rows, columns)
    return Table(title, filled, rows, columns, tuple(row_labels), tuple(column_labels), marks, [*setting.notes, *under])


def _filled(
    cells: pandas.DataFrame,
    row_labels: list[tuple[str, str]],
    column_labels: list[tuple[str, str]],
    records: pandas.DataFrame,
    rows: str,
    columns: str,
) -> pandas.DataFrame:
    """Return the cells as they are laid out, row by row, with those that have no record put in."""
    places = [(method, ipc, row, column) for method, row in row_labels for ipc, column in column_labels]
    filled = cells.set_index(CELL).reindex(pandas.MultiIndex.from_tuples(places, names=CELL)).reset_index()
    for name in ("n", "records", "diverged", "failed", "rank"):
        filled[name] = filled[name].fillna(0).astype("int64")
    filled["errors"] = [errors if isinstance(errors, tuple) else () for errors in filled["errors"]]
    for name in AXES:
        filled[name] = filled["row"] if name == rows else filled["column"] if name == columns else records[name].iloc[0]
    for axis, name in (("row", rows), ("column", columns)):
        if name not in filled:
            filled[name] = filled[axis]
    sets = records.drop_duplicates(["method", "ipc"]).set_index(["method", "ipc"])["distilled"].to_dict()
    filled["distilled"] = [sets.get((method, ipc), "") for method, ipc, _, _ in places]
    filled["native"] = is_native(filled, natives(records))
    filled["dataset"] = records["dataset"].iloc[0]
    return filled


def _value(cell: Any) -> str:
    """Return what a cell shows, without marks: `97.2 ± 0.3`, or why there is no figure."""
    if cell.n:
        return fixed(cell.mean, 1) + ("" if math.isnan(cell.std) else f" ± {fixed(cell.std, 1)}")
    if not cell.records:
        return "— not run"
    return "— failed" if cell.failed else "— diverged" if cell.diverged else "— no accuracy"


def _suffix(cell: Any, letters: dict[str, str], usual: int) -> str:
    """Return what follows the value: † when a seed diverged, the gain, the count of seeds when it is not the usual one."""
    gain = "" if math.isnan(cell.gain) else _gain(cell.gain)
    count = f"(n={cell.n})" if cell.n and (cell.n != usual or cell.failed) else ""
    failed = f"({', '.join(letters[error] for error in cell.errors)})" if cell.errors else ""
    words = " ".join(word for word in (gain, count, failed) if word)
    return ("†" if cell.diverged else "") + (f" {words}" if words else "")


def _gain(points: float) -> str:
    shown = fixed(points, 1)
    return shown if shown == "0.0" else ("↑" + shown if points > 0 else "↓" + shown.lstrip("-"))
