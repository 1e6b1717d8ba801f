"""Records of plugins as they no longer are stand in no leaderboard and no comparison, and that is said."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.boards.setup import Setup
from harness.leaderboard.comparison import compare
from harness.leaderboard.today import none_is, of_today
from tests.leaderboard.test_comparison import Planted, line


@pytest.fixture
def planted(tmp_path: Path) -> Planted:
    planted = Planted(tmp_path)
    planted.plant(48.0, 48.4, 48.8)
    planted.plant(10.0, 11.0, loss="gift")
    return planted


def earlier(setup: Setup, _: object) -> tuple[str, ...]:
    """As if the file that brings `gift` had been edited."""
    return ("my_<loss>.py (01234567)",) if setup.loss.name == "gift" else ()


def test_records_of_an_earlier_plugin_are_counted_and_their_plugin_is_named(planted: Planted) -> None:
    from harness.boards.board import load_board
    from harness.boards.records import RecordStore

    contents, board = RecordStore(planted.folder / "records").contents(), load_board(planted.folder)
    assert of_today(contents, board, none_is) == (contents.records, "")
    shown, note = of_today(contents, board, earlier)
    assert {record.trial.loss.name for record in shown} == {"kl"}
    assert note == " Not shown: 2 records made by an earlier my\\_\\<loss>.py (01234567)."


def test_a_comparison_leaves_them_out_too(planted: Planted) -> None:
    measured = line(compare(planted.folder).text, "RDED", "gift", "adamw")[4]
    text = compare(planted.folder, outdated=earlier).text
    assert measured.startswith("10.5")
    assert not line(text, "RDED", "gift", "adamw")[4].startswith("10.5")
    assert "48.4" in text
    assert "`. Not shown: 2 records made by an earlier" in text
