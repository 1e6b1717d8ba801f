"""The CSV files of a leaderboard."""

from __future__ import annotations

from collections.abc import Sequence

import pandas

from harness.leaderboard.columns import AXES, labels
from harness.leaderboard.prices import ALIKE, COLUMNS, TIME, told
from harness.leaderboard.tables import Table
from harness.leaderboard.text import csv_cell, fixed, without_paths

LABELS = ["scenario", "table", "dataset", "method", "ipc", *AXES]
FIGURES = [
    *("mean", "std", "low", "high", "best_on_test_mean", "top5_mean"),
    *("gain", "gain_low", "gain_high", "gain_p"),
    *("best_gap", "best_gap_low", "best_gap_high", "best_gap_p"),
]
#: Beside which figure stands how many pairs of seeds it is of.
PAIRS = {"gain_p": "gain_pairs", "best_gap_p": "best_gap_pairs"}
COUNTS = ["diverged", "failed"]
PRICES = [name for name in COLUMNS if name != TIME]


def table_csv(tables: Sequence[tuple[str, Table]]) -> str:
    """Return (scenario, table) pairs in long form: one line a cell, figures with four decimals, no times.

    `n` counts the seeds in the mean; a cell without a record has n, diverged and failed 0. `low` and `high` are the ends of the
    95 % interval of `mean` (Student's t, of the mean or of the paired differences that it is of). `best_on_test_mean` is the mean
    of each seed's best test evaluation, as papers report it; nothing is ranked by it. `gain` is the points above the native loss
    of the set, `best_gap` the points above the best row of the set and column (below it: negative), both the mean of the
    differences paired by seed; `_low` and `_high` are their 95 % interval, `_p` the p of the paired t test, for `best_gap`
    Holm-corrected within the table, `_pairs` how many seeds are paired. `rank` is 1 for the best and 2 for the second best of a
    set and column, else 0; `tied` is 1 for the best and all that cannot be told from it. The last columns are what a trial of the
    cell cost, the mean over its records: what they mean is said in `harness.leaderboard.prices.MEASURES`; `pixel_bytes` is there
    where any differ from `image_bytes`. Seconds stand in timing.csv: they are not the same when trials run again. `evidence` is
    `verified` where all its records were trained again and came out the same, `verified 1 of 3` where some were, and else
    `claimed`; `reported` where a paper says so, whose figure is a `best_on_test_mean`. `quantity` is what `mean`, and all that is
    said of it, is of, with its unit: `accuracy in %`.
    """
    own = list(dict.fromkeys(axis for _, table in tables for axis in (table.rows, table.told_by) if axis and axis not in LABELS))
    figures = [column for name in FIGURES for column in (name, *([PAIRS[name]] if name in PAIRS else []))]
    names = [*LABELS, *own, "n", *figures, "rank", "tied", *COUNTS, "distilled", *PRICES, "evidence", "quantity"]
    parts = [pandas.DataFrame(columns=names, dtype="object")]
    for scenario, table in tables:
        cells = table.cells.assign(scenario=scenario, table=table.title)
        cells["quantity"] = [table.shows(str(column)) for column in cells["column"]]
        for end in ("low", "high"):
            if f"mean_{end}" in cells:
                cells[end] = cells.get(end, cells[f"mean_{end}"]).fillna(cells[f"mean_{end}"])
        if "tied" in cells:
            cells["tied"] = cells["tied"].astype("int64")
        for axis, name in ((table.rows, "row"), (table.told_by, "column")):
            if axis and axis not in cells:
                cells[axis] = cells[name]
        parts.append(cells.reindex(columns=names).astype("object"))
    rows = pandas.concat(parts, ignore_index=True)
    rows = rows.drop(columns=[name for name in ALIKE if not told(rows, name)])
    for name in FIGURES:
        rows[name] = [fixed(float(value), 4) if pandas.notna(value) else "" for value in rows[name]]
    for name in [name for name in PRICES if name in rows]:
        rows[name] = [f"{float(value):.4f}".rstrip("0").rstrip(".") if pandas.notna(value) else "" for value in rows[name]]
    for name in PAIRS.values():
        rows[name] = [str(int(value)) if pandas.notna(value) else "" for value in rows[name]]
    for name in [*LABELS, *own, "quantity"]:
        rows[name] = [without_paths(str(value)) if pandas.notna(value) else "" for value in rows[name]]
    return _csv(rows)


def timing_csv(frame: pandas.DataFrame) -> str:
    """Return how long trials took, by scenario, model, loss, optimizer and IPC: the one generated file that holds times."""
    by = ["scenario", "model", "loss", "optimizer", "ipc"]
    names = [*by, "trials", "total_seconds", "mean_seconds"]
    if frame.empty:
        return _csv(pandas.DataFrame(columns=names))
    records = labels(frame, by).assign(seconds=frame["seconds"])
    rows = records.groupby(by, sort=False)["seconds"].agg(trials="size", total_seconds="sum", mean_seconds="mean").reset_index()
    rows = rows.sort_values("scenario", kind="stable")
    for name in names[-2:]:
        rows[name] = rows[name].map(lambda value: fixed(value, 4))
    return _csv(rows)


def _csv(frame: pandas.DataFrame) -> str:
    cells = frame.map(lambda value: csv_cell(value) if isinstance(value, str) else value).rename(columns=csv_cell)
    text: str = cells.to_csv(index=False, lineterminator="\n")
    return text
