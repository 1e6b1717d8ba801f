"""Runs that are killed at random moments, by `kill -9` of all of it, of a worker, or of what workers are forked from.

GIFTBENCH_KILLS says how often (`tox run -e faults`); each board that is complete is held against one that nobody killed.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from pathlib import Path

import pytest

from harness.boards.records import RecordStore
from tests.runners import fork_server, lines, logged_board, recorded, started, tables, until, workers

KILLS = int(os.environ.get("GIFTBENCH_KILLS") or 3)
TRIALS, JOBS = 14, 2
VICTIMS = ("worker", "fork server", "group")


class Board:
    """A board that is run, killed and run again until it is complete."""

    def __init__(self, folder: Path) -> None:
        self.folder = logged_board(folder, TRIALS)
        self.run: subprocess.Popen[str] | None = None
        self.kills = 0
        self.spared: set[str] = set()
        self.begun: dict[str, int] = {}

    def go(self) -> subprocess.Popen[str]:
        if self.run is None:
            self.run = started("run", self.folder, "--jobs", JOBS, "--device", "cpu", LOGGED_SECONDS="0.3")
            self.spared = set(VICTIMS)
        return self.run

    def number(self, victim: str) -> int | None:
        """Return the process to kill; there is a fork server once a worker has died, or where there were records."""
        run = self.go()
        return {"worker": next(iter(workers(run.pid)), None), "fork server": fork_server(run.pid), "group": run.pid}[victim]

    def kill(self, victim: str) -> bool:
        """Kill one of the run's processes, or all; return whether it was there. One run loses a worker once at most."""
        run, number = self.go(), self.number(victim)
        if number is None or run.poll() is not None or victim not in self.spared:
            return False
        done = recorded(self.folder)
        begun = lines(self.folder, "begin")
        self.begun = {name: begun[name] for name in done} | self.begun
        self.spared.discard(victim)
        if victim == "group":
            os.killpg(number, signal.SIGKILL)
            run.communicate()
            self.run = None
        else:
            os.kill(number, signal.SIGKILL)
        self.kills += 1
        assert done <= recorded(self.folder), "a record is gone"
        return True

    def ended(self) -> bool:
        """Whether the run came to its end by itself; it must have succeeded."""
        if self.run is None or self.run.poll() is None:
            return False
        said = self.run.communicate()
        assert self.run.returncode == 0, said
        return True

    def check(self, whole: dict[str, bytes]) -> None:
        records = RecordStore(self.folder / "records").read()
        assert (len(records), {record.status for record in records}) == (TRIALS, {"done"})
        assert not list((self.folder / "records").glob("broken/*"))
        assert not (self.folder / "claims").exists()
        begun = lines(self.folder, "begin")
        assert len(begun) == TRIALS
        again = {name for name, times in self.begun.items() if begun[name] > times}
        assert not again, "what had a record was trained again"
        assert tables(self.folder) == whole


@pytest.fixture
def whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    """The leaderboard of a board whose run nobody kills."""
    monkeypatch.setenv("GIFTBENCH_HOME", str(tmp_path / "home"))
    board = Board(tmp_path / "whole" / "board")
    board.go()
    assert until(board.ended)
    return dict(tables(board.folder))


def test_a_run_that_is_killed_again_and_again_ends_complete_with_the_same_table(tmp_path: Path, whole: dict[str, bytes]) -> None:
    draws, kills, boards = random.Random(KILLS), 0, 0
    spared = [*VICTIMS]
    board = Board(tmp_path / "0" / "board")
    while kills < KILLS or spared:
        board.go()
        if KILLS > 3 and draws.random() < 0.3:
            time.sleep(draws.uniform(0, 6))  # while it loads, plans, makes a set or renders
        else:
            target = len(lines(board.folder, "begin")) + draws.randint(1, 3)
            until(lambda board=board, target=target: len(lines(board.folder, "begin")) >= target or board.ended())  # type: ignore[misc]
            time.sleep(draws.uniform(0, 0.3))
        victim = next((victim for victim in spared if board.number(victim) is not None), draws.choice(VICTIMS))
        if board.kill(victim):
            kills += 1
            spared = [other for other in spared if other != victim]
        if board.ended():
            board.check(whole)
            boards += 1
            board = Board(tmp_path / str(boards) / "board")
    board.go()
    assert until(board.ended)
    board.check(whole)
