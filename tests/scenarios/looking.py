"""What tests of scenarios have in common: sets, records that nobody ran, and how a table is looked at."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pandas

from harness.boards.frames import to_frame
from harness.boards.records import Record
from harness.boards.trial import Trial
from harness.leaderboard.tables import Table
from harness.running.scenario import named

RDED = {"method": "rded", "title": "RDED", "ipc": 1, "candidates": 2, "crops": 1}
RANDOM = {"method": "random", "title": "Random", "ipc": 1, "native": "kl"}


def fake(trials: list[Trial], accuracy: Callable[[Trial], float]) -> list[Record]:
    """Return records of trials that nobody ran."""
    return [Record.of(t, "done", metrics={"accuracy": accuracy(t)}, environment={"device": "CPU"}) for t in trials]


def tables_of(records: list[Record]) -> list[Table]:
    """Return a scenario's own tables of these records."""
    return named(records[0].trial.scenario).tables(to_frame(records))


def cell(table: Table, **place: str) -> pandas.Series[Any]:
    """Return the one cell at this place."""
    found = table.cells
    for name, value in place.items():
        found = found[found[name] == value]
    assert len(found) == 1, found
    return found.iloc[0]
