"""Layout, ranks, gains, and what stands where a figure is missing."""

from __future__ import annotations

import math

import pytest

from harness.leaderboard import tables
from harness.leaderboard.markdown import markdown
from harness.leaderboard.tables import Table, pivot

GOLDEN = """\
### digits

| set    | loss        |            IPC 1 / sgd |          IPC 1 / adamw |           IPC 10 / sgd |         IPC 10 / adamw |
|:-------|:------------|-----------------------:|-----------------------:|-----------------------:|-----------------------:|
| RDED   | kl (native) |      <u>72.0 ± 1.4</u> |      <u>72.0 ± 1.4</u> |      <u>81.0 ± 1.4</u> |      <u>81.0 ± 1.4</u> |
|        | gift        |    **77.1 ± 1.4** ↑5.1 |    **77.1 ± 1.4** ↑5.1 |    **86.1 ± 1.4** ↑5.1 |    **86.1 ± 1.4** ↑5.1 |
|        | ce          |       61.0 ± 0.0 ↓11.0 |       61.0 ± 0.0 ↓11.0 |       70.0 ± 0.0 ↓11.0 |       70.0 ± 0.0 ↓11.0 |
| Random | kl (native) |         **72.0 ± 1.4** |         **72.0 ± 1.4** |         **81.0 ± 1.4** |         **81.0 ± 1.4** |
|        | gift        | <u>71.6 ± 1.4</u> ↓0.4 | <u>71.6 ± 1.4</u> ↓0.4 | <u>80.6 ± 1.4</u> ↓0.4 | <u>80.6 ± 1.4</u> ↓0.4 |
|        | ce          |       61.0 ± 0.0 ↓11.0 |       61.0 ± 0.0 ↓11.0 |       70.0 ± 0.0 ↓11.0 |       70.0 ± 0.0 ↓11.0 |

- Accuracy in percent on the test split after the last epoch, mean ± standard deviation (ddof 1). n = 2 seeds (0, 1).
- Bold: best of a set's rows in its column; underlined: second best; ↑ ↓: points above or below the set's native loss in the \
same column.
- Dataset: digits. Sets: RDED IPC 1 (10 images, `a1aa35df`), IPC 10 (100 images, `0c078c40`), native loss kl; Random IPC 1 \
(10 images, `6cb21671`), IPC 10 (100 images, `b5920308`), native loss kl.
- Teacher: convnet3(width=64), 98.2 % on the test split; not used by ce.
- Protocol: quick: 150 epochs, batch size 10 at IPC 1, 50 at IPC 10, augmentation color_crop, float32.
- Model: convnet3.
- Optimizers (learning rate): sgd (0.1), adamw (0.001).
- Device: CPU Test; torch 2.9.1.
"""


def only(frame, **axes) -> Table:
    found = pivot(frame, **axes)
    assert len(found) == 1, [table.title for table in found]
    return found[0]


def shown(table: Table) -> dict[tuple[str, ...], str]:
    """Return {(method, row, ipc, column): value and suffix}."""
    return {(c.method, c.row, c.ipc, c.column): c.value + c.suffix for c in table.cells.itertuples()}


def ranks(table: Table) -> dict[str, int]:
    return {c.row: c.rank for c in table.cells.itertuples()}


def note(table: Table, start: str) -> str:
    found = [n for n in [*table.footnotes, *table.notes] if n.startswith(start)]
    assert len(found) == 1, (start, table.footnotes, table.notes)
    return found[0]


# -- layout --------------------------------------------------------------------------------------------------------------


def test_a_small_table_reads_as_printed_here(planter):
    for optimizer, rate in (("sgd", 0.1), ("adamw", 0.001)):
        for method in ("RDED", "Random"):
            for ipc, images, batch in ((1, 10, 10), (10, 100, 50)):
                base = {"optimizer": optimizer, "learning_rate": rate, "method": method, "ipc": ipc, "images": images}
                base["batch_size"] = batch
                better = 5.1 if method == "RDED" else -0.42
                planter.cell(70 + ipc + better, 72 + ipc + better, loss="gift", **base)
                planter.cell(70 + ipc, 72 + ipc, loss="kl", **base)
                planter.cell(60 + ipc, 60 + ipc, loss="ce", teacher="", teacher_accuracy=None, **base)
    assert markdown(only(planter.frame)) == GOLDEN


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
    assert shown(table)["RDED", "a", "10", "gift"] == "62.0 ↑2.0"
    assert "in the same row" in note(table, "↑ ↓")


def test_labels_that_look_like_markdown_are_shown_as_they_are(planter):
    planter.cell(50.0, loss="kl(x='a|b*')", method="<b>")
    line = markdown(only(planter.frame)).splitlines()[4]
    assert r"\<b>" in line
    assert r"kl(x='a\|b\*')" in line


def test_no_records_make_no_table(planter):
    assert pivot(planter.frame) == []


# -- figures -------------------------------------------------------------------------------------------------------------


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


def test_seed_counts_that_differ_are_named_in_their_cells(planter):
    planter.cell(80.0, 81.0, 82.0, loss="kl")
    planter.cell(80.0, 81.0, 82.0, loss="gift")
    planter.cell(70.0, 72.0, loss="ce")
    table = only(planter.frame)
    assert shown(table)["RDED", "ce", "10", "adamw"] == "71.0 ± 1.4 ↓10.0 (n=2)"
    assert "(n=" not in shown(table)["RDED", "kl", "10", "adamw"]
    assert "n = 3 seeds (0, 1, 2) unless a cell says otherwise." in note(table, "Accuracy")


def test_the_usual_count_is_that_of_most_cells_and_not_the_largest(planter):
    planter.cell(80.0, 81.0, loss="kl")
    planter.cell(80.0, 81.0, loss="gift")
    planter.cell(70.0, 71.0, 72.0, loss="ce")
    table = only(planter.frame)
    assert "(n=" not in shown(table)["RDED", "kl", "10", "adamw"]
    assert shown(table)["RDED", "ce", "10", "adamw"].endswith("(n=3)")


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


def test_failed_cells_name_their_error_once(planter):
    for optimizer in ("sgd", "adamw"):
        for seed in (0, 1):
            planter.plant(status="failed", seed=seed, loss="gift", optimizer=optimizer, error="ValueError: no /home/me/x.bin")
        planter.plant(status="failed", loss="kl", optimizer=optimizer, error=f"{optimizer} broke")
    table = only(planter.frame)
    assert shown(table)["RDED", "gift", "10", "sgd"] == shown(table)["RDED", "gift", "10", "adamw"] == "— failed (c)"
    assert shown(table)["RDED", "kl", "10", "adamw"] == "— failed (b)"
    assert table.footnotes == ["(a) failed: `sgd broke`", "(b) failed: `adamw broke`", "(c) failed: `ValueError: no …/x.bin`"]
    assert note(table, "Accuracy").endswith("No trial gave an accuracy; seeds 0, 1.")


def test_a_failed_seed_leaves_the_mean_over_the_rest(planter):
    planter.cell(80.0, 82.0, loss="kl")
    planter.plant(status="failed", seed=2, loss="kl", error="RuntimeError: boom", metrics={"accuracy": 0.0})
    table = only(planter.frame)
    assert shown(table)["RDED", "kl", "10", "adamw"] == "81.0 ± 1.4 (n=2) (a)"
    assert table.footnotes == ["(a) failed: `RuntimeError: boom`"]


def test_diverged_seeds_count_and_are_marked(planter):
    planter.cell(80.0, 82.0, loss="kl")
    planter.plant(9.0, seed=2, loss="kl", status="diverged", metrics={"epochs": 37.0})
    planter.cell(80.0, 82.0, 84.0, loss="gift")
    table = only(planter.frame)
    assert shown(table)["RDED", "kl", "10", "adamw"] == "57.0 ± 41.6†"
    assert table.footnotes == ["† the loss became non-finite in 1 of 3 seeds, which count with the accuracy they had."]
    assert "†" not in shown(table)["RDED", "gift", "10", "adamw"]


def test_cells_that_diverged_in_different_counts_are_named(planter):
    planter.plant(9.0, loss="kl", status="diverged")
    planter.plant(90.0, loss="kl", seed=1)
    for seed in (0, 1):
        planter.plant(9.0, loss="gift", seed=seed, status="diverged")
    found = only(planter.frame).footnotes
    expected = "† the loss became non-finite in 1 of 2 seeds (RDED / kl / adamw); 2 of 2 seeds (RDED / gift / adamw)"
    assert found[0].startswith(expected)


def test_diverged_without_an_accuracy(planter):
    planter.plant(None, status="diverged")
    assert list(shown(only(planter.frame)).values()) == ["— diverged†"]


def test_done_without_an_accuracy(planter):
    planter.plant(None)
    assert list(shown(only(planter.frame)).values()) == ["— no accuracy"]


def test_an_error_cannot_break_out_of_its_footnote(planter):
    planter.plant(status="failed", error="a `b` <!-- /giftbench -->\n# heading")
    assert only(planter.frame).footnotes == ["(a) failed: `a 'b' < !-- …/giftbench --> # heading`"]


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


def test_learning_rates_that_depend_on_the_model_are_listed(planter):
    for model, rate in (("convnet3", 0.001), ("resnet18", 0.001), ("swin", 0.0001)):
        planter.cell(80.0, model=model, learning_rate=rate)
    assert note(only(planter.frame, columns="model"), "Optimizer") == "Optimizer (learning rate): adamw (0.001, 0.0001 for swin)."


def test_devices_and_versions_are_listed(planter):
    planter.plant(80.0, device="CPU A", versions={"Python": "3.11", "torch": "2.9"})
    planter.plant(80.0, seed=1, device="CPU B", versions={"Python": "3.11", "torch": "2.10"})
    assert note(only(planter.frame), "Devices") == "Devices: CPU A, CPU B; Python 3.11, torch 2.9 and 2.10."


def test_notes_fold_away_but_footnotes_stay(planter):
    planter.cell(80.0, loss="kl")
    planter.plant(status="failed", loss="ce", error="boom")
    text = markdown(only(planter.frame), level=0, fold=True)
    visible, _, folded = text.partition("<details>")
    assert "(a) failed: `boom`" in visible
    assert "- Accuracy in percent" in folded
    assert not text.startswith("#")


def test_records_in_any_order_make_the_same_table(planter):
    for loss in ("gift", "kl", "ce"):
        planter.cell(80.0, 81.0, 83.0, loss=loss)
    frame = planter.frame
    expected = markdown(only(frame))
    for seed in range(5):
        assert markdown(only(frame.sample(frac=1, random_state=seed))) == expected
    assert len(frame.columns) == len(planter.frame.columns)


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
