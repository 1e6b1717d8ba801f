"""`giftbench status` and `run --watch`: counts, who is on what and since when, what failed; no torch where the plan is noted."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from harness.boards.records import Record, RecordStore
from harness.core import plugins
from harness.files.claims import Claims
from harness.running import status
from harness.running.options import Options
from harness.running.overrides import Overrides
from harness.running.run import run_board
from tests import processes
from tests.conftest import Giftbench, board_text
from tests.large_boards import fill, planned


@pytest.fixture
def board(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A board of four trials that a run has planned: one failed, one done, two without a record."""
    monkeypatch.setattr(sys.modules["__main__"], "__file__", pytest.__file__, raising=False)  # no notebook, nor xdist's worker
    monkeypatch.setattr(plugins, "failures", {})
    file = tmp_path / "board.toml"
    file.write_text(board_text(losses=["ce"], seeds=4, scenarios=[{"name": "cross-optimizer", "optimizers": ["sgd"]}]))
    trials, store = planned(file), RecordStore(tmp_path / "records")
    fill(file, trials)
    run_board(file, Overrides(), Options(device="auto", jobs=1))
    store.write(Record.of(trials[0], "failed", error="out of luck"))
    store.write(Record.of(trials[1], "done"))
    for trial in trials[2:]:
        (store.folder / f"{trial.id}.json").unlink()
    return file


def test_a_board_says_what_is_done_running_where_left_and_failed(giftbench: Giftbench, board: Path) -> None:
    *_, last = planned(board)
    with Claims(board.parent / "claims") as claims:
        assert claims.take([last.id])
        holder = claims.holders()[last.id]
        assert giftbench("status", board).out.splitlines() == [
            "4 trials: 1 done, 1 running, 1 left, 1 failed",
            f"running: 1 by process {holder.pid} on {holder.host}, since {holder.since}",
            "failed: random, IPC 1, ce, convnet1(width=8), sgd, seed 0: out of luck",
        ]


def test_a_board_that_nobody_has_planned_says_so(giftbench: Giftbench, board: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIFTBENCH_HOME", str(board.parent / "other home"))
    said = giftbench("status", board).out
    assert said.startswith("1 done, 0 running, 1 failed; how many are left is known once giftbench run has planned the board")


def test_a_board_that_is_watched_says_what_is_left_when_nobody_is_at_work(
    giftbench: Giftbench, board: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(status, "POLL", 0.01)
    said = giftbench("run", board, "--watch", status=1)
    assert "nobody is at work on it, and 2 of 4 trials are left" in said.err


def test_torch_is_not_loaded_where_the_plan_is_noted(board: Path, tmp_path: Path) -> None:
    fill(board, planned(board))
    for _ in range(2):  # the first makes folders beside the script that is run, where Python looks for modules
        processes.giftbench(tmp_path, "run", str(board))
    for path in (tmp_path / "records").glob("*.json"):
        path.unlink()
    modules, done = processes.giftbench(tmp_path, "status", str(board))
    assert done.stdout == "4 trials: 0 done, 0 running, 4 left, 0 failed\n"
    assert not modules & {"torch", "pandas", "matplotlib"}
