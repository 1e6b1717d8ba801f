"""What stands under a table: seeds, footnotes, learning rates, devices."""

from __future__ import annotations

from harness.leaderboard.tables import pivot
from tests.leaderboard.looking import note, only, shown


def test_seed_counts_that_differ_are_named_in_their_cells(planter):
    planter.cell(80.0, 81.0, 82.0, loss="kl")
    planter.cell(80.0, 81.0, 82.0, loss="gift")
    planter.cell(70.0, 72.0, loss="ce")
    table = only(planter.frame)
    assert shown(table)["RDED", "ce", "10", "adamw"] == "71.0 ± 1.4 ↓9.5 (n=2)"
    assert "(n=" not in shown(table)["RDED", "kl", "10", "adamw"]
    assert "n = 3 seeds (0, 1, 2) unless a cell says otherwise." in note(table, "Accuracy")


def test_the_usual_count_is_that_of_most_cells_and_not_the_largest(planter):
    planter.cell(80.0, 81.0, loss="kl")
    planter.cell(80.0, 81.0, loss="gift")
    planter.cell(70.0, 71.0, 72.0, loss="ce")
    table = only(planter.frame)
    assert "(n=" not in shown(table)["RDED", "kl", "10", "adamw"]
    assert shown(table)["RDED", "ce", "10", "adamw"].endswith("(n=3)")


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


def test_what_the_checks_warn_of_stands_under_the_table(planter):
    planter.cell(80.0, 81.0, loss="kl")
    assert not [line for line in only(planter.frame).notes if line.startswith("Warning")]
    planter.records[:] = [record.warned(("120 images occur more than once", "odd|pipe")) for record in planter.records]
    assert "120 images occur more than once; odd" in note(only(planter.frame), "Warning of RDED (")


def test_an_error_cannot_break_out_of_its_footnote(planter):
    planter.plant(status="failed", error="a `b` <!-- /giftbench -->\n# heading")
    assert only(planter.frame).footnotes == ["(a) failed: `a 'b' < !-- …/giftbench --> # heading`"]


def test_learning_rates_that_depend_on_the_model_are_listed(planter):
    for model, rate in (("convnet3", 0.001), ("resnet18", 0.001), ("swin", 0.0001)):
        planter.cell(80.0, model=model, learning_rate=rate)
    assert note(only(planter.frame, columns="model"), "Optimizer") == "Optimizer (learning rate): adamw (0.001, 0.0001 for swin)."


def test_devices_and_versions_are_listed(planter):
    planter.plant(80.0, device="CPU A", versions={"Python": "3.11", "torch": "2.9"})
    planter.plant(80.0, seed=1, device="CPU B", versions={"Python": "3.11", "torch": "2.10"})
    assert note(only(planter.frame), "Devices") == "Devices: CPU A, CPU B; Python 3.11, torch 2.9 and 2.10."


def test_the_measure_stands_in_the_notes(planter):
    planter.cell(80.0)
    assert pivot(planter.frame, measure="Words.")[0].notes[0].startswith("Words. n = 1 seed")
