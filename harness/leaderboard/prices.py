"""Price beside worth: what a cell's number cost, from the prices of its records."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

import pandas

from harness.boards.records import Record
from harness.leaderboard.columns import AXES, labels
from harness.leaderboard.tables import Table
from harness.leaderboard.text import escape, listed

#: The one price that is not the same when a trial runs again; it stands in timing.csv, and in no other file that is compared.
TIME = "worker_seconds"


class Measure(NamedTuple):
    """One price: its column, what tables call it, and its unit in words."""

    column: str
    title: str
    meaning: str


#: What a trial costs. Columns of the frame that `Prices` gives, NaN where a price is not known.
MEASURES = (
    Measure("image_bytes", "images", "bytes of the set's images in its authors' files, else as 8-bit pixels, one a value"),
    Measure("pixel_bytes", "images as 8-bit pixels", "bytes of these images as 8-bit pixels, one a value, however they lie"),
    Measure("label_bytes", "labels", "bytes of its labels in its authors' files (a class: as few whole bytes as tell it)"),
    Measure(
        "needed_label_bytes",
        "labels if the teacher's were stored",
        "bytes of all labels that training takes: the teacher's in half precision, a vector for each image that it sees, as FKD "
        "stores them",
    ),
    Measure("steps", "steps", "updates of the student"),
    Measure("teacher_passes", "teacher passes", "images that the teacher's networks see"),
    Measure("operations", "operations", "floating-point operations of training: student forward and backward, teacher forward"),
    Measure(TIME, "worker seconds", "of the whole trial, on the device of its record"),
)
COLUMNS = [measure.column for measure in MEASURES]
#: What is shown only where it is not the same as another price: sets of files are beside sets of pixels there.
ALIKE = {"pixel_bytes": "image_bytes"}
#: Gives the prices of records: a frame with the columns `COLUMNS`, whose index is their ids.
Prices = Callable[[Sequence[Record]], pandas.DataFrame]


def told(cells: pandas.DataFrame, column: str) -> bool:
    """Whether a price says more of any cell than the one that it is usually the same as."""
    return column not in ALIKE or bool((cells[column] != cells[ALIKE[column]])[cells[column].notna()].any())


def unknown(records: Sequence[Record]) -> pandas.DataFrame:
    """Return prices that nobody has counted."""
    return pandas.DataFrame(float("nan"), index=[record.id for record in records], columns=COLUMNS)


def beside(frame: pandas.DataFrame, prices: pandas.DataFrame) -> pandas.DataFrame:
    """Return a frame of records with their prices."""
    if frame.empty:
        return frame
    return frame.drop(columns=COLUMNS, errors="ignore").join(prices[COLUMNS].astype("float64"), on="id")


def priced(table: Table, frame: pandas.DataFrame) -> Table:
    """Return a table whose cells have the mean prices of their records, and whose notes say where these differ.

    Args:
        frame: the records of its section, with the columns `COLUMNS`.
    """
    if frame.empty or not {*COLUMNS} <= {*frame.columns}:
        return table
    keys = _keys(table, frame)
    records = labels(frame, [*keys.values()])
    means = frame[COLUMNS].groupby([records[key] for key in keys.values()], sort=False).mean()
    cells = table.cells.drop(columns=COLUMNS, errors="ignore")
    places = labels(cells, [*keys])
    cells[COLUMNS] = means.reindex(pandas.MultiIndex.from_frame(places)).to_numpy()
    note = _note(cells, table)
    return replace(table, cells=cells, notes=[*table.notes, *([note] if note else [])])


def _keys(table: Table, frame: pandas.DataFrame) -> dict[str, str]:
    """Return {column of the cells: label of the records} by which a cell knows its records; `groups` says what `method` is."""
    axes = {"method": table.groups, "row": table.rows, "column": table.columns}
    labels = {column: "method" if axis == "set" else axis for column, axis in axes.items() if axis not in ("", *AXES)}
    keys = {**labels, **{name: name for name in ("ipc", *AXES, "distilled")}}
    return {column: label for column, label in keys.items() if column in table.cells and label in frame}


def _note(cells: pandas.DataFrame, table: Table) -> str:
    """Return what the cells cost: one figure where all cost the same, else the least and the most, and by what they differ."""
    counted = cells[cells["n"] > 0] if "n" in cells else cells
    shown = [measure for measure in MEASURES if measure.column != TIME and told(counted, measure.column)]
    parts = [part for measure in shown if (part := _range(counted, measure, table))]
    return f"Price: {'; '.join(parts)}." if parts else ""


def _range(cells: pandas.DataFrame, measure: Measure, table: Table) -> str:
    """Return one price of all cells in words; empty where none is known."""
    values = cells[measure.column].dropna()
    if values.empty:
        return ""
    low, high = float(values.min()), float(values.max())
    if amount(measure, low) == amount(measure, high):
        return f"{measure.title} {amount(measure, high)}"
    words = f"{measure.title} {amount(measure, low)} to {amount(measure, high)}"
    by = [name for name, column in _axes(table) if _decides(cells, column, measure.column)]
    return words + (f" (by {listed(map(escape, by))})" if by else "")


def _axes(table: Table) -> Iterator[tuple[str, str]]:
    yield from (("IPC", "ipc"), (table.groups, "method"), (table.rows, "row"))
    if table.columns:
        yield table.columns, "column"


def _decides(cells: pandas.DataFrame, axis: str, price: str) -> bool:
    """Whether a price differs along an axis where all else is the same."""
    others = [name for name in ("method", "row", "ipc", "column") if name != axis]
    spread = cells.groupby(others)[price].agg(["min", "max"])
    return bool((spread["max"] > spread["min"]).any())


def amount(measure: Measure, value: float) -> str:
    """Return a price with its unit: `10.2 kB`, `1,000`, `3.1 GFLOP`, `12 s`. Units are powers of a thousand."""
    if measure.column.endswith("bytes"):
        return _scaled(value, "B")
    if measure.column == "operations":
        return _scaled(value, "FLOP")
    if measure.column == TIME:
        return f"{value:.3g} s" if value < 100 else f"{value:,.0f} s"
    return f"{value:,.0f}"


def _scaled(value: float, unit: str) -> str:
    for prefix in ("", "k", "M", "G", "T", "P"):
        if value < 999.5 or prefix == "P":
            break
        value /= 1000
    return f"{value:.3g} {prefix}{unit}"
