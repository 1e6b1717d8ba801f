"""How tests look at a scenario's tables."""

from __future__ import annotations

from typing import Any

import pandas

from harness.boards.records import Record, to_frame
from harness.leaderboard.tables import Table
from harness.running.scenario import named


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
