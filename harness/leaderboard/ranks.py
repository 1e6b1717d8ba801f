"""What changes in a leaderboard when records join it: cells that are new, and losses that change places, by `table.csv`."""

from __future__ import annotations

import csv
import io
from collections import defaultdict
from dataclasses import dataclass

from harness.leaderboard.text import escape, fixed

#: The column of `table.csv` that the labels stand before.
FIRST = "n"


@dataclass(frozen=True)
class Cell:
    """A cell that has a number: its labels, how many seeds, the mean as printed, and its loss's place within its column."""

    labels: tuple[tuple[str, str], ...]
    seeds: int
    mean: str
    place: int


def cells(table: str) -> dict[tuple[tuple[str, str], ...], Cell]:
    """Return the cells of a `table.csv` that have a number, by their labels.

    A loss's place is that among the cells that are alike in all labels but the loss; equal means share one.
    """
    groups: dict[tuple[tuple[str, str], ...], list[tuple[tuple[tuple[str, str], ...], int, str]]] = defaultdict(list)
    for row in csv.DictReader(io.StringIO(table)):
        names = [*row][: [*row].index(FIRST)] if FIRST in row else []
        if not names or not row.get("mean"):
            continue
        labels = tuple((name, row[name]) for name in names)
        alike = tuple((name, value) for name, value in labels if name != "loss")
        groups[alike].append((labels, int(float(row[FIRST])), fixed(float(row["mean"]), 1)))
    known = {}
    for group in groups.values():
        order = sorted({float(mean) for _, _, mean in group}, reverse=True)
        for labels, seeds, mean in group:
            known[labels] = Cell(labels, seeds, mean, order.index(float(mean)) + 1)
    return known


def changes(before: str, after: str) -> str:
    """Return as Markdown what is new or other in one `table.csv` than in an earlier one, a line each cell."""
    earlier, later = cells(before), cells(after)
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
