"""Published numbers and a board's own side by side."""

from __future__ import annotations

import csv
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from harness.boards.protocol import Protocol
from harness.boards.records import Record, RecordStore
from harness.boards.trial import Trial
from harness.core.errors import BoardError, DataError
from harness.leaderboard.comparison import compare
from harness.leaderboard.statistics import Summary, summary, welch

BOARD = """
title = "Mine | ours"
dataset = "cifar100"
teacher = { model = "convnet3", expect = 61.27 }
reported = "numbers.csv"
reported_tables = ["5"]
sets = [{ method = "random", ipc = 10 }]
scenarios = ["cross-optimizer"]
"""
NUMBERS = """\
table,dataset,method,distilled_on,ipc,network,optimizer,loss,refine,native,accuracy,std
5,cifar100,RDED,convnet,10,convnet,sgd,kl,0,1,1.5,0.1
5,cifar100,RDED,convnet,10,convnet,adamw,kl,0,1,47.5,0.3
5,cifar100,RDED,convnet,10,convnet,adamw,gift,1,0,50.6,0.3
5,tiny-imagenet,RDED,convnet,10,convnet,adamw,gift,1,0,44.0,0.0
7,cifar100,RDED,convnet,10,convnet,adamw,kl,0,1,48.0,0.3
"""


class Planted:
    """A board in a folder, published numbers and records of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "board.toml").write_text(BOARD, "utf-8")
        (folder / "numbers.csv").write_text(NUMBERS, "utf-8")

    def plant(self, *best: float, loss: str = "kl", protocol: Any = "paper", status: Any = "done", **changes: Any) -> None:
        """Plant a record for each best accuracy; that of the last epoch is half a point lower."""
        labels = {
            "method": "RDED",
            "distilled_on": "convnet",
            "ipc": 10,
            "images": 1000,
            "model": "convnet3",
            "optimizer": "adamw",
        }
        labels |= {"order": 0, "dataset": "cifar100", "loss": loss, "teacher": "convnet3", "teacher_accuracy": 60.94} | changes
        for seed, value in enumerate(best):
            made = Trial(
                scenario="cross-optimizer",
                dataset={"name": labels["dataset"], "digest": "a" * 64},
                distilled="d" * 64,
                model=labels["model"],
                loss=labels["loss"],
                optimizer=labels["optimizer"],
                protocol=Protocol.model_validate(protocol).resolved(labels["images"], labels["dataset"]),
                seed=seed,
                labels=labels,
            )
            RecordStore(self.folder / "records").write(
                Record.of(made, status, metrics={"accuracy": value - 0.5, "best_accuracy": value})
            )

    def compared(self, *options: Any) -> tuple[str, list[dict[str, str]]]:
        """Return the Markdown and the rows of the CSV file."""
        text, paths = compare(self.folder / "board.toml", *options)
        assert [path.name for path in paths] == ["comparison.md", "comparison.csv"]
        assert paths[0].read_text("utf-8") == text
        with paths[1].open(newline="", encoding="utf-8") as stream:
            return text, list(csv.DictReader(stream))


@pytest.fixture
def planted(tmp_path: Path) -> Planted:
    return Planted(tmp_path)


def line(text: str, *words: str) -> list[str]:
    """Return the cells of the one table row that begins with these words."""
    rows = [[cell.strip() for cell in row.strip("|").split("|")] for row in text.splitlines() if row.startswith("|")]
    (found,) = [row for row in rows if row[: len(words)] == [*words]]
    return found


# -- statistics ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sizes", [(3, 3), (2, 3), (7, 3), (20, 3)])
def test_the_interval_is_scipys_of_two_unpaired_samples_of_unequal_variance(sizes):
    draws = np.random.default_rng(sum(sizes))
    first, second = draws.normal(50, 1, sizes[0]), draws.normal(49, 0.3, sizes[1])
    expected = stats.ttest_ind(first, second, equal_var=False)
    low, high = expected.confidence_interval(0.95)
    assert welch(summary(first), summary(second)) == pytest.approx((first.mean() - second.mean(), low, high))


def test_an_interval_leaves_out_zero_just_when_scipys_test_rejects():
    for gap in np.linspace(0, 3, 31):
        ours, reported = Summary(3, 50 + gap, 0.5), Summary(3, 50.0, 0.4)
        found = stats.ttest_ind_from_stats(ours.mean, ours.std, 3, reported.mean, reported.std, 3, equal_var=False)
        _, low, high = welch(ours, reported)
        assert (low > 0 or high < 0) == (found.pvalue < 0.05)


def test_one_seed_has_no_interval_and_two_samples_without_spread_an_exact_one():
    difference, low, high = welch(Summary(1, 50.0, math.nan), Summary(3, 49.0, 0.3))
    assert difference == 1.0 and math.isnan(low) and math.isnan(high)
    assert welch(Summary(3, 50.0, 0.0), Summary(3, 49.0, 0.0)) == (1.0, 1.0, 1.0)


# -- the files -----------------------------------------------------------------------------------------------------------


def test_a_cell_shows_both_conventions_the_difference_and_its_interval(planted: Planted):
    planted.plant(48.0, 48.4, 48.8)
    text, rows = planted.compared()
    # reported std 0.3 is ddof 0 over three runs, so 0.3 * sqrt(3/2) in ddof 1
    expected = stats.ttest_ind_from_stats(48.4, 0.4, 3, 47.5, 0.3 * math.sqrt(1.5), 3, equal_var=False)
    freedom = (0.16 / 3 + 0.135 / 3) ** 2 / ((0.16 / 3) ** 2 / 2 + (0.135 / 3) ** 2 / 2)
    half = stats.t.ppf(0.975, freedom) * math.sqrt(0.16 / 3 + 0.135 / 3)
    assert 0.04 < expected.pvalue < 0.05
    assert line(text, "RDED", "kl (native)", "adamw")[3:] == [
        "47.5 ± 0.3",
        "48.4 ± 0.3",  # ddof 0, as the paper has it
        f"+0.9 [{0.9 - half:.1f}, {0.9 + half:.1f}] ↑",
        "47.9 ± 0.4",  # ddof 1, as leaderboards here have it
        "3",
    ]
    row = rows[1]
    assert (row["loss"], row["optimizer"], row["n"], row["seeds"], row["mark"]) == ("kl", "adamw", "3", "0 1 2", "↑")
    for name, value in {
        "accuracy": 47.5,
        "std": 0.3,
        "ours_best": 48.4,
        "ours_best_std": 0.4,
        "ours_best_std_ddof0": 0.4 * math.sqrt(2 / 3),
        "difference": 0.9,
        "low": 0.9 - half,
        "high": 0.9 + half,
        "ours_last": 47.9,
        "ours_last_std": 0.4,
        "teacher_accuracy": 60.94,
    }.items():
        assert float(row[name]) == pytest.approx(value, abs=1e-9), name


def test_cells_that_differ_by_more_than_noise_are_marked_and_counted(planted: Planted):
    planted.plant(30.0, 30.1, 30.2, optimizer="sgd")
    planted.plant(47.4, 47.5, 47.6)
    planted.plant(48.0, 48.1, 48.2, loss="gift")
    text, rows = planted.compared()
    assert "3 of 4 cells measured; 2 differ by more than noise (1 above, 1 below)." in text
    assert [row["mark"] for row in rows] == ["↑", "", "↓", ""]
    assert line(text, "RDED", "kl (native)", "sgd")[5].endswith("] ↑")
    assert line(text, "RDED", "gift", "adamw")[5].startswith("-2.5 [-3")


def test_less_than_the_rounding_of_a_published_number_is_no_difference(planted: Planted):
    planted.plant(44.04, 44.04, 44.04, loss="gift", dataset="tiny-imagenet", model="convnet4")
    _, rows = planted.compared()
    assert float(rows[3]["low"]) > 0 and rows[3]["mark"] == ""


def test_every_reported_cell_is_shown_without_any_record(planted: Planted):
    text, rows = planted.compared()
    assert "0 of 4 cells measured; 0 differ by more than noise." in text
    assert [row["n"] for row in rows] == ["0"] * 4
    assert line(text, "RDED", "kl (native)", "sgd")[3:] == ["1.5 ± 0.1", "—", "—", "—", "0"]
    assert "## Table 5: cifar100, distilled on convnet\n\nIPC 10, network convnet.\n" in text
    assert "## Table 5: tiny-imagenet, distilled on convnet\n\nIPC 10, network convnet, optimizer adamw.\n" in text


def test_one_seed_has_a_difference_without_interval_or_mark(planted: Planted):
    planted.plant(60.0)
    text, rows = planted.compared()
    assert line(text, "RDED", "kl (native)", "adamw")[4:] == ["60.0", "+12.5", "59.5", "1"]
    assert (rows[1]["low"], rows[1]["high"], rows[1]["mark"]) == ("", "", "")


def test_another_protocol_is_compared_and_named_under_the_table(planted: Planted):
    planted.plant(40.0, 41.0, protocol="quick")
    text, rows = planted.compared()
    assert line(text, "RDED", "kl (native)", "adamw")[-1] == "2 (a)"
    assert "- (a) ours: protocol quick, not the paper's: epochs 100 instead of 1000.\n" in text
    assert rows[1]["deviations"] == "epochs 100 instead of 1000"


def test_diverged_seeds_and_further_settings_are_said(planted: Planted):
    planted.plant(40.0, 41.0, status="diverged")
    planted.plant(40.0, 41.0, protocol="quick", order=1)
    text, rows = planted.compared()
    assert line(text, "RDED", "kl (native)", "adamw")[-1] == "2 (a, b)"
    assert "- (a) the loss became non-finite in 2 of 2 seeds, which count as they are.\n" in text
    assert (
        "- (b) other settings of this board that fit this cell too: 1; shown: convnet3, set dddddddd, protocol paper.\n" in text
    )
    assert (rows[1]["diverged"], rows[1]["other_settings"]) == ("2", "1")


def test_notes_say_how_to_read_it_and_what_the_source_leaves_open(planted: Planted):
    planted.plant(48.0, 48.4)
    text, _ = planted.compared()
    assert "best of four test evaluations" in text and "ddof 0" in text and "Welch's 95 % interval" in text
    assert "The paper states no settings for SGD; ours are this project's defaults" in text
    assert "RDED, cifar100, IPC 10, kl (native): the paper has 47.5 in Table 5 and 48.0 in Table 7." in text
    assert "Our teachers, accuracy on the test split: cifar100: convnet3, 60.94 % (61.27 in the paper)." in text
    assert "cosine" not in text


def test_the_same_records_give_the_same_bytes_and_untouched_files(planted: Planted):
    planted.plant(48.0, 48.4, 49.0)
    _, paths = compare(planted.folder)
    first = [(path.read_bytes(), path.stat().st_mtime_ns) for path in paths]
    compare(planted.folder)
    assert [(path.read_bytes(), path.stat().st_mtime_ns) for path in paths] == first
    for path in paths:
        path.unlink()
    compare(planted.folder)
    assert [path.read_bytes() for path in paths] == [content for content, _ in first]


def test_labels_cannot_break_a_table(planted: Planted):
    (planted.folder / "numbers.csv").write_text(NUMBERS.replace("RDED", "a|b *c*"), "utf-8")
    text, _ = planted.compared()
    assert text.startswith("# Mine \\| ours: reported and measured\n")
    assert "| a\\|b \\*c\\* " in text


# -- which numbers -------------------------------------------------------------------------------------------------------


def test_a_file_on_the_command_line_takes_the_place_of_the_boards(planted: Planted, tmp_path: Path):
    other = tmp_path / "other.csv"
    other.write_text(NUMBERS.replace("47.5", "46.5"), "utf-8")
    text, rows = planted.compared(other)
    assert [row["accuracy"] for row in rows] == ["1.5", "46.5", "50.6", "44.0"]
    assert "Reported numbers: other.csv;" in text


def test_a_file_with_tables_of_other_names_is_shown_whole(planted: Planted, tmp_path: Path):
    other = tmp_path / "other.csv"
    other.write_text(NUMBERS.replace("\n5,", "\nMine,").replace("\n7,", "\nOther,"), "utf-8")
    text, rows = planted.compared(other)
    assert [row["table"] for row in rows] == ["Mine"] * 4 + ["Other"]
    assert "## Mine: cifar100, distilled on convnet\n" in text


def test_a_figure_that_prints_no_numbers_is_one_line(planted: Planted):
    (planted.folder / "board.toml").write_text(BOARD.replace('["5"]', '["figure 2"]'), "utf-8")
    text, paths = compare(planted.folder)
    assert text.endswith("Figure 2 of the paper prints no numbers, so there is nothing to compare with.\n")
    assert text.count("\n") == 1 and paths == []
    assert not (planted.folder / "comparison.md").exists()


@pytest.mark.parametrize(
    ("was", "becomes", "error", "message"),
    [
        ('reported = "numbers.csv"\n', "", BoardError, "names no published numbers; give --reported FILE"),
        ("numbers.csv", "none.csv", DataError, "none.csv: no such file"),
        ('["5"]', '["51"]', DataError, "no table '51'; did you mean '5'?"),
    ],
)
def test_a_board_without_numbers_is_one_clear_line(planted: Planted, was, becomes, error, message):
    (planted.folder / "board.toml").write_text(BOARD.replace(was, becomes), "utf-8")
    with pytest.raises(error) as caught:
        compare(planted.folder)
    assert message in str(caught.value) and "\n" not in str(caught.value)
