"""Records to cells: means, deviations, ranks, gains."""

from __future__ import annotations

import pytest

from harness.boards.frames import to_frame
from harness.leaderboard import tables
from harness.leaderboard.markdown import markdown
from harness.leaderboard.tables import pivot
from tests.leaderboard.looking import note, only, ranks, shown


def test_a_cell_is_the_mean_of_the_last_epoch_and_never_of_the_best(planter):
    planter.cell(90.0, 92.0)
    cell = only(planter.frame).cells.iloc[0]
    assert (cell["value"], cell["mean"], cell["best_on_test_mean"], cell["top5_mean"]) == ("91.0 ± 1.4", 91.0, 92.0, 99.0)
    assert "92" not in markdown(only(planter.frame)).split("- Accuracy")[0]


def test_one_seed_has_no_deviation(planter):
    planter.cell(91.23)
    table = only(planter.frame)
    assert shown(table)["RDED", "kl", "10", "adamw"] == "91.2"
    assert note(table, "Accuracy").endswith("n = 1 seed (0), hence no deviation.")


def test_best_and_second_best_by_column_within_a_set(planter):
    for method, offset in (("RDED", 0.0), ("Random", -20.0)):
        for loss, accuracy in (("kl", 80.0), ("gift", 83.0), ("mse", 81.0), ("ce", 70.0)):
            planter.cell(accuracy + offset, loss=loss, method=method)
    table = only(planter.frame)
    for method in ("RDED", "Random"):
        found = {c.row: c.rank for c in table.cells.itertuples() if c.method == method}
        assert found == {"gift": 1, "mse": 2, "kl": 0, "ce": 0}


def test_ties_at_printed_precision_share_a_rank(planter):
    for loss, accuracy in (("kl", 80.04), ("gift", 79.96), ("mse", 79.51), ("ce", 79.54), ("soft_ce", 10.0)):
        planter.cell(accuracy, loss=loss)
    assert ranks(only(planter.frame)) == {"kl": 1, "gift": 1, "mse": 2, "ce": 2, "soft_ce": 0}


def test_a_lone_row_is_not_called_best_nor_the_worse_of_two_second_best(planter):
    planter.cell(80.0, loss="kl")
    assert ranks(only(planter.frame)) == {"kl": 0}
    planter.cell(70.0, loss="ce")
    assert ranks(only(planter.frame)) == {"kl": 1, "ce": 0}


@pytest.mark.parametrize(
    ("accuracy", "expected"),
    [(85.1, "85.1 ↑5.1"), (79.6, "79.6 ↓0.4"), (80.04, "80.0 0.0"), (79.96, "80.0 0.0"), (80.0, "80.0 0.0")],
)
def test_gain_over_the_native_loss(planter, accuracy, expected):
    planter.cell(80.0, loss="kl")
    planter.cell(accuracy, loss="gift")
    table = only(planter.frame)
    assert shown(table)["RDED", "gift", "10", "adamw"] == expected
    assert shown(table)["RDED", "kl", "10", "adamw"] == "80.0"


def test_gain_is_over_the_same_column_of_the_same_set(planter):
    for method, ipc, optimizer, base in (("A", 1, "sgd", 10), ("A", 1, "adam", 20), ("A", 10, "sgd", 30), ("B", 1, "sgd", 50)):
        planter.cell(float(base), method=method, ipc=ipc, optimizer=optimizer, loss="kl")
        planter.cell(float(base + 1), method=method, ipc=ipc, optimizer=optimizer, loss="gift")
    gains = only(planter.frame).cells.query("row == 'gift'")["gain"].dropna()
    assert list(gains) == [1.0, 1.0, 1.0, 1.0]


def test_without_a_native_loss_there_are_no_gains(planter):
    planter.cell(80.0, loss="kl", native="")
    planter.cell(85.0, loss="gift", native="")
    table = only(planter.frame)
    assert shown(table)["RDED", "gift", "10", "adamw"] == "85.0"
    assert "(native)" not in markdown(table)
    assert "↑" not in markdown(table)


def test_a_failed_seed_leaves_the_mean_over_the_rest(planter):
    planter.cell(80.0, 82.0, loss="kl")
    planter.plant(status="failed", seed=2, loss="kl", error="RuntimeError: boom", metrics={"accuracy": 0.0})
    table = only(planter.frame)
    assert shown(table)["RDED", "kl", "10", "adamw"] == "81.0 ± 1.4 (n=2) (a)"
    assert table.footnotes == ["(a) failed: `RuntimeError: boom`"]


def test_all_cells_of_all_tables_are_computed_in_one_pass(planter, monkeypatch):
    for loss in ("gift", "kl"):
        for ipc in (1, 10, 50, 100):
            for optimizer in ("sgd", "adam", "adamw"):
                for model in ("convnet3", "resnet18"):
                    planter.cell(80.0, loss=loss, ipc=ipc, optimizer=optimizer, model=model)
    calls = []
    monkeypatch.setattr(tables, "cells_of", lambda *a, real=tables.cells_of: calls.append(1) or real(*a))
    assert len(pivot(planter.frame)) == 8
    assert len(calls) == 1


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


def test_gains_and_ranks_stay_within_a_setting(planter):
    for model, native in (("convnet3", 80.0), ("resnet18", 50.0)):
        planter.cell(native, loss="kl", model=model)
        planter.cell(native + 5, loss="gift", model=model)
        planter.cell(native + 2, loss="ce", model=model)
    for table in pivot(planter.frame):
        assert table.cells["gain"].dropna().tolist() == [5.0, 2.0]
        assert table.cells["rank"].tolist() == [0, 1, 2]


def test_a_cell_is_as_far_to_be_believed_as_its_records(planter):
    planter.cell(80.0, 81.0, 82.0, loss="kl")
    planter.cell(70.0, 71.0, 72.0, loss="gift")
    planter.cell(60.0, loss="ce")
    planter.cell(60.0, loss="ce", optimizer="sgd")
    known = {record.id: "verified" for record in (*planter.records[:3], planter.records[3])}
    cells = only(to_frame(planter.records, known)).cells
    assert {(cell.row, cell.column): cell.evidence for cell in cells.itertuples()} == {
        ("kl", "adamw"): "verified",
        ("gift", "adamw"): "verified 1 of 3",
        ("ce", "adamw"): "claimed",
        ("ce", "sgd"): "claimed",
        ("kl", "sgd"): "",
        ("gift", "sgd"): "",
    }
