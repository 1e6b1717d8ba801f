"""From records to tables: a pure function of a DataFrame of records."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal

import pandas

from harness.leaderboard.cells import PLACE, cells_of, natives, standing
from harness.leaderboard.columns import AXES, ascending, each
from harness.leaderboard.notes import ACCURACY, FACTS, MEASURE, footnotes, notes, told, told_anew, usual_count
from harness.leaderboard.settings import Setting, separate
from harness.leaderboard.text import escape, fixed, listed

#: What a cell that a scenario adds has beside its text, unless it says otherwise.
EMPTY = {"rank": 0, "tied": False, "suffix": "", "native": False, "n": 0, "diverged": 0, "failed": 0}
#: What is known of a cell before its records are looked at.
KNOWN = ["table", *PLACE, *AXES, "native", "distilled"]
#: A table wider than this many columns becomes one table an IPC.
WIDEST = 9


@dataclass(frozen=True, eq=False)
class Table:
    """A table of one setting.

    Attributes:
        title: dataset, IPC when it is one, and what tells this setting from the others of the same records.
        cells: long form, one row a cell. A scenario that makes its own tables needs the columns `method`, `row`, `ipc`, `column`
            and `value` (the text); `tied` (bold), `rank` (1 underlined where several are bold; bold where there is no `tied`),
            `suffix` (what follows the value), `decimals` (of its numbers elsewhere, 1 unless it says more), the axes' own names
            and the figures of table.csv are optional. Labels and values are plain text.
        rows, columns: what the labels are, as tables call it: "loss", "optimizer". `columns` is empty where IPC alone makes them.
        row_labels: (method, label) of each row, from top to bottom.
        column_labels: (IPC, label) of each column, from left to right.
        footnotes: what the marks in the cells mean, Markdown.
        notes: what the numbers rest on, Markdown, a bullet each.
        groups: what `method` is, as tables call it.
        records: what the cells were made of, for paired statistics: method, ipc, row and column as they stand in `cells`, seed,
            accuracy (NaN when the trial failed) and the record's id; None when the scenario made the table itself.
        lowest: column labels under which the lowest figure is the best one; True for all of them.
        compared: the axis along which gains are taken; "" for none.
        quantity: what the numbers are, with their unit: "accuracy in %".
        quantities: {column label: what is under it}, of columns under which it is something else.
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
    lowest: Collection[str] | bool = ()
    compared: str = ""
    quantity: str = ACCURACY
    quantities: Mapping[str, str] = field(default_factory=dict)

    @property
    def told_by(self) -> str:
        """What the column labels are; `shows` where IPC alone made the columns, and others were added beside them."""
        return self.columns or ("shows" if any(column for _, column in self.column_labels) else "")

    def has_lowest(self, column: str) -> bool:
        """Return whether the lowest figure under a column label is the best one."""
        return self.lowest is True or column in [*(self.lowest or ())]

    @property
    def corner(self) -> str:
        """What the rows are and, where the columns are bare numbers, what those are."""
        numbers = any(column.strip("-").replace("/", "").replace(".", "").isdecimal() for _, column in self.column_labels)
        return f"{self.rows} by {self.columns}" if numbers and self.columns else self.rows

    def shows(self, column: str) -> str:
        """Return what stands under a column label, with its unit."""
        return self.quantities.get(column, self.quantity)

    @property
    def contents(self) -> str:
        """What the cells hold, in words, plain: each quantity, under which columns where there are several, and its spread."""
        values: dict[str, list[str]] = {column: [] for _, column in self.column_labels}
        for place, (value,) in self.shown("value").items():
            values[place[-1]].append(str(value))
        columns: dict[tuple[str, str], list[str]] = {}
        for column, texts in values.items():
            columns.setdefault((self.shows(column), _spread(texts)), []).append(column)
        parts = []
        for (quantity, spread), under in columns.items():
            where = f"{listed(under)}: " if len(columns) > 1 and under != [quantity] else ""
            parts.append(where + quantity + (f", {spread}" if spread else ""))
        words = "; ".join(parts)
        return words[:1].upper() + words[1:] + "."

    def with_column(self, label: str, entries: Mapping[tuple[str, str, str], Mapping[str, Any]], quantity: str = "") -> Table:
        """Return the table with one more column after those of each IPC.

        Args:
            label: of the column.
            entries: {(method, row, IPC): {"value": text, and perhaps "mean", "std", "low", "high", "rank", "tied"}}; others stay
                empty.
            quantity: what stands there, with its unit, where it is not what the others show.
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
        quantities = {**self.quantities, label: quantity} if quantity else self.quantities
        return replace(self, cells=cells, column_labels=labels, quantities=quantities)

    def regrouped(self, groups: str) -> Table:
        """Return the table with rows and methods in each other's place, ranked anew; `groups` is what the rows were."""
        names = {"method": "row", "row": "method"}
        cells = self.cells.rename(columns=names)
        records = None if self.records is None else self.records.rename(columns=names)
        methods = list(dict.fromkeys(method for method, _ in self.row_labels))
        rows = list(dict.fromkeys(row for _, row in self.row_labels))
        labels = tuple((row, method) for row in rows for method in methods if (method, row) in {*self.row_labels})
        turned = replace(self, cells=cells, rows=self.groups, groups=groups, row_labels=labels, records=records)
        return turned._ranked({}, before=told(self.cells, self.compared, self.groups))

    def ranked(self, values: Mapping[tuple[str, str, str, str], Mapping[int, float]], lowest: Collection[str]) -> Table:
        """Return the table with the cells of columns that were added to it ranked as the others are, all of them anew.

        Args:
            values: {(method, row, IPC, column): {seed: value}} of those cells.
            lowest: labels, among these columns, under which the lowest figure is the best one.
        """
        added = {column for *_, column in values}
        labels = {label for _, label in self.column_labels if self.has_lowest(label) and label not in added} | {*lowest}
        before = told(self.cells, self.compared, self.groups)
        return replace(self, lowest=tuple(sorted(labels)))._ranked(values, before)

    def _ranked(self, values: Mapping[tuple[str, str, str, str], Mapping[int, float]], before: Sequence[str]) -> Table:
        """Return the table ranked by the accuracies of its records, and by `values` where it has none.

        Args:
            before: the notes on what could be told.
        """
        cells = self.cells.assign(table=0).reset_index(drop=True)
        numbers = {place: number for number, place in enumerate(each(cells, *PLACE))}
        seeds = {place: {**self._seeds.get(place, {}), **values.get(place, {})} for place in numbers}
        rows = [(numbers[place], seed, value) for place, own in seeds.items() for seed, value in own.items()]
        anew = standing(cells, pandas.DataFrame(rows, columns=["cell", "seed", "accuracy"]), self.lowest)
        cells[anew.columns] = anew
        after = told(cells, self.compared, self.groups)
        return replace(self, cells=cells, notes=told_anew(self.notes, before, after))

    def shown(self, *names: str) -> dict[tuple[str, str, str, str], tuple[Any, ...]]:
        """Return {(method, row, IPC, column): what these columns hold} of the cells that the labels show, row by row.

        A column that the cells lack is as in `EMPTY`.
        """
        columns = (self.cells[name].tolist() if name in self.cells else [EMPTY[name]] * len(self.cells) for name in names)
        places = zip(*(self.cells[name].astype(str).tolist() for name in PLACE), strict=True)
        cells = dict(zip(places, zip(*columns, strict=True), strict=True))
        labels = ((method, row, ipc, column) for method, row in self.row_labels for ipc, column in self.column_labels)
        return {place: cells[place] for place in labels if place in cells}

    def marks(self) -> dict[tuple[str, str, str, str], tuple[bool, bool]]:
        """Return {(method, row, IPC, column): whether it is bold, whether it is underlined} of the cells that are shown.

        Bold are the best of a method's rows in its column and all that cannot be told from it; underlined the best mean, where
        that is not the only bold one.
        """
        told = "tied" in self.cells
        shown = self.shown("tied", "rank")
        bold = {place: bool(tied) if told else rank == 1 for place, (tied, rank) in shown.items()}
        counts = Counter((method, ipc, column) for (method, _, ipc, column), is_bold in bold.items() if is_bold)
        return {
            place: (bold[place], bold[place] and rank == 1 and counts[place[0], place[2], place[3]] > 1)
            for place, (_, rank) in shown.items()
        }

    def seeds(self, method: str, row: str, ipc: str, column: str) -> dict[int, float]:
        """Return {seed: accuracy} of one cell; failed trials are left out."""
        return dict(self._seeds.get((method, row, ipc, column), {}))

    @cached_property
    def _seeds(self) -> dict[tuple[str, str, str, str], dict[int, float]]:
        accuracies: dict[tuple[str, str, str, str], dict[int, float]] = {}
        if self.records is not None:
            for method, row, ipc, column, seed, accuracy in each(self.records, *PLACE, "seed", "accuracy"):
                if not pandas.isna(accuracy):
                    accuracies.setdefault((method, row, ipc, column), {})[seed] = accuracy
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
        quantity, quantities: see `Table`.
    """

    rows: str = "loss"
    columns: str = "optimizer"
    decided: Collection[str] = ()
    gains: Literal["rows", "columns", ""] | None = None
    each_ipc: bool = False
    lowest: Collection[str] | bool = ()
    measure: str = MEASURE
    quantity: str = ACCURACY
    quantities: Mapping[str, str] = field(default_factory=dict)

    @property
    def compared(self) -> str:
        """The axis along which gains are taken."""
        if self.gains is not None:
            return self.gains
        return "rows" if self.rows == "loss" else "columns" if self.columns == "loss" else ""


def pivot(frame: pandas.DataFrame, rows: str = "loss", columns: str = "optimizer", **layout: Any) -> list[Table]:
    """Return the tables of a DataFrame of records (`harness.boards.frames.to_frame`).

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
    records, settings = separate(frame, rows, columns, how.decided)
    records["native"] = natives(records)
    records["table"] = _numbers(records, how.each_ipc)
    records = records.sort_values("table", kind="stable", ignore_index=True)
    grids = [_Grid.of(facts, how) for _, facts in records.drop_duplicates(["table", *FACTS]).groupby("table")]
    places = pandas.DataFrame([place for grid in grids for place in grid.places(how)], columns=KNOWN)
    parts = [groups.groupby("table") for groups in (records, cells_of(records, places, how.compared, how.lowest))]
    return [
        _table(settings[part["setting"].iloc[0]], how, grid, part, cells.reset_index(drop=True))
        for grid, (_, part), (_, cells) in zip(grids, *parts, strict=True)
    ]


def measured(frame: pandas.DataFrame, metric: str) -> pandas.DataFrame:
    """Return a DataFrame of records with one of their metrics in the place of the accuracy, for `pivot` to show and rank by."""
    return frame.assign(accuracy=frame.get(metric)).drop(columns=["best_accuracy"], errors="ignore")


@dataclass(frozen=True)
class _Grid:
    """Where the cells of one table stand: `facts` of its records (`harness.leaderboard.notes.FACTS`), and the labels."""

    facts: pandas.DataFrame
    row_labels: tuple[tuple[str, str], ...]
    column_labels: tuple[tuple[str, str], ...]

    @classmethod
    def of(cls, facts: pandas.DataFrame, layout: Layout) -> _Grid:
        """Return the grid of a table: a method's native loss comes first, IPCs ascend, other labels stand in plan order."""
        rows, columns, ipcs = ([*dict.fromkeys(facts[name].tolist())] for name in ("row", "column", "ipc"))
        native = dict(each(facts, "method", "native"))
        row_labels = tuple(
            (method, row)
            for method in native
            for row in sorted(rows, key=lambda row: layout.rows == "loss" and row != native[method])
        )
        return cls(facts, row_labels, tuple((ipc, column) for ipc in sorted(ipcs, key=_size) for column in columns))

    def places(self, layout: Layout) -> Iterator[tuple[Any, ...]]:
        """Yield where each cell stands, row by row, and what is known of one that has no record: the columns `KNOWN`."""
        facts = self.facts
        table, native = facts["table"].iloc[0], dict(each(facts, "method", "native"))
        digests = {(method, ipc): digest for method, ipc, digest in each(facts, "method", "ipc", "distilled")}
        usual = {name: "" if name in layout.decided else facts[name].iloc[0] for name in AXES}
        for method, row in self.row_labels:
            for ipc, column in self.column_labels:
                trained = usual | {layout.rows: row, layout.columns: column}
                axes = (trained[name] for name in AXES)
                yield table, method, row, ipc, column, *axes, native[method], digests.get((method, ipc), "")


def _numbers(records: pandas.DataFrame, each_ipc: bool) -> list[int]:
    """Number the tables: one a setting, or one an IPC where that would be too wide or `each_ipc` asks for it."""
    labels: dict[int, tuple[set[str], set[str]]] = {}
    for setting, ipc, column in each(records, "setting", "ipc", "column"):
        ipcs, columns = labels.setdefault(setting, (set(), set()))
        ipcs.add(ipc)
        columns.add(column)
    cut = {setting for setting, (ipcs, columns) in labels.items() if each_ipc or len(ipcs) * len(columns) > WIDEST}
    return ascending((s, _size(ipc), ipc) if s in cut else (s,) for s, ipc in each(records, "setting", "ipc"))[0]


def _size(ipc: str) -> float:
    return float(ipc or "inf")


def _table(setting: Setting, layout: Layout, grid: _Grid, records: pandas.DataFrame, cells: pandas.DataFrame) -> Table:
    """Return the table of these records and cells, with all that stands around them."""
    letters, marks = footnotes(cells)
    usual = usual_count(cells)
    for axis, name in (("row", layout.rows), ("column", layout.columns)):
        if name and name not in cells:
            cells[name] = cells[axis]
    cells["dataset"] = setting.dataset
    cells["value"] = [_value(*cell) for cell in each(cells, "n", "mean", "std", "records", "diverged", "failed")]
    cells["suffix"] = [
        _suffix(*cell, letters=letters, usual=usual)
        for cell in each(cells, "n", "gain", "gain_low", "gain_high", "diverged", "failed", "errors")
    ]
    ipcs = list(dict.fromkeys(ipc for ipc, _ in grid.column_labels))
    single = f"IPC {ipcs[0]}" if len(ipcs) == 1 and ipcs[0] else ""
    title = ", ".join(part for part in (escape(setting.dataset), single) if part) or "Results"
    title += f" — {', '.join(setting.heading)}" if setting.heading else ""
    under = [*setting.notes, *notes(grid.facts, records["seed"], cells, layout.compared, layout.measure)]
    seeds = records[[*PLACE, "seed", "accuracy", "id"]]
    labels = (grid.row_labels, grid.column_labels)
    how: dict[str, Any] = {"records": seeds, "lowest": layout.lowest, "compared": layout.compared}
    how |= {"quantity": layout.quantity, "quantities": layout.quantities}
    return Table(title, cells, layout.rows, layout.columns, *labels, marks, under, **how)


def _spread(values: Iterable[str]) -> str:
    """Return what stands beside means, as texts show them: a standard deviation, an interval, nothing."""
    texts = [value for value in values if value[:1] not in ("", "—")]
    deviation, interval = any(" ± " in text for text in texts), any(" [" in text for text in texts)
    return "mean ± standard deviation" if deviation else "mean and 95 % interval" if interval else ""


def _value(n: int, mean: float, std: float, records: int, diverged: int, failed: int) -> str:
    """Return what a cell shows, without marks: `97.2 ± 0.3`, or why there is no figure."""
    if n:
        return fixed(mean, 1) + ("" if math.isnan(std) else f" ± {fixed(std, 1)}")
    if not records:
        return "— not run"
    return "— failed" if failed else "— diverged" if diverged else "— no accuracy"


def _suffix(
    n: int,
    gain: float,
    low: float,
    high: float,
    diverged: int,
    failed: int,
    errors: Sequence[str],
    *,
    letters: Mapping[str, str],
    usual: int,
) -> str:
    """Return what follows the value: † when a seed diverged, the gain, the count of seeds when it is not the usual one."""
    count = f"(n={n})" if n and (n != usual or failed) else ""
    marks = f"({', '.join(letters[error] for error in errors)})" if errors else ""
    words = " ".join(word for word in (_gain(gain, low, high), count, marks) if word)
    return ("†" if diverged else "") + (f" {words}" if words else "")


def _gain(points: float, low: float, high: float) -> str:
    """Return a gain: `↑4.1` where its interval leaves out 0, `(+4.1)` where it does not or there is none."""
    shown = fixed(points, 1)
    if not shown:
        return ""
    if low > 0 or high < 0:
        return ("↑" if points > 0 else "↓") + shown.lstrip("-")
    return f"({'+' if points > 0 and shown != '0.0' else ''}{shown})"
