"""From records to tables: a pure function of a DataFrame of records."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal

import pandas

from harness.leaderboard.cells import Cell, cells_of, natives, ranks
from harness.leaderboard.columns import AXES, each
from harness.leaderboard.notes import FACTS, MEASURE, Facts, footnotes, notes, usual_count
from harness.leaderboard.settings import Setting, separate
from harness.leaderboard.text import escape, fixed

#: What a cell that a scenario adds has beside its text, unless it says otherwise.
EMPTY = {"rank": 0, "suffix": "", "native": False, "n": 0, "diverged": 0, "failed": 0}
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
        rows, columns: what the labels are, as tables call it: "loss", "optimizer". `columns` is empty where IPC alone makes them.
        row_labels: (method, label) of each row, from top to bottom.
        column_labels: (IPC, label) of each column, from left to right.
        footnotes: what the marks in the cells mean, Markdown.
        notes: what the numbers rest on, Markdown, a bullet each.
        groups: what `method` is, as tables call it.
        records: what the cells were made of, for paired statistics: method, ipc, row and column as they stand in `cells`, seed,
            accuracy (NaN when the trial failed); None when the scenario made the table itself.
    """

    title: str
    cells: pandas.DataFrame
    rows: str
    columns: str
    row_labels: tuple[tuple[str, str], ...]
    column_labels: tuple[tuple[str, str], ...]
    footnotes: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    groups: str = "set"
    records: pandas.DataFrame | None = None

    def with_column(self, label: str, entries: Mapping[tuple[str, str, str], Mapping[str, Any]]) -> Table:
        """Return the table with one more column after those of each IPC.

        Args:
            label: of the column.
            entries: {(method, row, IPC): {"value": text, and perhaps "mean", "std", "low", "high", "rank"}}; others stay empty.
        """
        own = {self.rows, self.columns} & {*self.cells.columns}
        added = []
        for (method, row, ipc), entry in entries.items():
            names = {"method": method, "row": row, "ipc": ipc, "column": label}
            axes = {name: row if name == self.rows else label for name in own}
            added.append({**EMPTY, **axes, **names, **entry})
        ipcs = list(dict.fromkeys(ipc for ipc, _ in self.column_labels))
        labels = tuple(pair for ipc in ipcs for pair in [*(p for p in self.column_labels if p[0] == ipc), (ipc, label)])
        cells = pandas.concat([self.cells, pandas.DataFrame(added)], ignore_index=True) if added else self.cells
        return replace(self, cells=cells, column_labels=labels)

    def regrouped(self, groups: str) -> Table:
        """Return the table with rows and methods in each other's place, ranked anew; `groups` is what the rows were."""
        names = {"method": "row", "row": "method"}
        cells = self.cells.rename(columns=names)
        cells["setting"] = 0
        cells["rank"] = ranks(cells).to_numpy()
        methods = list(dict.fromkeys(method for method, _ in self.row_labels))
        rows = list(dict.fromkeys(row for _, row in self.row_labels))
        labels = tuple((row, method) for row in rows for method in methods if (method, row) in {*self.row_labels})
        records = None if self.records is None else self.records.rename(columns=names)
        return replace(self, cells=cells, rows=self.groups, groups=groups, row_labels=labels, records=records)

    def seeds(self, method: str, row: str, ipc: str, column: str) -> dict[int, float]:
        """Return {seed: accuracy} of one cell; failed trials are left out."""
        return dict(self._seeds.get((method, row, ipc, column), {}))

    @cached_property
    def _seeds(self) -> dict[tuple[str, str, str, str], dict[int, float]]:
        accuracies: dict[tuple[str, str, str, str], dict[int, float]] = {}
        if self.records is not None:
            columns = (self.records[name].tolist() for name in ("method", "row", "ipc", "column", "seed", "accuracy"))
            for *place, seed, accuracy in zip(*columns, strict=True):
                if not pandas.isna(accuracy):
                    accuracies.setdefault((place[0], place[1], place[2], place[3]), {})[seed] = accuracy
        return accuracies


@dataclass(frozen=True)
class Layout:
    """How `pivot` lays out records.

    Attributes:
        rows, columns: columns of the frame that make the axes; `columns` may be empty: IPC alone.
        decided: labels that the axes or other labels decide, and that make no table of their own.
        gains: the axis along which a loss is compared with the native one; "" shows no gains. None: where losses are an axis.
        each_ipc: whether every IPC has a table of its own, however narrow.
        lowest: column labels under which the lowest figure is the best one; True for all of them.
        measure: what the cells show, one sentence.
    """

    rows: str = "loss"
    columns: str = "optimizer"
    decided: Collection[str] = ()
    gains: Literal["rows", "columns", ""] | None = None
    each_ipc: bool = False
    lowest: Collection[str] | bool = ()
    measure: str = MEASURE

    @property
    def compared(self) -> str:
        """The axis along which gains are taken."""
        if self.gains is not None:
            return self.gains
        return "rows" if self.rows == "loss" else "columns" if self.columns == "loss" else ""


def pivot(frame: pandas.DataFrame, rows: str = "loss", columns: str = "optimizer", **layout: Any) -> list[Table]:
    """Return the tables of a DataFrame of records (`harness.boards.records.to_frame`).

    One table a setting, as in Tables 5 and 12 of the GIFT paper: rows are methods and, within each, the labels `rows` with the
    native loss first; columns are IPC by the labels `columns`. Records that differ in anything else are never averaged and
    never stand in one table. Cells are mean ± standard deviation (ddof 1) of the accuracy after the last epoch.

    Args:
        frame: one row a record, in any order; the scenario's own labels may be axes.
        rows, columns, layout: fields of `Layout`.
    """
    if frame.empty:
        return []
    how = Layout(rows, columns, **layout)
    settings = separate(frame, rows, columns, how.decided)
    records = pandas.concat([s.records.assign(setting=i) for i, s in enumerate(settings)], ignore_index=True)
    cells, native = cells_of(records, how.compared, how.lowest), natives(records)
    facts: dict[int, list[Any]] = {}
    for fact in each(records[["setting", *FACTS]].drop_duplicates()):
        facts.setdefault(fact.setting, []).append(fact)
    seeds: dict[int, dict[str, list[int]]] = {}
    for place in each(records[["setting", "ipc", "seed"]].drop_duplicates()):
        seeds.setdefault(place.setting, {}).setdefault(place.ipc, []).append(int(place.seed))
    tables: list[Table] = []
    for i, setting in enumerate(settings):
        losses = {fact.method: native[i, fact.method] for fact in facts[i] if (i, fact.method) in native}
        tables.extend(_Maker(setting, how, losses, seeds[i]).tables(facts[i], cells[i]))
    return tables


def measured(frame: pandas.DataFrame, metric: str) -> pandas.DataFrame:
    """Return a DataFrame of records with one of their metrics in the place of the accuracy, for `pivot` to show and rank by."""
    return frame.assign(accuracy=frame.get(metric)).drop(columns=["best_accuracy"], errors="ignore")


@dataclass(frozen=True)
class _Maker:
    """Makes the tables of one setting's cells; `native` is {method: native loss}, `seeds` those of each IPC's records."""

    setting: Setting
    layout: Layout
    native: Mapping[str, str]
    seeds: Mapping[str, Sequence[int]]

    def tables(self, facts: Facts, cells: Sequence[Cell]) -> Iterator[Table]:
        """Yield one table, or one an IPC where that would be too wide."""
        ipcs = sorted({fact.ipc for fact in facts}, key=lambda ipc: float(ipc or "inf"))
        if not self.layout.each_ipc and len(ipcs) * len({fact.column for fact in facts}) <= WIDEST:
            yield self.table(facts, cells, ipcs)
            return
        for ipc in ipcs:
            yield self.table([fact for fact in facts if fact.ipc == ipc], [cell for cell in cells if cell.ipc == ipc], [ipc])

    def table(self, facts: Facts, cells: Sequence[Cell], ipcs: Sequence[str]) -> Table:
        """Return the table of these facts and cells."""
        rows, columns = self.layout.rows, self.layout.columns
        labels = list(dict.fromkeys(fact.row for fact in facts))
        row_labels = tuple(
            (method, label)
            for method in dict.fromkeys(fact.method for fact in facts)
            for label in sorted(labels, key=lambda label: rows == "loss" and label != self.native.get(method))
        )
        column_labels = tuple((ipc, label) for ipc in ipcs for label in dict.fromkeys(fact.column for fact in facts))
        laid = self.laid_out(facts, cells, [(m, ipc, row, column) for m, row in row_labels for ipc, column in column_labels])
        letters, marks = footnotes(laid)
        usual = usual_count(laid)
        long = pandas.DataFrame([vars(cell) for cell in laid])
        for axis, name in (("row", rows), ("column", columns)):
            if name and name not in long:
                long[name] = long[axis]
        long["dataset"] = self.setting.dataset
        long["value"] = [_value(cell) for cell in laid]
        long["suffix"] = [_suffix(cell, letters, usual) for cell in laid]
        single = f"IPC {ipcs[0]}" if len(ipcs) == 1 and ipcs[0] else ""
        title = ", ".join(part for part in (escape(self.setting.dataset), single) if part) or "Results"
        title += f" — {', '.join(self.setting.heading)}" if self.setting.heading else ""
        ran = [seed for ipc in ipcs for seed in self.seeds[ipc]]
        under = [*self.setting.notes, *notes(facts, ran, laid, self.native, self.layout.compared, self.layout.measure)]
        records = self.setting.records[["method", "ipc", "row", "column", "seed", "accuracy"]]
        return Table(title, long, rows, columns, row_labels, column_labels, marks, under, records=records)

    def laid_out(self, facts: Facts, cells: Sequence[Cell], places: Sequence[tuple[str, str, str, str]]) -> list[Cell]:
        """Return the cells row by row, with those that have no record put in."""
        known = {(cell.method, cell.ipc, cell.row, cell.column): cell for cell in cells}
        digests = {(fact.method, fact.ipc): fact.distilled for fact in facts}
        usual: dict[str, Any] = {name: "" if name in self.layout.decided else getattr(facts[0], name) for name in AXES}
        laid = []
        for place in places:
            method, ipc, row, column = place
            trained = usual | {
                name: label for name, label in ((self.layout.rows, row), (self.layout.columns, column)) if name in AXES
            }
            native = bool(trained["loss"]) and trained["loss"] == self.native.get(method)
            laid.append(known.get(place) or Cell(*place, **trained, distilled=digests.get((method, ipc), ""), native=native))
        return laid


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
