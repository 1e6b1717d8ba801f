"""What a scenario may ask of `pivot`, and do with a table: layouts, more columns, rows and methods changing places."""

from __future__ import annotations

import pytest

from harness.leaderboard.files import table_csv
from harness.leaderboard.markdown import grid, markdown
from harness.leaderboard.tables import pivot


def test_ipc_alone_may_make_the_columns(planter):
    for ipc, accuracy in ((1, 40.0), (10, 80.0)):
        planter.cell(accuracy, ipc=ipc, loss="kl")
    (table,) = pivot(planter.frame, columns="")
    assert table.column_labels == (("1", ""), ("10", ""))
    head = grid(table).splitlines()[0].split("|")
    assert [word.strip() for word in head[1:-1]] == ["set", "loss", "IPC 1", "IPC 10"]
    assert "IPC 10" in grid(pivot(planter.frame[planter.frame["ipc"] == 10], columns="")[0]).splitlines()[0]
    assert ",," not in table_csv([("s", table)]).splitlines()[0]


def test_what_an_axis_decides_makes_no_table(planter):
    planter.cell(80.0, loss="kl", part="native")
    planter.cell(82.0, loss="gift", part="both")
    assert len(pivot(planter.frame, rows="part")) == 2
    (table,) = pivot(planter.frame, rows="part", decided=["loss"], gains="rows")
    assert table.cells.set_index("row").loc["both", "gain"] == pytest.approx(2.0)


def test_gains_may_be_left_out(planter):
    planter.cell(80.0, loss="kl")
    planter.cell(82.0, loss="gift")
    (table,) = pivot(planter.frame, gains="")
    assert table.cells["gain"].isna().all()
    assert "↑" not in markdown(table)


def test_the_lowest_may_be_best(planter):
    for measure in ("final", "forgetting"):
        planter.cell(80.0, loss="kl", measure=measure)
        planter.cell(70.0, loss="gift", measure=measure)
    (table,) = pivot(planter.frame, columns="measure", lowest=["forgetting"])
    ranks = table.cells.set_index(["row", "column"])["rank"]
    assert ranks["kl", "final"] == ranks["gift", "forgetting"] == 1


def test_every_ipc_may_have_a_table_of_its_own(planter):
    for ipc in (1, 10):
        planter.cell(80.0, ipc=ipc)
    assert len(pivot(planter.frame)) == 1
    assert [table.title for table in pivot(planter.frame, each_ipc=True)] == ["digits, IPC 1", "digits, IPC 10"]


def test_the_measure_stands_in_the_notes(planter):
    planter.cell(80.0)
    assert pivot(planter.frame, measure="Words.")[0].notes[0].startswith("Words. n = 1 seed")


def test_a_column_more_stands_after_those_of_its_ipc(planter):
    for ipc in (1, 10):
        planter.cell(80.0, ipc=ipc, loss="kl")
    (table,) = pivot(planter.frame, columns="")
    entry = {"value": "+2.0 [1.0, 3.0]", "n": 3, "mean": 2.0, "low": 1.0, "high": 3.0}
    more = table.with_column("gain", {("RDED", "kl", "10"): entry})
    assert more.column_labels == (("1", ""), ("1", "gain"), ("10", ""), ("10", "gain"))
    assert grid(more).splitlines()[2].count("+2.0 [1.0, 3.0]") == 1
    assert "(native)" in grid(more)
    line = next(line for line in table_csv([("s", more)]).splitlines() if "2.0000" in line)
    assert "1.0000,3.0000" in line
    assert len(table.cells) == 2  # the table it was made from stays as it was


def test_rows_and_methods_change_places_and_are_ranked_anew(planter):
    for method, loss, accuracy in (("A", "kl", 80.0), ("A", "gift", 70.0), ("B", "kl", 60.0), ("B", "gift", 90.0)):
        planter.cell(accuracy, method=method, loss=loss, native="")
    (table,) = pivot(planter.frame)
    turned = table.regrouped("loss")
    assert (turned.groups, turned.rows) == ("loss", "set")
    assert turned.row_labels == (("kl", "A"), ("kl", "B"), ("gift", "A"), ("gift", "B"))
    ranks = turned.cells.set_index(["method", "row"])["rank"]
    assert ranks.to_dict() == {("kl", "A"): 1, ("kl", "B"): 0, ("gift", "A"): 0, ("gift", "B"): 1}
    assert grid(turned).splitlines()[0].split("|")[1].strip() == "loss"
    assert turned.seeds("gift", "B", "10", "adamw") == {0: 90.0}


def test_a_table_remembers_its_records_by_seed(planter):
    planter.cell(80.0, 82.0, loss="kl")
    planter.plant(None, loss="kl", seed=2, status="failed", error="boom")
    (table,) = pivot(planter.frame)
    assert table.seeds("RDED", "kl", "10", "adamw") == {0: 80.0, 1: 82.0}
    assert table.seeds("RDED", "ce", "10", "adamw") == {}


def test_bare_numbers_are_named_in_the_corner(planter):
    for gamma in (0.1, 0.5):
        planter.cell(80.0, gamma=gamma)
    (table,) = pivot(planter.frame, columns="gamma")
    assert grid(table).splitlines()[0].split("|")[2].strip() == "loss by gamma"
