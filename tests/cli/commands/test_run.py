"""`giftbench run`: the missing trials, then the leaderboard; `--retry` is named where trials failed."""

from __future__ import annotations

import json
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


def test_trials_whose_records_a_newer_giftbench_made_are_not_repeated(giftbench: Giftbench, board: Path) -> None:
    giftbench("run", board, "--device", "cpu", "--jobs", 1)
    (path,) = (board.parent / "records").glob("*.json")
    known = path.read_bytes()
    newer = json.dumps(json.loads(known) | {"schema": "giftbench.record/2", "verdict": "fine"}).encode()
    other = path.with_name(f"{'a' * 20}.json")
    other.write_bytes(newer)
    said = giftbench("run", board, "--device", "cpu", "--jobs", 1).err  # none of this run's trials is among them
    assert said.count("1 record made by a newer giftbench (giftbench.record/2; ") == 1
    assert "Not shown: 1 record made by a newer giftbench." in (board.parent / "README.md").read_text("utf-8")
    path.write_bytes(newer)
    for words in ([], ["--rerun"]):
        error = giftbench("run", board, "--device", "cpu", "--jobs", 1, *words, status=2).err
        assert error.splitlines()[-1].startswith(f"giftbench: {path.parent}: 2 records made by a newer giftbench")
        assert "; 1 of them are trials of this run, which does not repeat them: update giftbench, or move" in error
        assert error.count("newer giftbench (") == 1
    assert path.read_bytes() == other.read_bytes() == newer
    assert not (path.parent / "broken").exists()
