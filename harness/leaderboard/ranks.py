"""What changes in a leaderboard when records join it: cells that are new, and losses that change places, by `table.csv`."""

from __future__ import annotations

import csv
import io
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from harness.leaderboard.tables import Table
from harness.leaderboard.text import csv_cell, escape, fixed, without_paths

#: The column of `table.csv` that the labels stand before.
FIRST = "n"


@dataclass(frozen=True)
class Scale:
    """How the figures of a column are ordered and printed: whether the lowest is the best, and with how many decimals."""

    lowest: bool = False
    decimals: int = 1


#: {(scenario, table's title): (what its column labels are, {column label: scale})}, all as `table.csv` writes them; what is not
#: there has the usual scale.
Scales = Mapping[tuple[str, str], tuple[str, Mapping[str, Scale]]]


@dataclass(frozen=True)
class Cell:
    """A cell that has a number: its labels, how many seeds, the mean as printed, and its loss's place within its column."""

    labels: tuple[tuple[str, str], ...]
    seeds: int
    mean: str
    place: int


def scales(tables: Iterable[tuple[str, Table]]) -> dict[tuple[str, str], tuple[str, dict[str, Scale]]]:
    """Return the scales of the columns of (scenario, table) pairs."""
    known = {}
    for scenario, table in tables:
        decimals = dict(zip(table.cells["column"], table.cells["decimals"], strict=True)) if "decimals" in table.cells else {}
        own = {}
        for label in dict.fromkeys(label for _, label in table.column_labels):
            places = decimals.get(label, math.nan)
            own[_as_written(label)] = Scale(table.has_lowest(label), 1 if math.isnan(places) else int(places))
        known[_as_written(scenario), _as_written(table.title)] = (table.told_by, own)
    return known


def _as_written(text: str) -> str:
    return csv_cell(without_paths(text))


def cells(table: str, scales: Scales) -> dict[tuple[tuple[str, str], ...], Cell]:
    """Return the cells of a `table.csv` that have a number, by their labels.

    A loss's place is that among the cells that are alike in all labels but the loss, by the direction of their column; equal
    means share one.
    """
    groups: dict[tuple[tuple[str, str], ...], list[tuple[tuple[tuple[str, str], ...], int, str]]] = defaultdict(list)
    directions: dict[tuple[tuple[str, str], ...], bool] = {}
    for row in csv.DictReader(io.StringIO(table)):
        names = [*row][: [*row].index(FIRST)] if FIRST in row else []
        if not names or not row.get("mean"):
            continue
        labels = tuple((name, row[name]) for name in names)
        alike = tuple((name, value) for name, value in labels if name != "loss")
        axis, own = scales.get((row["scenario"], row["table"]), ("", {}))
        scale = own.get(row.get(axis, ""), Scale())
        directions[alike] = scale.lowest
        groups[alike].append((labels, int(float(row[FIRST])), fixed(float(row["mean"]), scale.decimals)))
    known = {}
    for alike, group in groups.items():
        order = sorted({float(mean) for _, _, mean in group}, reverse=not directions[alike])
        for labels, seeds, mean in group:
            known[labels] = Cell(labels, seeds, mean, order.index(float(mean)) + 1)
    return known


def changes(before: str, after: str, scales: Scales) -> str:
    """Return as Markdown what is new or other in one `table.csv` than in an earlier one, a line each cell."""
    earlier, later = cells(before, scales), cells(after, scales)
    rows = [(earlier.get(labels), cell) for labels, cell in later.items() if earlier.get(labels) != cell]
    gone = [cell for labels, cell in earlier.items() if labels not in later]
    if not rows and not gone:
        return "No cell of the leaderboard changes.\n"
    moved = sum(old is not None and old.place != new.place for old, new in rows)
    added = sum(old is None for old, _ in rows)
    head = f"{added} cells are new, {len(rows) - added} change, {moved} of them their place; {len(gone)} go.\n"
    lines = ["| cell | loss | mean | place |", "| --- | --- | --- | --- |"]
    for old, new in rows:
        mean = f"{new.mean} (n = {new.seeds})" if old is None else f"{old.mean} (n = {old.seeds}) → {new.mean} (n = {new.seeds})"
        place = str(new.place) if old is None or old.place == new.place else f"**{old.place} → {new.place}**"
        lines.append(f"| {_where(new)} | {escape(dict(new.labels).get('loss', ''))} | {mean} | {place} |")
    lines += [f"| {_where(cell)} | {escape(dict(cell.labels).get('loss', ''))} | {cell.mean} → gone | |" for cell in gone]
    return head + "\n" + "\n".join(lines) + "\n"


def _where(cell: Cell) -> str:
    return escape(", ".join(value for name, value in cell.labels if value and name != "loss"))
