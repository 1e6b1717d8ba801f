"""Training curves: test accuracy, and loss where there is one, over epochs, as records hold them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import pandas

from harness.boards.records import LOSS
from harness.leaderboard.cells import PLACE
from harness.leaderboard.columns import each
from harness.leaderboard.figures import Figure, curves
from harness.leaderboard.statistics import half_widths, summaries
from harness.leaderboard.tables import Table
from harness.leaderboard.text import number


class Quantity(NamedTuple):
    """What a curve shows: the name that a record's history has for it, words for it, and what is said below it, Markdown."""

    name: str
    title: str
    unit: str
    note: str = ""


#: Losses have sizes of their own, so that what a panel holds of several is how far each of them has fallen.
LOSSES = "Mean loss of the steps since the test before, by that of the steps before the first test; each line under its own loss."
QUANTITIES = (
    Quantity("accuracy", "Accuracy over epochs", "accuracy in %"),
    Quantity(LOSS, "Training loss over epochs", "share of the first training loss", LOSSES),
)


def training_curves(name: str, tables: Sequence[Table], frame: pandas.DataFrame) -> list[Figure]:
    """Return figures of what records hold of their trainings: a panel a set and column, a line a row, as the tables have them.

    Only trainings that were tested at several epochs have a line.

    Args:
        name: of the scenario.
        frame: the records that the tables were made of, with their `history`.
    """
    if frame.empty or "history" not in frame:
        return []
    histories = {name: entries for name, entries in each(frame, "id", "history") if _several(entries)}
    if not histories:
        return []
    figures = []
    values = {"accuracy": histories, LOSS: {name: _fallen(entries) for name, entries in histories.items()}}
    for quantity in QUANTITIES:
        parts = [part for table in tables for part in _over_epochs(table, values[quantity.name], quantity.name)]
        how: dict[str, Any] = {"title": quantity.title, "x_label": "epoch", "y_label": quantity.unit, "panels": "method"}
        for figure in curves(parts, name=f"{name} {quantity.name} by epoch", **how):
            figures.append(replace(figure, caption=" ".join(filter(None, [quantity.note, figure.caption]))))
    return figures


def _fallen(history: Sequence[Mapping[str, float]]) -> list[Mapping[str, float]]:
    """Return a history with each loss as a share of the first; without any where that is not above 0."""
    first = next((entry[LOSS] for entry in history if LOSS in entry), math.nan)
    return [entry | {LOSS: entry[LOSS] / first} for entry in map(dict, history) if LOSS in entry] if first > 0 else []


def _several(history: object) -> bool:
    return isinstance(history, list) and len({entry.get("epoch") for entry in history} - {None}) > 1


def _over_epochs(table: Table, histories: Mapping[str, Sequence[Mapping[str, float]]], quantity: str) -> list[Table]:
    """Return a table a column of `table`, whose columns are epochs; none where nothing is known at several."""
    if table.records is None or "id" not in table.records:
        return []
    points = [
        (*place, float(entry["epoch"]), float(entry[quantity]))
        for *place, name in each(table.records, *PLACE, "id")
        for entry in histories.get(name, ())
        if {"epoch", quantity} <= entry.keys() and math.isfinite(entry[quantity])
    ]
    known = pandas.DataFrame(points, columns=[*PLACE, "epoch", quantity])
    known = known[known.groupby([*PLACE])["epoch"].transform("nunique") > 1]
    if known.empty:
        return []
    cells = summaries(known, [*PLACE, "epoch"], quantity).reset_index()
    half = half_widths(cells["n"], cells["std"])
    cells = cells.assign(low=cells["mean"] - half, high=cells["mean"] + half)
    columns = [column for column in dict.fromkeys(column for _, column in table.column_labels) if column in {*cells["column"]}]
    return [_of_column(table, cells, column, len(columns) > 1) for column in columns]


def _of_column(table: Table, cells: pandas.DataFrame, column: str, several: bool) -> Table:
    own = cells[cells["column"] == column]
    own = own.assign(column=own["epoch"].map(number))
    ipcs = dict.fromkeys(ipc for ipc, _ in table.column_labels)
    labels = tuple((ipc, number(epoch)) for ipc in ipcs for epoch in sorted({*own["epoch"]}))
    words = " — " if " — " not in table.title else ", "
    title = f"{table.title}{words}{column}" if several and column else table.title
    changes: dict[str, Any] = {"title": title, "cells": own.reset_index(drop=True), "column_labels": labels, "records": None}
    return replace(table, **changes)
