"""dd-ranking: what is trained for DD-Ranking's scores, and what is made of it."""

from __future__ import annotations

import math
import random
from collections.abc import Callable

import pytest

from harness import statistics
from harness.boards.frames import to_frame
from harness.boards.records import Record
from harness.boards.trial import Trial
from harness.core.errors import BoardError
from harness.datasets import load
from harness.leaderboard.page.rows import long_table
from harness.leaderboard.prices import beside, priced
from harness.leaderboard.summary import summary
from harness.leaderboard.tables import Table
from harness.planning.artefacts import Artefacts
from harness.running.prices import prices
from harness.running.scenario import named
from harness.running.workbench import Workbench
from tests.scenarios.looking import RANDOM, RDED, cell, fake, tables_of

Planner = Callable[..., list[Trial]]
Run = Callable[..., list[Record]]
SCENARIO = "dd-ranking"
#: Accuracy in percent by what is trained on, and points that a seed adds.
LEVELS = {
    ("all real images", "ce"): 90.0,
    ("RDED", "gift"): 60.0,
    ("RDED", "ce"): 40.0,
    ("Random", "gift"): 50.0,
    ("Random", "ce"): 45.0,
}
PLAIN = {"RDED": -8.0, "Random": -4.0}


def accuracy(trial: Trial) -> float:
    labels = trial.labels
    plain = PLAIN.get(labels.method, 0.0) * (labels.own["part"] == "not augmented")
    return LEVELS[labels.method, labels.loss] + plain + trial.seed * (labels.method == "RDED")


def number(table: Table, score: str, name: str = "RDED", loss: str = "gift") -> float:
    return float(cell(table, method=loss, row=name, column=score)["mean"])


def score(value: float) -> float:
    """Equation by equation as the paper has it, with accuracies as fractions."""
    return (math.e**value - math.e**-1) / (math.e - math.e**-1)


def test_each_set_is_trained_under_its_losses_under_hard_labels_and_unaugmented_and_the_whole_train_split_once(
    plan: Planner,
) -> None:
    trials = plan(losses=["gift"], sets=[RDED, RANDOM], scenarios=[{"name": SCENARIO, "real_epochs": 3}])
    found = [
        (t.labels.own["part"], t.labels.method, t.labels.loss, t.protocol.labels, bool(t.teacher), t.protocol.augmentation)
        for t in trials
    ]
    dsa = trials[0].protocol.augmentation
    assert dsa != "none"
    assert found == [
        ("augmented", "RDED", "gift", "auto", True, dsa),
        ("augmented", "Random", "gift", "auto", True, dsa),
        ("augmented", "RDED", "ce", "hard", False, dsa),
        ("augmented", "Random", "ce", "hard", False, dsa),
        ("not augmented", "RDED", "gift", "auto", True, "none"),
        ("not augmented", "Random", "gift", "auto", True, "none"),
        ("all real images", "all real images", "ce", "hard", False, dsa),
    ]
    real = trials[-1]
    images = len(load("digits").train)
    assert (real.protocol.epochs, real.protocol.batch_size, real.options, real.labels.images) == (
        3,
        256,
        {"real": images},
        images,
    )
    assert [*named(SCENARIO).trainings(real, 100)] == [(images, 100 * real.protocol.evaluations)]


def test_a_loss_on_hard_labels_that_the_board_asks_for_is_trained_once(plan: Planner) -> None:
    trials = plan(losses=["ce"], sets=[RANDOM], scenarios=[{"name": SCENARIO, "real": False}])
    assert [(t.labels.own["part"], t.labels.own["asked"]) for t in trials] == [("augmented", True), ("not augmented", True)]


def test_what_nothing_augments_is_trained_once(plan: Planner) -> None:
    plain = {"name": "smoke", "augmentation": "none"}
    trials = plan(losses=["gift"], sets=[RANDOM], scenarios=[{"name": SCENARIO, "real": False, "protocol": plain}])
    assert [t.labels.own["part"] for t in trials] == ["augmented", "augmented"]
    (table,) = tables_of(fake(trials, lambda t: 50.0))
    assert cell(table, method="gift", row="Random", column="ARS")["value"] == "—"


def test_scores_are_those_of_the_paper_by_seed(plan: Planner) -> None:
    trials = plan(seeds=3, losses=["gift"], sets=[RDED, RANDOM], scenarios=[SCENARIO])
    (table,) = tables_of(fake(trials, accuracy))
    assert (table.groups, table.rows, table.columns) == ("loss", "set", "score")
    assert [column for _, column in table.column_labels] == ["accuracy in %", "HLR", "IOR", "LRS", "ARS"]
    hlr = [0.9 - 0.4 - seed / 100 for seed in range(3)]
    ior = [0.6 - 0.5 + seed / 100 for seed in range(3)]
    plain = [0.52 - 0.46 + seed / 100 for seed in range(3)]
    expected = {
        "HLR": hlr,
        "IOR": ior,
        "LRS": [score(0.5 * i - 0.5 * h) for i, h in zip(ior, hlr, strict=True)],
        "ARS": [score(0.5 * i + 0.5 * p) for i, p in zip(ior, plain, strict=True)],
    }
    for name, values in expected.items():
        shown = cell(table, method="gift", row="RDED", column=name)
        of = statistics.summary(values)
        half = statistics.half_width(of)
        assert (shown["n"], shown["mean"], shown["std"]) == pytest.approx((3, of.mean, of.std)), name
        assert (shown["low"], shown["high"]) == pytest.approx((of.mean - half, of.mean + half))
        assert shown["value"] == f"{of.mean:.3f} [{of.mean - half:.3f}, {of.mean + half:.3f}]"
    assert number(table, "IOR", "Random") == 0 and number(table, "ARS", "Random") == pytest.approx(0.26894, abs=1e-5)
    assert any("All real images: 90.0 %" in note and "(n = 3)" in note for note in table.notes)
    assert cell(table, method="gift", row="RDED", column="accuracy in %")["value"] == "61.0 ± 1.0"
    figures = named(SCENARIO).figures([table])
    assert [(figure.x_label, figure.categories) for figure in figures] == [(s, ("RDED", "Random")) for s in ("LRS", "ARS")]


def test_what_lacks_an_ingredient_has_no_number_and_a_note_says_which(plan: Planner) -> None:
    trials = plan(losses=["gift"], sets=[RDED, RANDOM], scenarios=[SCENARIO])
    lacking = {
        ("all real images", "all real images", "ce"): ({"HLR", "LRS"}, "all real images under hard labels"),
        ("augmented", "RDED", "ce"): ({"HLR", "LRS"}, "the set under hard labels"),
        ("augmented", "Random", "gift"): ({"IOR", "LRS", "ARS"}, "random images of its IPC"),
        ("not augmented", "RDED", "gift"): ({"ARS"}, "the set without augmentation"),
        ("not augmented", "Random", "gift"): ({"ARS"}, "random images of its IPC without augmentation"),
    }
    for place, (gone, words) in lacking.items():
        kept = [t for t in trials if (t.labels.own["part"], t.labels.method, t.labels.loss) != place]
        assert len(kept) == len(trials) - 1
        (table,) = tables_of(fake(kept, accuracy))
        values = {score: cell(table, method="gift", row="RDED", column=score)["value"] for score in ("HLR", "IOR", "LRS", "ARS")}
        assert {score for score, value in values.items() if value == "—"} == gone, place
        assert any(" of RDED" in note and note.endswith(f"the one record of {words}.") for note in table.notes)


def test_a_seed_without_an_ingredient_is_left_out_of_the_score_and_that_is_said(plan: Planner) -> None:
    trials = plan(seeds=2, losses=["gift"], sets=[RDED, RANDOM], scenarios=[SCENARIO])
    (table,) = tables_of(fake([t for t in trials if t.labels.own["part"] != "all real images" or t.seed == 1], accuracy))
    shown = cell(table, method="gift", row="RDED", column="HLR")
    assert (shown["value"], shown["suffix"], shown["n"]) == ("0.490", " (n=1)", 1)


def test_accuracies_of_two_setups_make_no_score(plan: Planner) -> None:
    """The board's real images were trained for 3 epochs, and later for 5: nobody knows which one is meant."""
    boards = [plan(losses=["gift"], sets=[RDED, RANDOM], scenarios=[{"name": SCENARIO, "real_epochs": n}]) for n in (3, 5)]
    trials = [*boards[0], boards[1][-1]]
    (table,) = tables_of(fake(trials, accuracy))
    assert cell(table, method="gift", row="RDED", column="HLR")["value"] == "—"
    assert cell(table, method="gift", row="RDED", column="IOR")["mean"] == pytest.approx(0.1)


def test_scores_are_ranked_as_accuracies_are_and_the_recovery_by_the_lowest(plan: Planner) -> None:
    trials = plan(seeds=3, losses=["gift"], sets=[RDED, RANDOM], scenarios=[SCENARIO])
    noise = {t.id: random.Random(t.id).uniform(-0.5, 0.5) for t in trials}
    (table,) = tables_of(fake(trials, lambda trial: accuracy(trial) + noise[trial.id]))
    for score in ("accuracy in %", "HLR", "IOR", "LRS", "ARS"):
        rows = {row: cell(table, method="gift", row=row, column=score) for row in ("RDED", "Random")}
        best, other = sorted(rows, key=lambda row: rows[row]["mean"], reverse=score != "HLR")
        assert (rows[best]["rank"], rows[best]["tied"], best) == (1, True, "Random" if score == "HLR" else "RDED"), score
        gap = rows[other]["best_gap"]
        assert gap == pytest.approx(rows[other]["mean"] - rows[best]["mean"]) and math.isnan(rows[best]["best_gap"])
        assert rows[other]["tied"] == (not rows[other]["best_gap_p"] < 0.05)
    assert table.has_lowest("HLR") and not any(map(table.has_lowest, ("accuracy in %", "IOR", "LRS", "ARS")))
    assert any("Holm-corrected over the table, comparisons: 5" in note for note in table.notes)


def test_of_one_set_or_one_seed_no_score_is_the_best(plan: Planner) -> None:
    (table,) = tables_of(fake(plan(seeds=3, losses=["gift"], sets=[RANDOM], scenarios=[SCENARIO]), accuracy))
    assert not table.cells["tied"].any()
    (table,) = tables_of(fake(plan(losses=["gift"], sets=[RDED, RANDOM], scenarios=[SCENARIO]), accuracy))
    assert table.cells["tied"].all()  # one seed tells nothing


def test_scores_count_in_no_summary_show_their_decimals_on_the_page_and_leave_prices_to_accuracy(plan: Planner) -> None:
    trials = plan(seeds=2, losses=["gift"], sets=[RDED, RANDOM], scenarios=[SCENARIO])
    records = fake(trials, accuracy)
    (table,) = tables_of(records)
    (sets,) = summary([table]).comparisons
    assert (sets.asked, sets.cells) == ("set", 1)
    rows = {(row.labels["set"], row.labels["score"]): row for row in long_table(SCENARIO, [table], {}).rows}
    assert rows["RDED", "LRS"].interval == "0.171 to 0.216" and rows["RDED", "accuracy in %"].interval == "54.1 to 66.9"
    shown = priced(table, beside(to_frame(records), prices(records))).cells
    assert shown[(shown["row"] == "RDED") & (shown["column"] == "accuracy in %")]["steps"].item() == trials[0].protocol.epochs


def test_a_board_without_random_images_has_the_recovery_alone(plan: Planner) -> None:
    trials = plan(losses=["gift"], sets=[RDED], scenarios=[SCENARIO])
    (table,) = tables_of(fake(trials, accuracy))
    assert number(table, "HLR") == pytest.approx(0.5)
    assert {cell(table, method="gift", row="RDED", column=score)["value"] for score in ("IOR", "LRS", "ARS")} == {"—"}
    with pytest.raises(BoardError, match="baseline: no set 'Nobody'"):
        plan(sets=[RDED, RANDOM], scenarios=[{"name": SCENARIO, "baseline": "Nobody"}])


def test_the_real_images_are_all_of_the_train_split(plan: Planner, artefacts: Artefacts) -> None:
    real = plan(losses=["ce"], sets=[RANDOM], scenarios=[{"name": SCENARIO, "real_epochs": 1}])[-1]
    train, workbench = load("digits").train, Workbench("cpu", artefacts)
    material = named(SCENARIO).material(real, workbench)
    assert named(SCENARIO).material(real, workbench) is material, "there is one copy on the device, whatever the seeds"
    assert len(material.images) == len(train) and material.labels.equal(train.labels)
    assert abs(float(material.images.mean())) < 0.01, "normalised by the dataset's own statistics, as the test split is"


def test_a_tiny_board_run_for_real_shows_its_scores(run: Run) -> None:
    records = run({"name": SCENARIO, "real_epochs": 1}, losses=["gift"], sets=[RDED, RANDOM])
    assert records[-1].metrics["steps"] == math.ceil(len(load("digits").train) / 256)
    (table,) = tables_of(records)
    by = {(r.trial.labels.own["part"], r.trial.labels.method, r.trial.labels.loss): r.metrics["accuracy"] / 100 for r in records}
    ior = by["augmented", "RDED", "gift"] - by["augmented", "Random", "gift"]
    hlr = by["all real images", "all real images", "ce"] - by["augmented", "RDED", "ce"]
    plain = by["not augmented", "RDED", "gift"] - by["not augmented", "Random", "gift"]
    found = [number(table, name) for name in ("HLR", "IOR", "LRS", "ARS")]
    assert found == pytest.approx([hlr, ior, score((ior - hlr) / 2), score((ior + plain) / 2)])
