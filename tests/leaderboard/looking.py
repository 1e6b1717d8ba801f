"""Tables and files as the tests look at them, and a figure to draw."""

from __future__ import annotations

import random
from pathlib import Path

import pandas

from harness.leaderboard.figures import Figure, Line, Panel
from harness.leaderboard.tables import Table, pivot

FILES = ["README.md", "table.csv", "table.tex", "timing.csv", "index.html"]


def only(frame, **axes) -> Table:
    found = pivot(frame, **axes)
    assert len(found) == 1, [table.title for table in found]
    return found[0]


def shown(table: Table) -> dict[tuple[str, ...], str]:
    """Return {(method, row, ipc, column): value and suffix}."""
    return {(c.method, c.row, c.ipc, c.column): c.value + c.suffix for c in table.cells.itertuples()}


def ranks(table: Table) -> dict[str, int]:
    return {c.row: c.rank for c in table.cells.itertuples()}


def note(table: Table, start: str) -> str:
    found = [n for n in [*table.footnotes, *table.notes] if n.startswith(start)]
    assert len(found) == 1, (start, table.footnotes, table.notes)
    return found[0]


def contents(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in FILES}


def table(folder: Path) -> pandas.DataFrame:
    return pandas.read_csv(folder / "table.csv", keep_default_na=False, na_values=[""])


def a_few(planter, **changes):
    for loss, accuracy in (("gift", 85.0), ("kl", 80.0)):
        for optimizer in ("sgd", "adamw"):
            planter.cell(accuracy, accuracy + 1, accuracy + 2, loss=loss, optimizer=optimizer, **changes)


def figure(lines: int, points: int = 4, panels: int = 2, words: int = 4, seed: int = 0) -> Figure:
    """A curve of random numbers, every line in every panel; labels have up to so many words."""
    draws = random.Random(seed)
    x = tuple(float(i + 1) for i in range(points))
    labels = [f"{i}" + " word" * draws.randrange(words) for i in range(lines)]
    made = [
        Panel(
            f"IPC {panel}",
            tuple(
                Line(label, x, tuple(draws.uniform(10, 90) for _ in x), tuple(draws.uniform(0, 5) for _ in x)) for label in labels
            ),
        )
        for panel in range(panels)
    ]
    return Figure("accuracy", "Accuracy", tuple(made), "steps", "accuracy in %")
