"""Records to cells: n, mean, standard deviation, gain over the native loss, rank within a set. All settings in one pass."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import pandas

from harness.leaderboard.columns import AXES, each
from harness.leaderboard.statistics import summaries
from harness.leaderboard.text import fixed, short_error

BY = ["setting", "method", "ipc", "row", "column"]


@dataclass(frozen=True)
class Cell:
    """One cell of a table; the defaults are those of a cell that has no record.

    Attributes:
        method, ipc, row, column: where it stands.
        loss, optimizer, model: what was trained.
        distilled: SHA-256 of the set.
        n: seeds in the mean.
        mean, std: accuracy after the last epoch, percent (ddof 1).
        best_on_test_mean, top5_mean: percent.
        gain: points above the native loss.
        rank: 1 best and 2 second best of its column within the method, else 0.
        native: whether it is the loss of the set's authors.
        records, diverged, failed: how many there are.
        errors: of the failed ones, in short, each once.
    """

    method: str
    ipc: str
    row: str
    column: str
    loss: str
    optimizer: str
    model: str
    distilled: str = ""
    n: int = 0
    mean: float = math.nan
    std: float = math.nan
    best_on_test_mean: float = math.nan
    top5_mean: float = math.nan
    gain: float = math.nan
    rank: int = 0
    native: bool = False
    records: int = 0
    diverged: int = 0
    failed: int = 0
    errors: tuple[str, ...] = ()


def cells_of(records: pandas.DataFrame, compared: str, lowest: Collection[str] | bool = ()) -> dict[int, list[Cell]]:
    """Return {setting: its cells that have records, in plan order}; see `harness.leaderboard.tables.Layout` for the rest."""
    cells = summaries(records, BY, "accuracy")
    counted = records.assign(diverged=records["status"] == "diverged", failed=records["status"] == "failed", records=1)
    grouped = counted.groupby(BY, sort=False)
    cells["best_on_test_mean"], cells["top5_mean"] = grouped["best_accuracy"].mean(), grouped["top5_accuracy"].mean()
    for name in ("diverged", "failed", "records"):
        cells[name] = grouped[name].sum()
    for name in (*AXES, "distilled"):
        cells[name] = grouped[name].first()
    cells["errors"] = _errors(records).reindex(cells.index)
    cells["errors"] = [errors if isinstance(errors, tuple) else () for errors in cells["errors"]]
    cells = cells.reset_index()
    native = natives(records)
    places = zip(cells["setting"], cells["method"], strict=True)
    cells["native"] = [bool(loss) and native.get(place) == loss for place, loss in zip(places, cells["loss"], strict=True)]
    cells["gain"] = _gains(cells, compared)
    cells["rank"] = ranks(cells, lowest)
    cells_by_setting: dict[int, list[Cell]] = {}
    for setting, values in zip(cells["setting"], cells.drop(columns="setting").to_dict("records"), strict=True):
        cells_by_setting.setdefault(int(setting), []).append(Cell(**{str(name): value for name, value in values.items()}))
    return cells_by_setting


def natives(records: pandas.DataFrame) -> Mapping[tuple[int, str], str]:
    """Return {(setting, method): the loss its authors train with}; where records disagree, what most of them say."""
    said = records[records["native"] != ""].groupby(["setting", "method", "native"], sort=False).size()
    losses: dict[tuple[int, str], str] = {}
    for setting, method, native in said.sort_values(ascending=False, kind="stable").index:
        losses.setdefault((setting, method), native)
    return losses


def _errors(records: pandas.DataFrame) -> pandas.Series[Any]:
    failed = records[records["status"] == "failed"]
    short = {error: short_error(error) for error in failed["error"].unique()}
    listed: dict[tuple[object, ...], dict[str, None]] = {}
    for record in each(failed):
        place = (record.setting, record.method, record.ipc, record.row, record.column)
        listed.setdefault(place, {})[short[record.error]] = None
    index = pandas.MultiIndex.from_tuples(list(listed), names=BY) if listed else pandas.MultiIndex.from_arrays([[]] * 5, names=BY)
    return pandas.Series([tuple(errors) for errors in listed.values()], index=index, dtype="object")


def _gains(cells: pandas.DataFrame, compared: str) -> pandas.Series[float]:
    """Return each cell's mean less that of the native loss in the same column (in the same row when `compared` is columns)."""
    if not compared:
        return pandas.Series(math.nan, index=cells.index)
    key = ["setting", "method", "ipc", "column" if compared == "rows" else "row"]
    base = cells[cells["native"]].drop_duplicates(key)[[*key, "mean"]]
    against = cells[key].merge(base, how="left", on=key)["mean"].to_numpy()
    gain: pandas.Series[float] = cells["mean"] - against
    return gain.mask(cells["native"])


def ranks(cells: pandas.DataFrame, lowest: Collection[str] | bool = ()) -> pandas.Series[int]:
    """Rank a method's rows within each column by the mean as printed; ties share a rank.

    1 marks the best of two or more, 2 the second best of three or more: of two, the second best is the worst.
    """
    printed = cells["mean"].map(lambda mean: float(fixed(mean, 1) or "nan"))
    columns = cells["column"].unique().tolist() if lowest is True else [*(lowest or ())]
    printed = printed.where(~cells["column"].isin(columns), -printed)
    group = printed.groupby([cells["setting"], cells["method"], cells["ipc"], cells["column"]])
    rank, count = group.rank(method="dense", ascending=False), group.transform("count")
    marked = ((rank == 1) & (count >= 2)) | ((rank == 2) & (count >= 3))
    return rank.where(marked, 0).astype("int64")
