"""`giftbench run`: the missing trials, then the leaderboard; `--retry` is named where trials failed."""

from __future__ import annotations

from pathlib import Path

from tests.conftest import Giftbench


def test_missing_trials_run_once_and_the_leaderboard_is_printed(giftbench: Giftbench, board: Path) -> None:
    first = giftbench("run", board, "--device", "cpu", "--jobs", 1).out
    assert str(board.parent / "README.md") in first.splitlines()
    (record,) = (board.parent / "records").glob("*.json")
    content = record.read_bytes()
    giftbench("run", board, "--device", "cpu", "--jobs", 1)
    assert record.read_bytes() == content
    giftbench("run", board, "--device", "cpu", "--jobs", 1, "--seeds", 2)
    assert len(list((board.parent / "records").glob("*.json"))) == 2
