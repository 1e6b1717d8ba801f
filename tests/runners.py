"""Boards whose trials take a moment and write down when they begin and end, and runners of them as processes of their own."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path

from tests.conftest import board_text

#: A trial appends a line when it begins, and one when it ends; its accuracy follows from its seed.
PLUGIN = """
import os, sys, time
from pathlib import Path
from harness import Outcome, Scenario, scenarios

LOG = Path(__file__).with_name("log")

def told(word, trial):
    descriptor = os.open(LOG, os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o666)
    os.write(descriptor, f"{word} {trial.id}\\n".encode())
    os.close(descriptor)

@scenarios.register("logged")
class Logged(Scenario):
    def trials(self, view, options):
        yield from self.vary(view)

    def run(self, trial, workbench):
        told("begin", trial)
        time.sleep(float(os.environ.get("LOGGED_SECONDS", "0.1")))
        told("end", trial)
        value = 10.0 + trial.seed % 80
        return Outcome({"accuracy": value, "best_accuracy": value, "top5_accuracy": 99.0})
"""
DEADLINE = 300.0


def logged_board(folder: Path, seeds: int, **changes: object) -> Path:
    """Write a board of this many logged trials, and return its folder."""
    folder.mkdir(parents=True)
    (folder / "plugin.py").write_text(PLUGIN)
    text = board_text(losses=["ce"], seeds=seeds, plugins=["plugin.py"], scenarios=["logged"], **changes)
    (folder / "board.toml").write_text(text)
    return folder


def started(command: str, board: Path, *words: object, **environment: str) -> subprocess.Popen[str]:
    """Start `giftbench COMMAND BOARD`, the leader of a process group of its own; what it says is kept for `communicate`.

    It works in the board's folder, whose plugins may run.
    """
    line = [sys.executable, "-m", "harness.cli", command, str(board), *map(str, words)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(line, start_new_session=True, cwd=board, env={**os.environ, **environment}, **pipes)  # type: ignore[call-overload]


def lines(board: Path, word: str) -> Counter[str]:
    """Return how often each trial began, or ended, by its id."""
    log = board / "log"
    told = log.read_text().splitlines() if log.exists() else []
    return Counter(line.split()[1] for line in told if line.startswith(word))


def recorded(board: Path) -> set[str]:
    """Return the ids of a board's records."""
    return {path.stem for path in (board / "records").glob("*.json")}


def tables(board: Path) -> Mapping[str, bytes]:
    """Return the leaderboard's files, by name."""
    return {name: (board / name).read_bytes() for name in ("README.md", "table.csv")}


def until(condition: Callable[[], object], seconds: float = DEADLINE) -> bool:
    """Wait until a condition holds; return whether it does."""
    deadline = time.monotonic() + seconds
    while not (held := condition()) and time.monotonic() < deadline:
        time.sleep(0.01)
    return bool(held)


def processes_of(group: int) -> dict[int, str]:
    """Return the command line of every process of a group, by its number; those that have ended and are not awaited apart."""
    members = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                state, _, number = (entry / "stat").read_text().rpartition(")")[2].split()[:3]
                if int(number) == group and state != "Z":
                    members[int(entry.name)] = (entry / "cmdline").read_text().replace("\0", " ")
            except OSError:
                continue
    return members


def fork_server(group: int) -> int | None:
    """Return the process that a runner's workers are forked from: of those with its command line the one that began first."""
    servers = [number for number, command in processes_of(group).items() if "forkserver" in command and number != group]
    return min(servers, default=None)


def workers(group: int) -> list[int]:
    """Return a runner's workers: forked from the runner, whose command line they have, or from a server of its own."""
    server, commands = fork_server(group), processes_of(group)
    forked = [number for number, command in commands.items() if "forkserver" in command or command == commands.get(group)]
    return sorted(number for number in forked if number not in (group, server))
