"""Records to cells: means, deviations, ranks, gains."""

from __future__ import annotations

import math

import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests

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
    [(85.1, "85.1 ± 0.0 ↑5.1"), (79.6, "79.6 ± 0.0 ↓0.4"), (80.04, "80.0 ± 0.0 ↑0.0"), (80.0, "80.0 ± 0.0 (0.0)")],
)
def test_gain_over_the_native_loss(planter, accuracy, expected):
    planter.cell(79.99, 80.0, 80.01, loss="kl")
    planter.cell(accuracy - 0.01, accuracy, accuracy + 0.01, loss="gift")
    table = only(planter.frame)
    assert shown(table)["RDED", "gift", "10", "adamw"] == expected
    assert shown(table)["RDED", "kl", "10", "adamw"] == "80.0 ± 0.0"


@pytest.mark.parametrize(
    ("accuracies", "expected"),
    [((81.0, 84.0), "82.5 ± 2.1 (+1.5)"), ((80.0, 81.0), "80.5 ± 0.7 (-0.5)"), ((83.0, 85.2), "84.1 ± 1.6 ↑3.1")],
)
def test_a_gain_whose_interval_holds_0_stands_in_brackets(planter, accuracies, expected):
    planter.cell(80.0, 82.0, loss="kl")
    planter.cell(*accuracies, loss="gift")
    table = only(planter.frame)
    assert shown(table)["RDED", "gift", "10", "adamw"] == expected
    assert ("in brackets: points" in note(table, "Bold")) == ("(" in expected)


def test_a_gain_is_that_of_the_seeds_which_both_have(planter):
    planter.cell(70.0, 80.0, 90.0, loss="kl")
    planter.cell(71.0, 82.0, loss="gift")
    cell = only(planter.frame).cells.set_index("row").loc["gift"]
    expected = stats.ttest_rel([71.0, 82.0], [70.0, 80.0])
    interval = expected.confidence_interval()
    assert (cell["gain"], cell["gain_pairs"]) == (1.5, 2)  # not 76.5 - 80.0: the third seed of kl has no partner
    assert [cell["gain_low"], cell["gain_high"]] == pytest.approx([interval.low, interval.high])
    assert cell["gain_p"] == pytest.approx(expected.pvalue)


def test_without_a_shared_seed_a_gain_has_no_interval_and_nothing_is_told(planter):
    planter.plant(70.0, seed=0, loss="kl")
    planter.plant(90.0, seed=1, loss="gift")
    table = only(planter.frame)
    cell = table.cells.set_index("row").loc["gift"]
    assert (cell["gain"], cell["gain_pairs"]) == (20.0, 0)
    assert math.isnan(cell["gain_low"]) and math.isnan(cell["gain_p"])
    assert table.cells["tied"].tolist() == [True, True]
    assert note(table, "No pairs of seeds")


def test_a_mean_has_students_interval(planter):
    planter.cell(80.0, 82.0, 87.0)
    cell = only(planter.frame).cells.iloc[0]
    expected = stats.t.interval(0.95, 2, 83.0, stats.sem([80.0, 82.0, 87.0]))
    assert [cell["mean_low"], cell["mean_high"]] == pytest.approx(expected)


def test_tied_are_the_best_and_what_the_seeds_cannot_tell_from_it(planter):
    planter.cell(80.0, 82.0, 84.0, 86.0, 88.0, loss="kl")
    planter.cell(81.0, 81.5, 85.0, 85.0, 87.0, loss="gift")  # now above, now below
    planter.cell(75.0, 77.1, 79.0, 81.1, 83.0, loss="mse")  # five below, each time
    table = only(planter.frame)
    cells = table.cells.set_index("row")
    assert cells["tied"].to_dict() == {"kl": True, "gift": True, "mse": False}
    assert math.isnan(cells.loc["kl", "best_gap"])
    pairs = {"gift": [1.0, -0.5, 1.0, -1.0, -1.0], "mse": [-5.0, -4.9, -5.0, -4.9, -5.0]}
    p = [stats.ttest_1samp(differences, 0.0).pvalue for differences in pairs.values()]
    assert cells.loc[[*pairs], "best_gap_p"].tolist() == pytest.approx(multipletests(p, method="holm")[1].tolist())
    assert "comparisons: 2" in note(table, "Bold")
    assert note(table, "With").startswith(
        "With 5 pairs of seeds the smallest p that a signed-rank or sign-flip test can give is 0.062: "
    )


def test_comparisons_are_corrected_over_all_columns_of_a_table(planter):
    for optimizer in ("sgd", "adam", "adamw"):
        planter.cell(80.0, 81.0, 82.0, loss="kl", optimizer=optimizer)
        planter.cell(75.0, 76.9, 77.2, loss="ce", optimizer=optimizer)
    alone, together = pivot(planter.frame.query("optimizer == 'sgd'"))[0], only(planter.frame)
    p = [table.cells["best_gap_p"].dropna().iloc[0] for table in (alone, together)]
    assert p[1] == pytest.approx(3 * p[0])


@pytest.mark.parametrize(("images", "told"), [(400, False), (40_000, True)])
def test_differences_that_are_all_alike_are_known_to_an_image_of_the_test_split(planter, images, told):
    """Three seeds, each one image of 400 better: of 40,000, a hundred."""
    counts = [round(share * images) for share in (0.8, 0.81, 0.8275)]
    for loss, more in (("kl", 0), ("gift", images // 400)):
        planter.cell(*(100 * (count + more) / images for count in counts), loss=loss)
    planter.cell(*(100 * count / images for count in (images // 4, images // 4 + 1, images // 3)), loss="ce")
    cells = only(planter.frame).cells.set_index("row")
    assert cells.loc["gift", "gain"] == pytest.approx(0.25)
    assert (cells.loc["gift", "gain_low"] > 0) == told
    assert cells.loc["kl", "tied"] == (not told)
    assert not cells.loc["ce", "tied"]


def test_of_seeds_that_only_agree_in_part_the_rest_do_not_count(planter):
    planter.cell(80.0, 81.0, 82.0, loss="kl")
    planter.plant(10.0, seed=7, loss="ce")
    planter.plant(11.0, seed=8, loss="ce")
    assert only(planter.frame).cells["tied"].all()  # however far apart: nothing is paired


def test_the_lowest_may_be_what_ties_are_with(planter):
    for measure, offset in (("final", 0.0), ("forgetting", 0.0)):
        planter.cell(80.0 + offset, 81.0, 82.0, 83.0, loss="kl", measure=measure)
        planter.cell(70.0, 71.1, 72.0, 73.1, loss="gift", measure=measure)
    (table,) = pivot(planter.frame, columns="measure", lowest=["forgetting"])
    cells = table.cells.set_index(["row", "column"])
    assert cells["tied"].to_dict() == {
        ("kl", "final"): True,
        ("kl", "forgetting"): False,
        ("gift", "final"): False,
        ("gift", "forgetting"): True,
    }
    assert cells.loc[("kl", "forgetting"), "best_gap"] > 0


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
