"""Records of one setting to cells: n, mean, standard deviation, gain over the native loss, rank within a set."""

from __future__ import annotations

import pandas

from harness.leaderboard.columns import AXES
from harness.leaderboard.statistics import summaries
from harness.leaderboard.text import fixed, short_error

CELL = ["method", "ipc", "row", "column"]


def cells_of(records: pandas.DataFrame, rows: str, columns: str) -> pandas.DataFrame:
    """Return one row a cell that has records, in plan order.

    Columns: method, ipc, row, column; loss, model, optimizer; n (seeds in the mean), mean, std, best_on_test_mean, top5_mean
    (percent); gain over the native loss (points); rank (1 best and 2 second best of its column within the method, else 0);
    diverged, failed (seeds); errors (in short, each once); distilled.
    """
    cells = summaries(records, CELL, "accuracy")
    grouped = records.assign(
        diverged=records["status"] == "diverged", failed=records["status"] == "failed", records=1
    ).groupby(CELL, sort=False)
    cells["best_on_test_mean"], cells["top5_mean"] = grouped["best_accuracy"].mean(), grouped["top5_accuracy"].mean()
    for name in ("records", "diverged", "failed"):
        cells[name] = grouped[name].sum()
    for name in (*AXES, "distilled"):
        cells[name] = grouped[name].first()
    failed = records[records["status"] == "failed"]
    short = {error: short_error(error) for error in failed["error"].unique()}
    errors = failed.assign(error=failed["error"].map(short)).groupby(CELL)["error"].agg(list)
    cells["errors"] = [tuple(dict.fromkeys(errors.get(key, ()))) for key in cells.index]
    cells = cells.reset_index()
    cells["native"] = is_native(cells, natives(records))
    cells["gain"] = gains(cells, rows, columns)
    cells["rank"] = ranks(cells)
    return cells


def natives(records: pandas.DataFrame) -> dict[str, str]:
    """Return {method: the loss its authors train with}; where records disagree, what most of them say."""
    said = records[records["native"] != ""].groupby(["method", "native"], sort=False).size()
    found: dict[str, str] = {}
    for method, native in said.sort_values(ascending=False, kind="stable").index:
        found.setdefault(method, native)
    return found


def is_native(cells: pandas.DataFrame, native: dict[str, str]) -> pandas.Series[bool]:
    """Tell which cells hold the native loss of their set."""
    return (cells["loss"] != "") & (cells["loss"] == cells["method"].map(native))


def gains(cells: pandas.DataFrame, rows: str, columns: str) -> pandas.Series[float]:
    """Return each cell's mean less that of the native loss in the same column (in the same row when losses are the columns)."""
    if "loss" not in (rows, columns):
        return pandas.Series(float("nan"), index=cells.index)
    key = ["method", "ipc", "column" if rows == "loss" else "row"]
    base = cells[cells["native"]].drop_duplicates(key)[[*key, "mean"]]
    against = cells[key].merge(base, how="left", on=key)["mean"].to_numpy()
    gain: pandas.Series[float] = cells["mean"] - against
    return gain.mask(cells["native"])


def ranks(cells: pandas.DataFrame) -> pandas.Series[int]:
    """Rank a method's rows within each column by the mean as printed; ties share a rank.

    1 marks the best of two or more, 2 the second best of three or more: of two, the second best is the worst.
    """
    printed = cells["mean"].map(lambda mean: float(fixed(mean, 1) or "nan"))
    group = printed.groupby([cells["method"], cells["ipc"], cells["column"]])
    rank, count = group.rank(method="dense", ascending=False), group.transform("count")
    marked = ((rank == 1) & (count >= 2)) | ((rank == 2) & (count >= 3))
    return rank.where(marked, 0).astype("int64")
