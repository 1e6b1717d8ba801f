"""The tables of a scenario as one, a row a cell."""

from __future__ import annotations

import pytest
from scipy import stats

from harness.leaderboard.page.rows import long_table
from harness.leaderboard.tables import pivot


def the_long_table(planter, **layout):
    taught = {record.id: bool(record.trial.teacher) for record in planter.records}
    return long_table("planted", pivot(planter.frame, **layout), taught)


def by_labels(table, *names):
    return {tuple(row.labels.get(name, "") for name in names): row for row in table.rows}


@pytest.fixture
def several(planter):
    for ipc in (1, 10):
        planter.cell(80.0, 81.0, 83.0, loss="kl", ipc=ipc)
        planter.cell(85.0, 86.0, 87.0, loss="gift", ipc=ipc)
    planter.cell(60.0, 61.0, loss="ce", ipc=10, teacher=..., teacher_accuracy=...)
    return planter


def test_every_cell_is_a_row_with_its_seeds_and_what_has_not_been_run_is_counted(several):
    table = the_long_table(several)
    assert len(table.rows) == 5
    assert table.missing == 1
    rows = by_labels(table, "loss", "IPC")
    ids = [record.id for record in several.records if (record.trial.labels.loss, record.trial.labels.ipc) == ("gift", 10)]
    assert rows["gift", "10"].seeds == tuple(zip(ids, (85.0, 86.0, 87.0), strict=True))
    assert rows["gift", "10"].value == "86.0 ± 1.0"


def test_columns_are_what_differs_and_the_rest_is_said_once(several):
    table = the_long_table(several)
    assert table.columns == ("IPC", "loss", "labels")
    assert table.same == {
        "dataset": "digits",
        "set": "RDED",
        "student": "convnet3",
        "optimizer": "adamw",
        "quantity": "accuracy in %",
    }


def test_labels_are_soft_where_a_teacher_gave_them(several):
    rows = by_labels(the_long_table(several), "loss", "IPC")
    assert {loss: row.labels["labels"] for (loss, _), row in rows.items()} == {"kl": "soft", "gift": "soft", "ce": "hard"}


def test_the_interval_is_students(several):
    row = by_labels(the_long_table(several), "loss", "IPC")["kl", "10"]
    low, high = stats.t.interval(0.95, 2, loc=row.mean, scale=stats.sem([80.0, 81.0, 83.0]))
    assert (row.low, row.high) == pytest.approx((low, high))
    assert row.interval == f"{low:.1f} to {high:.1f}"


def test_a_gain_whose_interval_holds_0_is_marked_and_one_without_an_interval_is_not(several):
    tables = pivot(several.frame)
    assert [row.untold for row in long_table("planted", tables, {}).rows] == [False] * 5
    tables[0].cells[["gain_low", "gain_high"]] = [-1.0, 9.0]
    rows = by_labels(long_table("planted", tables, {}), "loss", "IPC")
    assert rows["gift", "10"].untold
    assert rows["gift", "10"].gained == "+4.7 [-1.0, 9.0]"
    assert rows["kl", "10"].gained == ""


def test_ties_are_the_tables_own_where_it_has_them(several):
    tables = pivot(several.frame)
    rows = long_table("planted", tables, {}).rows
    assert {row.labels["loss"] for row in rows if row.tied} == {"gift"}
    tables[0].cells["tied"] = tables[0].cells["loss"].isin(["gift", "kl"])
    rows = long_table("planted", tables, {}).rows
    assert {row.labels["loss"] for row in rows if row.tied} == {"gift", "kl"}


def test_a_status_of_cells_is_shown_where_there_is_one(several):
    tables = pivot(several.frame)
    tables[0].cells["evidence"] = "verified"
    assert {row.status for row in long_table("planted", tables, {}).rows} == {"verified"}


def test_a_cell_keeps_its_key_as_the_board_grows(several):
    before = {row.seeds: row.key for row in the_long_table(several).rows}
    several.cell(50.0, 51.0, loss="mse", ipc=10)
    after = {row.seeds: row.key for row in the_long_table(several).rows}
    assert before.items() <= after.items()
    assert len({*after.values()}) == len(after)


def test_cells_of_two_tables_at_one_place_have_keys_of_their_own(several):
    tables = pivot(several.frame)
    rows = long_table("planted", [*tables, *tables], {}).rows
    assert len({row.key for row in rows}) == len(rows) == 10


def test_a_scenarios_own_axis_is_a_column_and_its_added_cells_know_their_loss(planter):
    for gamma in ("0", "0.1"):
        planter.cell(70.0, 71.0, loss="gift", gamma=gamma)
    (table,) = pivot(planter.frame, "loss", "gamma")
    table = table.with_column("best", {("RDED", "gift", "10"): {"value": "0.1"}})
    rows = long_table("planted", [table], {})
    assert rows.columns == ("labels", "gamma")[1:]
    best = by_labels(rows, "gamma")[("best",)]
    assert (best.labels["loss"], best.value, best.seeds) == ("gift", "0.1", ())


def test_diverged_and_failed_seeds_are_said(planter):
    planter.cell(50.0, 51.0)
    planter.plant(10.0, seed=2, status="diverged")
    planter.plant(seed=3, status="failed", error="out of memory")
    (row,) = the_long_table(planter).rows
    assert (row.n, row.notes) == (3, "1 diverged, 1 failed")
    assert row.value.endswith("†")


def test_paths_and_line_breaks_do_not_reach_a_page(planter):
    planter.cell(50.0, 51.0, loss="gift\nof /home/me/secret/loss.py")
    planter.cell(50.0, 51.0, loss="kl")
    assert {row.labels["loss"] for row in the_long_table(planter).rows} == {"gift of …/loss.py", "kl"}
