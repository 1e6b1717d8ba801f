"""What the tests of students share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

Table = list[list[str]]


@pytest.fixture
def docstring_table() -> Callable[[Any], Table]:
    """Return a reader of the Markdown table in an object's docstring: its rows of cells, without the head."""

    def read(thing: Any) -> Table:
        lines = [line.strip() for line in (thing.__doc__ or "").splitlines()]
        rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]
        assert len(rows) > 3, "the docstring lost its table"
        return rows[2:]

    return read
