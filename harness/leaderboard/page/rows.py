"""What a page's tables hold: the tables of one scenario as a single long one, a row a cell."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import pandas

from harness.leaderboard.cells import PLACE
from harness.leaderboard.columns import AXES, each
from harness.leaderboard.page.inline import plain
from harness.leaderboard.statistics import Summary, half_width
from harness.leaderboard.tables import Table
from harness.leaderboard.text import as_text, fixed, without_paths

#: What a reader filters by, and the columns that come first; a scenario's own axes come after them.
FILTERS = ("dataset", "set", "IPC", "student", "optimizer", "loss", "labels")
#: How a page calls the axes.
NAMES = {"model": "student", "ipc": "IPC", "method": "set"}
#: The last of a row's labels: what its numbers are, with their unit, and what tells a table from the others of its scenario.
QUANTITY, SETTING = "quantity", "setting"
LAST = (QUANTITY, SETTING)


@dataclass(frozen=True)
class Row:
    """One cell of a table.

    Attributes:
        key: ten hexadecimal digits, of where the cell stands: it stays what it is as the board grows.
        labels: {column: text}; a column that is missing is empty.
        value: what the cell shows, `97.2 ± 0.3` or a text of the scenario's own.
        mean: of what the label `quantity` says; NaN where the cell is a text.
        low, high: ends of the mean's 95 % interval, or of that which the table itself gives; NaN where there is none.
        gain, gain_low, gain_high: points above the native loss, with the ends of their interval; NaN where there is none.
        n: seeds in the mean; `notes`: what else is to be said of them.
        tied: whether the cell is the best of its column, or cannot be told from it.
        status: verified, claimed or reported; empty where nobody has said.
        seeds: (record's id, value) of each seed.
        best: percent, the mean of each seed's best test evaluation, which nothing is ranked by; NaN where nobody has said.
        decimals: with which numbers are shown; scores in [0, 1] have more than percent.
    """

    key: str
    labels: Mapping[str, str]
    value: str
    mean: float
    low: float
    high: float
    gain: float
    gain_low: float
    gain_high: float
    n: int
    notes: str
    tied: bool
    status: str
    seeds: tuple[tuple[str, float], ...]
    best: float = math.nan
    decimals: int = 1

    @property
    def interval(self) -> str:
        """The mean's interval as a table shows it."""
        return "" if math.isnan(self.low) else f"{fixed(self.low, self.decimals)} to {fixed(self.high, self.decimals)}"

    @property
    def best_on_test(self) -> str:
        """The best on test as a table shows it."""
        return fixed(self.best, self.decimals)

    @property
    def gained(self) -> str:
        """The gain as a table shows it: `+1.5 [0.2, 2.8]`."""
        if math.isnan(self.gain):
            return ""
        interval = "" if math.isnan(self.gain_low) else f" [{fixed(self.gain_low, 1)}, {fixed(self.gain_high, 1)}]"
        points = fixed(self.gain, 1)
        return ("+" if self.gain > 0 and points != "0.0" else "") + points + interval

    @property
    def untold(self) -> bool:
        """Whether the gain's interval holds 0."""
        return self.gain_low <= 0 <= self.gain_high


@dataclass(frozen=True)
class LongTable:
    """The tables of one scenario.

    Attributes:
        columns: names of the labels that differ between rows, in order.
        same: {name: text} of those that do not: they are said above the table.
        rows: from top to bottom as the tables have them.
        missing: how many cells have no record.
    """

    columns: tuple[str, ...] = ()
    same: Mapping[str, str] = field(default_factory=dict)
    rows: tuple[Row, ...] = ()
    missing: int = 0


def long_table(scenario: str, tables: Sequence[Table], taught: Mapping[str, bool]) -> LongTable:
    """Return the tables of a scenario as one.

    Args:
        taught: {record's id: whether a teacher gave it soft labels}.
    """
    rows: list[Row] = []
    missing = 0
    taken: set[str] = set()
    for table in tables:
        for row in _rows(scenario, table, taught, taken):
            if row is None:
                missing += 1
            else:
                rows.append(row)
    names = list(dict.fromkeys(name for row in rows for name in row.labels))
    names.sort(key=_place)
    values = {name: {row.labels.get(name, "") for row in rows} for name in names}
    columns = tuple(name for name in names if len(values[name]) > 1)
    same = {name: next(iter(values[name])) for name in names if len(values[name]) == 1}
    return LongTable(columns, {name: value for name, value in same.items() if value}, tuple(rows), missing)


def _place(name: str) -> int:
    """Return where a label's column stands among the others: what is filtered by first, a scenario's own axes after it."""
    order = (*FILTERS, "", *LAST)
    return order.index(name if name in order else "")


def _rows(scenario: str, table: Table, taught: Mapping[str, bool], taken: set[str]) -> Iterator[Row | None]:
    """Yield a row for each cell that the table shows, None for one that was not run."""
    seeds = _seeds(table, taught)
    front, _, setting = table.title.partition(" — ")
    numbers = [
        "n",
        "mean",
        "std",
        "low",
        "high",
        "gain",
        "gain_low",
        "gain_high",
        "records",
        "diverged",
        "failed",
        "rank",
        "mean_low",
        "mean_high",
        "best_on_test_mean",
        "decimals",
    ]
    texts = [*dict.fromkeys(["dataset", *AXES, "value", "suffix", "evidence"])]
    cells = table.cells
    frame = cells.reindex(columns=numbers).apply(pandas.to_numeric, errors="coerce").astype("float64")
    for name in texts:
        frame[name] = cells.get(name, "")
    for end in ("low", "high"):
        frame[end] = frame[end].fillna(frame[f"mean_{end}"])
    frame["tied"] = cells["tied"].eq(True) if "tied" in cells else frame["rank"] == 1
    places = [tuple(map(str, place)) for place in each(cells, *PLACE)]
    facts = dict(zip(places, frame.to_dict("records"), strict=True))
    of_row = _axes_of_rows(facts)
    dataset = plain(front).split(", IPC ")[0]
    for method, row in table.row_labels:
        for ipc, column in table.column_labels:
            place = (method, row, ipc, column)
            cell = facts.get(place)
            if cell is None:
                continue
            if cell["records"] == 0 and math.isnan(cell["mean"]):
                yield None
                continue
            known = {name: _text(cell[name]) or of_row.get((method, row, ipc, name), "") for name in AXES}
            labels = {"dataset": _text(cell["dataset"]) or dataset, **{NAMES.get(name, name): known[name] for name in AXES}}
            labels |= {"IPC": ipc, "labels": _labels(seeds.get(place, ()), taught)}
            labels |= {NAMES.get(axis, axis): text for axis, text in _axes(table, place)}
            labels |= {QUANTITY: table.shows(column), SETTING: plain(setting)}
            yield _row(_key(taken, scenario, table.title, *place), labels, cell, seeds.get(place, ()))


def _axes(table: Table, place: tuple[str, str, str, str]) -> list[tuple[str, str]]:
    method, row, _, column = place
    return [(table.groups, method), (table.rows, row), *([(table.told_by, column)] if table.told_by else [])]


def _axes_of_rows(facts: Mapping[tuple[Any, ...], Mapping[str, Any]]) -> dict[tuple[str, str, str, str], str]:
    """Return {(method, row, IPC, axis): text} where all cells of a row that say anything of an axis say the same."""
    said: dict[tuple[str, str, str, str], set[str]] = {}
    for (method, row, ipc, _), cell in facts.items():
        for name in AXES:
            if _text(cell[name]):
                said.setdefault((method, row, ipc, name), set()).add(_text(cell[name]))
    return {place: next(iter(texts)) for place, texts in said.items() if len(texts) == 1}


def _row(key: str, labels: Mapping[str, str], cell: Mapping[str, Any], seeds: tuple[tuple[str, float], ...]) -> Row:
    n = 0 if math.isnan(cell["n"]) else int(cell["n"])
    low, high = cell["low"], cell["high"]
    if math.isnan(low) and n > 1 and not math.isnan(cell["std"]):
        half = half_width(Summary(n, cell["mean"], cell["std"]))
        low, high = cell["mean"] - half, cell["mean"] + half
    notes = [f"{int(cell[name])} {name}" for name in ("diverged", "failed") if cell[name] > 0]
    shown = {name: without_paths(" ".join(text.split())) for name, text in labels.items()}
    return Row(
        key,
        shown,
        without_paths(_text(cell["value"])) + ("†" if cell["diverged"] > 0 else ""),
        cell["mean"],
        low,
        high,
        cell["gain"],
        cell["gain_low"],
        cell["gain_high"],
        n,
        ", ".join(notes),
        bool(cell["tied"]) and not math.isnan(cell["mean"]),
        _text(cell["evidence"]),
        seeds,
        cell["best_on_test_mean"],
        1 if math.isnan(cell["decimals"]) else int(cell["decimals"]),
    )


def _seeds(table: Table, known: Collection[str]) -> dict[tuple[str, ...], tuple[tuple[str, float], ...]]:
    """Return {place: (record's id, value) of each seed} of known records; none where the scenario made its table itself."""
    values: dict[tuple[str, ...], list[tuple[int, str, float]]] = {}
    if table.records is not None and "id" in table.records:
        for *place, seed, accuracy, name in each(table.records, *PLACE, "seed", "accuracy", "id"):
            if name in known:
                values.setdefault(tuple(place), []).append((seed, name, accuracy))
    return {place: tuple((name, value) for _, name, value in sorted(members)) for place, members in values.items()}


def _labels(seeds: Sequence[tuple[str, float]], taught: Mapping[str, bool]) -> str:
    """Return which labels a cell's students learned from, as far as its trials say: hard, soft."""
    kinds = {taught[name] for name, _ in seeds}
    return "" if len(kinds) != 1 else "soft" if kinds == {True} else "hard"


@lru_cache(maxsize=4096)
def _digest(place: str) -> str:
    return hashlib.sha256(place.encode("utf-8", "surrogatepass")).hexdigest()[:10]


def _key(taken: set[str], *place: str) -> str:
    """Return a digest of where a cell stands; of several that stand at one place, each has its own."""
    again = 0
    while (key := _digest(json.dumps([*place, again] if again else place))) in taken:
        again += 1
    taken.add(key)
    return key


def _text(value: object) -> str:
    return "" if value is None or value != value else as_text(value)
