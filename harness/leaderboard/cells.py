"""Cells, one frame of them for all tables: n, mean and its interval, gain over the native loss, rank and ties within a set."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection

import numpy
import pandas

from harness.leaderboard.columns import AXES, each
from harness.leaderboard.statistics import LEVEL, half_widths, holm, paired_p, resolved, step, summaries
from harness.leaderboard.text import fixed, short_error

#: Where a cell stands in its table.
PLACE = ("method", "row", "ipc", "column")
#: Where cells stand of which one is the best.
GROUP = ["table", "method", "ipc", "column"]
#: What is said of a difference paired by seed, after its name.
PAIRED = ("", "_low", "_high", "_p", "_pairs")


def cells_of(
    records: pandas.DataFrame, places: pandas.DataFrame, compared: str, lowest: Collection[str] | bool = ()
) -> pandas.DataFrame:
    """Return a frame of cells, one at every place and in the places' order; one that has no record is there all the same.

    Columns, beside those of `places`: `n` seeds in the mean; `mean` and `std` of the accuracy after the last epoch, percent
    (ddof 1); `mean_low` and `mean_high`, Student's 95 % interval of the mean; `best_on_test_mean` and `top5_mean`, percent; how
    many `records` there are, `diverged` and `failed`; `errors` of the failed ones, in short, each once; `evidence`, how far its
    records are to be believed, in words; `distilled_on`; `native`, whether the loss is that of the set's authors; `gain`, points
    above it, by seed (`paired`); what `standing` says of it.
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
    half = half_widths(cells["n"], cells["std"])
    cells["mean_low"], cells["mean_high"] = cells["mean"] - half, cells["mean"] + half
    cells[["best_on_test_mean", "top5_mean"]] = means.reindex(cells.index)
    first = records.drop_duplicates("cell").set_index("cell")
    cells.update(first[[*AXES]])
    cells["distilled_on"] = first["distilled_on"].reindex(cells.index).fillna("")
    diverged, failed = records["status"] == "diverged", records["status"] == "failed"
    counts = {"n": records["accuracy"].notna(), "records": records["status"].notna(), "diverged": diverged, "failed": failed}
    for name, counted in counts.items():
        cells[name] = numpy.bincount(records["cell"][counted], minlength=len(cells))
    cells["errors"] = _errors(records, len(cells))
    cells["evidence"] = _evidence(records, cells["records"])
    cells["native"] = (cells["loss"] != "") & (cells["loss"] == cells["native"])
    measured = records.dropna(subset=["accuracy"]).drop_duplicates(["cell", "seed"], keep="last")
    gains = paired(measured, _bases(cells, compared), "gain", steps(cells, measured))
    return pandas.concat([cells, gains, standing(cells, measured, lowest)], axis=1)


def paired(records: pandas.DataFrame, against: pandas.Series[int], name: str, steps: pandas.Series[float]) -> pandas.DataFrame:
    """Return, cell by cell, by how much its accuracy is above that of the cell `against` it, paired by seed.

    Columns, after `name`: nothing, the mean of the differences over the seeds that both have; `_low` and `_high`, Student's 95 %
    interval of it; `_p`, by the paired t test; `_pairs`, how many seeds. Where no seed is shared, the mean is that of the one
    less that of the other, without the rest. NaN where there is nothing to compare with.

    Args:
        records: cell, seed and accuracy, each seed of a cell once.
        against: the number of a cell, by the number of the one that is compared with it.
        steps: in which the accuracies of each cell are read (`steps`).
    """
    here = records[records["cell"].isin(against.index)][["cell", "seed", "accuracy"]]
    here = here.assign(other=here["cell"].map(against).astype(records["cell"].dtype))  # of no records, too
    there = records[["cell", "seed", "accuracy"]].rename(columns={"cell": "other", "accuracy": "base"})
    both = here.merge(there, on=["other", "seed"])
    difference = summaries(both.assign(difference=both["accuracy"] - both["base"]), ["cell"], "difference")
    difference = difference.reindex(against.index)
    means = records.groupby("cell")["accuracy"].mean()
    unpaired = means.reindex(against.index).to_numpy() - means.reindex(against.to_numpy()).to_numpy()
    difference["n"] = difference["n"].fillna(0)
    difference["mean"] = difference["mean"].fillna(pandas.Series(unpaired, against.index))
    difference["std"] = resolved(difference["std"], steps.reindex(against.index))
    half = half_widths(difference["n"], difference["std"])
    p = paired_p(difference["n"], difference["mean"], difference["std"])
    values = (difference["mean"], difference["mean"] - half, difference["mean"] + half, p, difference["n"])
    columns = {f"{name}{end}": pandas.Series(value, against.index) for end, value in zip(PAIRED, values, strict=True)}
    return pandas.DataFrame(columns).reindex(steps.index).astype("float64")


def steps(cells: pandas.DataFrame, records: pandas.DataFrame) -> pandas.Series[float]:
    """Return by cell in which steps the accuracies of its column are read, as far as these tell: `statistics.step`."""
    places = pandas.DataFrame({"number": cells.groupby(["table", "column"], sort=False).ngroup()}, index=cells.index)
    values = records["accuracy"].groupby(records["cell"].map(places["number"])).agg(step)
    return places["number"].map(values).fillna(0.0).astype("float64")


def standing(cells: pandas.DataFrame, records: pandas.DataFrame, lowest: Collection[str] | bool = ()) -> pandas.DataFrame:
    """Return where each cell stands among the rows of its method and column.

    Columns: `rank` (see `ranks`); `best_gap` and its kin (see `paired`), the points above the cell of the best mean, which has
    none itself, `best_gap_p` being corrected by Holm's procedure over all such comparisons of the table; `tied`, whether it is
    the best of two or more or cannot be told from it.

    The test: Student's paired t test by seed against the best mean, two-sided, Holm-corrected within the table, at 5 %.
    Two-sided, because which of the rows is the best is chosen by the same numbers: of two rows that do not differ one is called
    the winner in 5 % of tables, of more in fewer, since a single winner has to be told from all of them. What the level is of,
    beside that, is the row that is truly the best: it is among those tied but in 2.5 % of tables at most (multiple comparisons
    with the best: Hsu 1996, Multiple Comparisons, chapter 4). Of many rows that are equal to the digit some other one is told
    from the best more often, of 12 in 14 % of tables; over all pairs of rows that would be 3 %, and with three seeds rows 50
    points apart were not told then.

    Accuracies are counts of images: differences that happen to be all alike have the spread of one image, as
    `statistics.resolved` has it, without which two rows that do not differ had a winner in 30 % of tables of 12 columns with
    three seeds. Sharing the variance between rows (Smyth's moderated t) would tell more apart with three seeds, and was not
    taken: where rows vary by different amounts, as optimizers that diverge do, it called a winner without a difference in up to
    14 % of tables. Fewer than two pairs tell nothing, and what is printed alike is not told apart either.

    Args:
        cells: the columns `table`, `PLACE` and `mean`, numbered from 0.
        records: cell, seed and accuracy, each seed of a cell once.
        lowest: see `harness.leaderboard.tables.Layout`.
    """
    frame = pandas.DataFrame({"rank": ranks(cells, lowest)})
    worth = (cells["mean"] * _signs(cells, lowest)).dropna()
    groups = worth.groupby([cells.loc[worth.index, name] for name in GROUP])
    several = (groups.transform("count") >= 2).to_numpy("bool")
    bests = groups.transform("idxmax") if len(worth) else worth
    best = pandas.Series(bests[several].to_numpy("int64"), worth.index[several])
    gaps = paired(records, best[best != best.index], "best_gap", steps(cells, records))
    gaps["best_gap_p"] = gaps["best_gap_p"].groupby(cells["table"]).transform(lambda p: holm(p))
    told = (gaps["best_gap_p"] < LEVEL) & (gaps["best_gap"] * _signs(cells, lowest) < 0)
    frame["tied"] = cells.index.isin(best.index) & (~told | (frame["rank"] == 1))
    return frame.join(gaps)


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


def _bases(cells: pandas.DataFrame, compared: str) -> pandas.Series[int]:
    """Return the cell of the native loss in the same column (in the same row when `compared` is columns), by cell."""
    if not compared:
        return pandas.Series([], dtype="int64").astype("int64")
    key = ["table", "method", "ipc", "column" if compared == "rows" else "row"]
    natives = cells[cells["native"] & (cells["records"] > 0)].drop_duplicates(key)
    base = cells[key].merge(natives[key].assign(base=natives.index), how="left", on=key)["base"].set_axis(cells.index)
    compares = base.notna() & ~cells["native"]
    return pandas.Series(base[compares].to_numpy("int64"), cells.index[compares]).astype("int64")


def _signs(cells: pandas.DataFrame, lowest: Collection[str] | bool) -> pandas.Series[int]:
    """Return -1 for cells of which the lowest is the best, else 1."""
    least = numpy.full(len(cells), True) if lowest is True else cells["column"].isin([*(lowest or ())]).to_numpy("bool")
    return pandas.Series(numpy.where(least, -1, 1), cells.index).astype("int64")


def ranks(cells: pandas.DataFrame, lowest: Collection[str] | bool = ()) -> pandas.Series[int]:
    """Rank a method's rows within each column by the mean as printed; ties share a rank.

    1 marks the best of two or more, 2 the second best of three or more: of two, the second best is the worst.
    """
    decimals = cells["decimals"].fillna(1).astype("int64") if "decimals" in cells else pandas.Series(1, cells.index)
    values = [float(fixed(mean, places) or "nan") for mean, places in zip(cells["mean"], decimals, strict=True)]
    printed = pandas.Series(values, cells.index, dtype="float64") * _signs(cells, lowest)
    group = printed.groupby([cells[name] for name in GROUP])
    rank, count = group.rank(method="dense", ascending=False), group.transform("count")
    marked = ((rank == 1) & (count >= 2)) | ((rank == 2) & (count >= 3))
    return rank.where(marked, 0).astype("int64")
