"""`giftbench remove`: some of a board's records, set aside."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.boards.records import RecordStore
from tests.conftest import Giftbench
from tests.leaderboard.conftest import Planter


@pytest.fixture
def mine(board: Path) -> Path:
    """The board with the records of two losses and two seeds."""
    planter = Planter()
    planter.cell(80.0, 81.0, loss="gift", scenario="loss-comparison")
    planter.cell(70.0, 71.0, loss="kl", scenario="loss-comparison")
    store = RecordStore(board.parent / "records")
    for record in planter.records:
        store.write(record)
    return board


def test_records_that_are_named_are_moved_beside_and_the_others_rendered(giftbench: Giftbench, mine: Path) -> None:
    folder = mine.parent
    kept = {record.id for record in RecordStore(folder / "records") if record.trial.loss.name == "gift"}
    giftbench("table", mine)
    assert "70.5" in (folder / "README.md").read_text("utf-8")
    assert giftbench("remove", mine, "--loss", "kl").out == f"2 of 4 records moved to {folder / 'removed'}\n"
    assert RecordStore(folder / "records").ids() == kept
    assert len(list((folder / "removed").glob("*.json"))) == 2
    page = (folder / "README.md").read_text("utf-8")
    assert "80.5" in page
    assert "70.5" not in page
    for path in (folder / "removed").glob("*.json"):
        path.rename(folder / "records" / path.name)
    assert len(RecordStore(folder / "records").read()) == 4  # as they were


def test_a_dry_run_moves_nothing(giftbench: Giftbench, mine: Path) -> None:
    said = giftbench("remove", mine, "--loss", "kl", "--seed", "1", "--dry-run").out
    assert said == f"1 of 4 records would be moved to {mine.parent / 'removed'}\n"
    assert len(RecordStore(mine.parent / "records").ids()) == 4
    assert not (mine.parent / "removed").exists()


def test_every_record_is_meant_only_where_that_is_said(giftbench: Giftbench, mine: Path) -> None:
    error = giftbench("remove", mine, status=2).err
    assert f"{mine}: say which records, by --scenario" in error
    assert len(RecordStore(mine.parent / "records").ids()) == 4
    giftbench("remove", mine, "--all")
    assert not RecordStore(mine.parent / "records").ids()


def test_a_name_that_no_record_has_is_a_line(giftbench: Giftbench, mine: Path) -> None:
    error = giftbench("remove", mine, "--loss", "gfit", status=2).err
    assert error == f"giftbench: {mine}: no record here has the loss 'gfit'; did you mean 'gift'?\n"
