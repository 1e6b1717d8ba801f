"""Cells, one frame of them for all tables: n, mean, standard deviation, gain over the native loss, rank within a set."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection

import numpy
import pandas

from harness.leaderboard.columns import AXES, each
from harness.leaderboard.statistics import summaries
from harness.leaderboard.text import fixed, short_error

#: Where a cell stands in its table.
PLACE = ("method", "row", "ipc", "column")


def cells_of(
    records: pandas.DataFrame, places: pandas.DataFrame, compared: str, lowest: Collection[str] | bool = ()
) -> pandas.DataFrame:
    """Return a frame of cells, one at every place and in the places' order; one that has no record is there all the same.

    Columns, beside those of `places`: `n` seeds in the mean; `mean` and `std` of the accuracy after the last epoch, percent
    (ddof 1); `best_on_test_mean` and `top5_mean`, percent; how many `records` there are, `diverged` and `failed`; `errors` of the
    failed ones, in short, each once; `evidence`, how far its records are to be believed, in words; `native`, whether the loss is
    that of the set's authors; `gain`, points above it; `rank`, 1 best and 2 second best of its column within the method, else 0.
    What there is no number of is NaN.

    Args:
        records: in plan order.
        places: the columns `table` and `PLACE`; `loss`, `optimizer` and `model` of a cell without a record; `native`, the loss
            of the set's authors; others are kept.
        compared, lowest: see `harness.leaderboard.tables.Layout`.
    """
    numbers = {place: number for number, place in enumerate(each(places, "table", *PLACE))}
    records = records.assign(cell=[numbers[place] for place in each(records, "table", *PLACE)])
    cells = places.join(summaries(records, ["cell"], "accuracy"))
    means = records.groupby("cell")[["best_accuracy", "top5_accuracy"]].mean()
    cells[["best_on_test_mean", "top5_mean"]] = means.reindex(cells.index)
    cells.update(records.drop_duplicates("cell").set_index("cell")[[*AXES]])
    diverged, failed = records["status"] == "diverged", records["status"] == "failed"
    counts = {"n": records["accuracy"].notna(), "records": records["status"].notna(), "diverged": diverged, "failed": failed}
    for name, counted in counts.items():
        cells[name] = numpy.bincount(records["cell"][counted], minlength=len(cells))
    cells["errors"] = _errors(records, len(cells))
    cells["evidence"] = _evidence(records, cells["records"])
    cells["native"] = (cells["loss"] != "") & (cells["loss"] == cells["native"])
    cells["gain"] = _gains(cells, compared)
    cells["rank"] = ranks(cells, lowest)
    return cells


def natives(records: pandas.DataFrame) -> list[str]:
    """Return beside each record the loss that its set's authors train with; where records disagree, what most of them say."""
    most: dict[tuple[int, str], str] = {}
    for (setting, method, native), _ in Counter(each(records, "setting", "method", "native")).most_common():
        if native:
            most.setdefault((setting, method), native)
    return [most.get(place, "") for place in each(records, "setting", "method")]


def _evidence(records: pandas.DataFrame, counts: pandas.Series[int]) -> list[str]:
    """Return of each cell whether its records are verified, all or how many, or claimed; nothing where it has none."""
    verified = numpy.bincount(records["cell"][records["evidence"] == "verified"], minlength=len(counts)).tolist()
    words = {0: "claimed"}
    return [
        "" if not count else "verified" if some == count else words.get(some, f"verified {some} of {count}")
        for some, count in zip(verified, counts.tolist(), strict=True)
    ]


def _errors(records: pandas.DataFrame, cells: int) -> list[tuple[str, ...]]:
    failed = records[records["status"] == "failed"]
    short = {error: short_error(error) for error in failed["error"].unique()}
    errors: list[dict[str, None]] = [{} for _ in range(cells)]
    for cell, error in each(failed, "cell", "error"):
        errors[cell][short[error]] = None
    return [tuple(distinct) for distinct in errors]


def _gains(cells: pandas.DataFrame, compared: str) -> pandas.Series[float]:
    """Return each cell's mean less that of the native loss in the same column (in the same row when `compared` is columns)."""
    if not compared:
        return pandas.Series(math.nan, index=cells.index)
    key = ["table", "method", "ipc", "column" if compared == "rows" else "row"]
    base = cells[cells["native"] & (cells["records"] > 0)].drop_duplicates(key)[[*key, "mean"]]
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
    group = printed.groupby([cells["table"], cells["method"], cells["ipc"], cells["column"]])
    rank, count = group.rank(method="dense", ascending=False), group.transform("count")
    marked = ((rank == 1) & (count >= 2)) | ((rank == 2) & (count >= 3))
    return rank.where(marked, 0).astype("int64")
