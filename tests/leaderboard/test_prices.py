"""Price beside worth: in a table's notes and cells, and in table.csv."""

from __future__ import annotations

import csv
import io

import pandas
import pytest

from harness.leaderboard.files import table_csv
from harness.leaderboard.prices import COLUMNS, MEASURES, amount, beside, priced, unknown
from harness.leaderboard.tables import Table, pivot


def sold(planter, **prices):
    """Return the one table of the planted records, each of whose prices is a function of its trial's labels."""
    frame = planter.frame
    columns = {name: frame.apply(prices[name], axis=1) if name in prices else float("nan") for name in COLUMNS}
    given = pandas.DataFrame(columns | {"id": frame["id"]}).set_index("id")
    (table,) = (priced(table, beside(frame, given)) for table in pivot(frame))
    return table


def note(table: Table) -> str:
    return next((line for line in table.notes if line.startswith("Price: ")), "")


def test_what_differs_is_shown_as_a_range_with_what_decides_it_and_what_does_not_as_one_figure(planter):
    for ipc in (1, 10):
        planter.cell(80.0, 82.0, loss="kl", ipc=ipc)
        planter.cell(85.0, 86.0, loss="ce", ipc=ipc)
    table = sold(
        planter,
        image_bytes=lambda row: row["ipc"] * 2560,
        steps=lambda row: 1500,
        teacher_passes=lambda row: row["ipc"] * 1000 * (row["loss"] == "kl"),
        worker_seconds=lambda row: 1.0 + row["seed"],
    )
    assert note(table) == (
        "Price: images 2.56 kB to 25.6 kB (by IPC); steps 1,500; teacher passes 0 to 10,000 (by IPC and loss)."
    ), "seconds are not the same when trials run again, and a README is compared"


def test_cells_have_the_mean_of_their_records_and_the_csv_has_what_is_the_same_in_every_run(planter):
    planter.cell(80.0, 82.0, loss="kl")
    planter.cell(85.0, loss="ce")
    table = sold(planter, steps=lambda row: 100 + row["seed"], operations=lambda row: 3e12, worker_seconds=lambda row: 7.0)
    steps = dict(zip(table.cells["row"], table.cells["steps"], strict=True))
    assert steps == {"kl": 100.5, "ce": 100.0}
    rows = {row["loss"]: row for row in csv.DictReader(io.StringIO(table_csv([("planted", table)])))}
    assert (rows["kl"]["steps"], rows["ce"]["steps"]) == ("100.5", "100")
    assert rows["ce"]["operations"] == "3000000000000" and rows["ce"]["image_bytes"] == ""
    assert "worker_seconds" not in rows["ce"]


def test_images_of_files_and_of_pixels_are_priced_alike_beside_what_they_are_where_any_lie_in_files(planter):
    for method, ipc in (("Random", 1), ("RDED", 1)):
        planter.cell(80.0, 82.0, method=method, ipc=ipc)

    def shown(files):
        table = sold(
            planter,
            image_bytes=lambda row: 300.0 if row["method"] in files else 2560.0,
            pixel_bytes=lambda row: 2560.0,
            label_bytes=lambda row: 10.0,
        )
        return note(table), [*csv.DictReader(io.StringIO(table_csv([("planted", table)])))]

    words, rows = shown({"RDED"})
    assert words == "Price: images 300 B to 2.56 kB (by set); images as 8-bit pixels 2.56 kB; labels 10 B."
    assert {row["method"]: (row["image_bytes"], row["pixel_bytes"]) for row in rows} == {
        "Random": ("2560", "2560"),
        "RDED": ("300", "2560"),
    }
    words, rows = shown(set())
    assert words == "Price: images 2.56 kB; labels 10 B." and "pixel_bytes" not in rows[0]


def test_a_scenarios_own_axis_tells_cells_apart(planter):
    for steps in (5, 10):
        planter.cell(70.0, 71.0, stream=f"{steps} steps", options={"steps": steps})
    frame = planter.frame
    given = pandas.DataFrame({name: float("nan") for name in COLUMNS}, index=frame["id"])
    given["steps"] = [500.0 if stream == "5 steps" else 1000.0 for stream in frame["stream"]]
    (table,) = pivot(frame, "loss", "stream")
    cells = priced(table, beside(frame, given)).cells
    assert dict(zip(cells["column"], cells["steps"], strict=True)) == {"5 steps": 500.0, "10 steps": 1000.0}


def test_a_table_whose_rows_are_sets_has_their_prices_and_says_what_they_differ_by(planter):
    for method, ipc in (("RDED", 1), ("Random", 2)):
        for loss in ("kl", "ce"):
            planter.cell(80.0, 82.0, method=method, ipc=1, loss=loss, images=10 * ipc)
    frame = planter.frame
    given = pandas.DataFrame({name: float("nan") for name in COLUMNS}, index=frame["id"])
    given["steps"] = frame["images"].to_numpy(float)
    (table,) = pivot(frame, columns="")
    regrouped = priced(table.regrouped("loss"), beside(frame, given))
    assert dict(zip(regrouped.cells["row"], regrouped.cells["steps"], strict=True)) == {"RDED": 10.0, "Random": 20.0}
    assert note(regrouped) == "Price: steps 10 to 20 (by set)."


def test_where_nothing_is_known_of_prices_a_table_says_nothing_of_them(planter):
    planter.cell(80.0, loss="kl")
    assert note(sold(planter)) == ""
    (table,) = pivot(planter.frame)
    assert priced(table, planter.frame) is table
    assert unknown(planter.records).isna().all(axis=None)


@pytest.mark.parametrize(
    ("column", "value", "shown"),
    [
        ("image_bytes", 999, "999 B"),
        ("image_bytes", 999_600, "1 MB"),
        ("label_bytes", 30_720_000_000, "30.7 GB"),
        ("operations", 4.87e9, "4.87 GFLOP"),
        ("operations", 7e18, "7e+03 PFLOP"),
        ("steps", 1500, "1,500"),
        ("worker_seconds", 0.602, "0.602 s"),
        ("worker_seconds", 7200, "7,200 s"),
    ],
)
def test_amounts_have_their_units(column: str, value: float, shown: str) -> None:
    (measure,) = (measure for measure in MEASURES if measure.column == column)
    assert amount(measure, value) == shown
