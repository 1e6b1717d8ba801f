"""`giftbench show`: some of a board's records and their numbers."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.boards import evidence, seals
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


def test_records_that_fit_are_listed_with_what_they_share_said_once(giftbench: Giftbench, mine: Path) -> None:
    head, _, names, *rows = giftbench("show", mine, "--loss", "KL").out.splitlines()
    assert head.startswith("2 of 4 records, all of scenario loss-comparison")
    assert "loss kl" in head
    assert "evidence claimed" in head
    assert "loss" not in names.split()
    assert [row.split()[1] for row in rows] == ["70.00", "71.00"]
    ids = {record.id for record in RecordStore(mine.parent / "records") if record.trial.loss.name == "kl"}
    assert {row.split()[0] for row in rows} == ids


def test_what_has_been_verified_is_said_of_each(giftbench: Giftbench, mine: Path) -> None:
    path = sorted((mine.parent / "records").glob("*.json"))[0]
    evidence.write(mine.parent, {path.stem: evidence.Verified(record=seals.digest(path), rule="equal to the digit")})
    rows = giftbench("show", mine).out.splitlines()
    assert sum("verified" in row for row in rows) == 1
    assert sum("claimed" in row for row in rows) == 3


def test_one_record_is_shown_with_all_that_is_known_of_it(giftbench: Giftbench, mine: Path) -> None:
    head, _, names, row = giftbench("show", mine, "--loss", "kl", "--seed", "1").out.splitlines()
    assert head == "1 of 4 records"
    assert {"loss", "seed", "accuracy", "status", "evidence"} <= {*names.split()}
    assert "71.00" in row


def test_where_nothing_fits_it_says_what_there_is(giftbench: Giftbench, mine: Path, board: Path) -> None:
    error = giftbench("show", mine, "--loss", "gfit", status=2).err
    assert error == f"giftbench: {mine}: no record here has the loss 'gfit'; did you mean 'gift'?\n"
    planter = Planter()
    planter.cell(90.0, loss="ce", scenario="cross-optimizer")
    RecordStore(mine.parent / "records").write(planter.records[0])
    error = giftbench("show", mine, "--scenario", "cross-optimizer", "--loss", "kl", status=1).err
    assert error == f"giftbench: {mine}: none with the scenario 'cross-optimizer' has the loss 'kl'; valid: ce\n"


def test_a_board_without_records_says_so(giftbench: Giftbench, board: Path) -> None:
    assert giftbench("show", board, status=1).err == f"giftbench: {board}: it has no records yet\n"
