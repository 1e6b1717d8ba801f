"""Layout, columns and rows changing places, and what stands where a figure is missing."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from harness.leaderboard import tables
from harness.leaderboard.files import table_csv
from harness.leaderboard.markdown import grid, markdown
from harness.leaderboard.tables import pivot
from tests.leaderboard.looking import note, only, shown

# -- layout --------------------------------------------------------------------------------------------------------------


def test_native_loss_comes_first_in_each_set_and_the_others_in_plan_order(planter):
    for method, native in (("RDED", "kl"), ("DATM", "soft_ce")):
        for loss in ("gift", "soft_ce", "kl", "ce"):
            planter.cell(50.0, method=method, native=native, loss=loss)
    table = only(planter.frame)
    assert [row for method, row in table.row_labels if method == "RDED"] == ["kl", "gift", "soft_ce", "ce"]
    assert [row for method, row in table.row_labels if method == "DATM"] == ["soft_ce", "gift", "kl", "ce"]
    lines = markdown(table).splitlines()
    assert sum("(native)" in line for line in lines) == 2
    assert "kl (native)" in lines[4]
    assert "soft_ce (native)" in lines[8]


def test_one_ipc_is_left_to_the_title(planter):
    planter.cell(50.0, optimizer="sgd")
    table = only(planter.frame)
    assert table.title == "digits, IPC 10"
    assert "| set   | loss        |   sgd |" in markdown(table)


def test_columns_go_by_ipc_then_plan_order(planter):
    for ipc in (10, 1, 0.5):
        for optimizer in ("sgd", "adamw"):
            planter.cell(50.0, ipc=ipc, optimizer=optimizer)
    expected = [("0.5", "sgd"), ("0.5", "adamw"), ("1", "sgd"), ("1", "adamw"), ("10", "sgd"), ("10", "adamw")]
    assert list(only(planter.frame).column_labels) == expected


@pytest.mark.parametrize(("optimizers", "expected"), [(3, 1), (4, 3)])
def test_a_table_that_would_be_too_wide_is_split_by_ipc(planter, optimizers, expected):
    assert tables.WIDEST == 9
    for ipc in (1, 10, 50):
        for i in range(optimizers):
            planter.cell(50.0, ipc=ipc, optimizer=f"o{i}", method="RDED" if ipc < 50 else "Other")
    found = pivot(planter.frame)
    assert len(found) == expected
    if expected == 3:
        assert [table.title for table in found] == ["digits, IPC 1", "digits, IPC 10", "digits, IPC 50"]
        assert {method for method, _ in found[2].row_labels} == {"Other"}
        assert "RDED" not in note(found[2], "Dataset")


def test_models_can_be_the_columns(planter):
    for model in ("convnet3", "swin"):
        planter.cell(60.0, loss="kl", model=model, adaptation="swin: input upsampled 8 -> 32 px" if model == "swin" else "")
        planter.cell(61.0, loss="gift", model=model, adaptation="swin: input upsampled 8 -> 32 px" if model == "swin" else "")
    table = only(planter.frame, columns="model")
    assert [column for _, column in table.column_labels] == ["convnet3", "swin"]
    assert note(table, "Models") == "Models: convnet3, swin (input upsampled 8 -> 32 px)."


def test_losses_can_be_the_columns_and_gains_go_along_the_row(planter):
    planter.cell(60.0, loss="kl", model="a")
    planter.cell(62.0, loss="gift", model="a")
    table = only(planter.frame, rows="model", columns="loss")
    assert shown(table)["RDED", "a", "10", "gift"] == "62.0 (+2.0)"
    assert "in the same row" in note(table, "In brackets")


def test_no_records_make_no_table(planter):
    assert pivot(planter.frame) == []


# -- what is missing -----------------------------------------------------------------------------------------------------


def test_an_absent_cell_is_not_run(planter):
    planter.cell(80.0, loss="kl", optimizer="sgd")
    planter.cell(81.0, loss="gift", optimizer="sgd")
    planter.cell(82.0, loss="kl", optimizer="adamw")
    table = only(planter.frame)
    assert shown(table)["RDED", "gift", "10", "adamw"] == "— not run"
    absent = table.cells.query("row == 'gift' and column == 'adamw'").iloc[0]
    assert (absent["n"], absent["loss"], absent["optimizer"], absent["model"]) == (0, "gift", "adamw", "convnet3")
    assert math.isnan(absent["mean"])


def test_diverged_without_an_accuracy(planter):
    planter.plant(None, status="diverged")
    assert list(shown(only(planter.frame)).values()) == ["— diverged†"]


def test_done_without_an_accuracy(planter):
    planter.plant(None)
    assert list(shown(only(planter.frame)).values()) == ["— no accuracy"]


# -- what the numbers rest on --------------------------------------------------------------------------------------------


def test_sets_without_the_usual_labels_are_shown_all_the_same(planter):
    names = "images adaptation native learning_rate teacher teacher_accuracy protocol epochs batch_size augmentation precision"
    absent = dict.fromkeys([*names.split(), "model", "dataset", "optimizer"], ...)
    planter.cell(80.0, 82.0, device="", versions={}, **absent)
    table = only(planter.frame)
    assert list(shown(table).values()) == ["81.0 ± 1.4"]
    assert table.title == "IPC 10"
    assert markdown(table).count("\n- ") == 3


def test_set_without_ipc_and_method_labels(planter):
    planter.cell(80.0, ipc=..., method=..., distilled="a" * 64)
    table = only(planter.frame)
    assert (table.title, list(shown(table).values())) == ("digits", ["80.0"])


def test_records_in_any_order_make_the_same_table(planter):
    for loss in ("gift", "kl", "ce"):
        planter.cell(80.0, 81.0, 83.0, loss=loss)
    frame = planter.frame
    expected = markdown(only(frame))
    for seed in range(5):
        assert markdown(only(frame.sample(frac=1, random_state=seed))) == expected
    assert len(frame.columns) == len(planter.frame.columns)


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


def test_every_ipc_may_have_a_table_of_its_own(planter):
    for ipc in (1, 10):
        planter.cell(80.0, ipc=ipc)
    assert len(pivot(planter.frame)) == 1
    assert [table.title for table in pivot(planter.frame, each_ipc=True)] == ["digits, IPC 1", "digits, IPC 10"]


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


def test_what_a_table_shows_is_what_its_labels_name_in_their_order(planter):
    for loss in ("kl", "gift"):
        planter.cell(80.0, loss=loss)
    (table,) = pivot(planter.frame)
    places = [("RDED", "gift", "10", "adamw"), ("RDED", "kl", "10", "adamw")]
    turned = replace(table, row_labels=(("RDED", "gift"), ("RDED", "ce"), ("RDED", "kl")))
    assert turned.shown("n", "value") == dict.fromkeys(places, (1, "80.0"))
    assert list(turned.shown("n")) == places
    bare = replace(turned, cells=turned.cells.drop(columns=["rank", "suffix"]))
    assert bare.shown("rank", "suffix") == dict.fromkeys(places, (0, ""))


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
