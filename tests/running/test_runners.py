"""Several runners on one board at once, one of which is killed: each trial is trained once, and tables are the same."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from tests.runners import lines, logged_board, recorded, started, tables, until

#: How many runners at once, and trials: more where faults are looked for.
RUNNERS, TRIALS = (4, 60) if os.environ.get("GIFTBENCH_KILLS") else (2, 16)


def test_runners_on_one_board_train_every_trial_once_though_one_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIFTBENCH_HOME", str(tmp_path / "home"))
    board = logged_board(tmp_path / "board", TRIALS)
    runners = [started("run", board, "--jobs", 1, "--device", "cpu", LOGGED_SECONDS="0.5") for _ in range(RUNNERS)]
    first = runners[0]
    assert until(lambda: len({path.name.partition(".")[0] for path in (board / "claims").glob("*.claim")} - {"plan"}) >= RUNNERS)
    os.killpg(first.pid, signal.SIGKILL)
    begun, done = lines(board, "begin"), recorded(board)
    interrupted = set(begun) - done
    assert len(done) < TRIALS - RUNNERS, "the kill came too late to show anything"
    said = [runner.communicate()[1] for runner in runners]
    assert [runner.returncode for runner in runners] == [-9, *[0] * (RUNNERS - 1)], said
    ended, again = lines(board, "end"), {name for name, times in lines(board, "begin").items() if times > 1}
    assert len(recorded(board)) == len(ended) == TRIALS
    assert again <= interrupted
    assert len(again) <= 1, "the killed runner had one worker"
    assert sum(lines(board, "begin").values()) == TRIALS + len(again)
    assert max(ended.values()) == 1 or again
    assert not (board / "claims").exists()
    whole = tables(board)
    for path in (board / "README.md", board / "table.csv"):
        path.unlink()
    alone = started("table", board)
    alone.communicate()
    assert tables(board) == whole
