"""From records to tables: a pure function of a DataFrame of records."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas

from harness.leaderboard.cells import Cell, cells_of, natives
from harness.leaderboard.columns import AXES, each
from harness.leaderboard.notes import FACTS, Facts, footnotes, notes, usual_count
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
    settings = separate(frame, rows, columns)
    records = pandas.concat([s.records.assign(setting=i) for i, s in enumerate(settings)], ignore_index=True)
    cells, native = cells_of(records, rows, columns), natives(records)
    facts: dict[int, list[Any]] = {}
    for fact in each(records[["setting", *FACTS]].drop_duplicates()):
        facts.setdefault(fact.setting, []).append(fact)
    found: list[Table] = []
    for i, setting in enumerate(settings):
        losses = {fact.method: native[i, fact.method] for fact in facts[i] if (i, fact.method) in native}
        found.extend(_Layout(setting, rows, columns, losses).tables(facts[i], cells[i]))
    return found


@dataclass(frozen=True)
class _Layout:
    """How one setting's cells become tables; `native` is {method: native loss}."""

    setting: Setting
    rows: str
    columns: str
    native: Mapping[str, str]

    def tables(self, facts: Facts, cells: Sequence[Cell]) -> Iterator[Table]:
        """Yield one table, or one an IPC where that would be too wide."""
        ipcs = sorted({fact.ipc for fact in facts}, key=lambda ipc: float(ipc or "inf"))
        if len(ipcs) * len({fact.column for fact in facts}) <= WIDEST:
            yield self.table(facts, cells, ipcs)
            return
        for ipc in ipcs:
            yield self.table([fact for fact in facts if fact.ipc == ipc], [cell for cell in cells if cell.ipc == ipc], [ipc])

    def table(self, facts: Facts, cells: Sequence[Cell], ipcs: Sequence[str]) -> Table:
        """Return the table of these facts and cells."""
        labels = list(dict.fromkeys(fact.row for fact in facts))
        row_labels = tuple(
            (method, label)
            for method in dict.fromkeys(fact.method for fact in facts)
            for label in sorted(labels, key=lambda label: self.rows == "loss" and label != self.native.get(method))
        )
        column_labels = tuple((ipc, label) for ipc in ipcs for label in dict.fromkeys(fact.column for fact in facts))
        laid = self.laid_out(facts, cells, [(m, ipc, row, column) for m, row in row_labels for ipc, column in column_labels])
        letters, marks = footnotes(laid)
        usual = usual_count(laid)
        long = pandas.DataFrame([vars(cell) for cell in laid])
        for axis, name in (("row", self.rows), ("column", self.columns)):
            if name not in long:
                long[name] = long[axis]
        long["dataset"] = self.setting.dataset
        long["value"] = [_value(cell) for cell in laid]
        long["suffix"] = [_suffix(cell, letters, usual) for cell in laid]
        single = f"IPC {ipcs[0]}" if len(ipcs) == 1 and ipcs[0] else ""
        title = ", ".join(part for part in (escape(self.setting.dataset), single) if part) or "Results"
        title += f" — {', '.join(self.setting.heading)}" if self.setting.heading else ""
        under = [*self.setting.notes, *notes(facts, laid, self.native, self.rows)]
        return Table(title, long, self.rows, self.columns, row_labels, column_labels, marks, under)

    def laid_out(self, facts: Facts, cells: Sequence[Cell], places: Sequence[tuple[str, str, str, str]]) -> list[Cell]:
        """Return the cells row by row, with those that have no record put in."""
        known = {(cell.method, cell.ipc, cell.row, cell.column): cell for cell in cells}
        digests = {(fact.method, fact.ipc): fact.distilled for fact in facts}
        usual = {name: getattr(facts[0], name) for name in AXES}
        found = []
        for place in places:
            method, ipc, row, column = place
            trained = usual | {name: label for name, label in ((self.rows, row), (self.columns, column)) if name in AXES}
            native = bool(trained["loss"]) and trained["loss"] == self.native.get(method)
            found.append(known.get(place) or Cell(*place, **trained, distilled=digests.get((method, ipc), ""), native=native))
        return found


def _value(cell: Cell) -> str:
    """Return what a cell shows, without marks: `97.2 ± 0.3`, or why there is no figure."""
    if cell.n:
        return fixed(cell.mean, 1) + ("" if math.isnan(cell.std) else f" ± {fixed(cell.std, 1)}")
    if not cell.records:
        return "— not run"
    return "— failed" if cell.failed else "— diverged" if cell.diverged else "— no accuracy"


def _suffix(cell: Cell, letters: dict[str, str], usual: int) -> str:
    """Return what follows the value: † when a seed diverged, the gain, the count of seeds when it is not the usual one."""
    gain = "" if math.isnan(cell.gain) else _gain(cell.gain)
    count = f"(n={cell.n})" if cell.n and (cell.n != usual or cell.failed) else ""
    failed = f"({', '.join(letters[error] for error in cell.errors)})" if cell.errors else ""
    words = " ".join(word for word in (gain, count, failed) if word)
    return ("†" if cell.diverged else "") + (f" {words}" if words else "")


def _gain(points: float) -> str:
    shown = fixed(points, 1)
    return shown if shown == "0.0" else ("↑" + shown if points > 0 else "↓" + shown.lstrip("-"))
