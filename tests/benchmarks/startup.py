"""What a board costs beside training, and against another version: CPU and wall seconds of whole `giftbench run` commands.

`python -m tests.benchmarks.startup --against OTHER/bin/giftbench` runs a new board of 12 smoke trials by both commands in turn,
each time from an empty cache, then the command of this environment on boards of 300 and of 10,000 trials that all have a
record: for the first time, when it plans and renders, and again. CPU seconds are those of all processes that a command has
started, the ones too that it has not waited for. Linux only.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from tabulate import tabulate

from tests.benchmarks.ratios import machine
from tests.large_boards import fill, large_board, planned

GIFTBENCH = str(Path(sys.executable).parent / "giftbench")
#: The number of `PR_SET_CHILD_SUBREAPER`: what a descendant leaves behind becomes this process's to wait for.
SUBREAPER = 36
NEW = """
dataset = "digits"
model = "convnet3(width=16)"
teacher = { model = "convnet3(width=16)", epochs = 1 }
protocol = "smoke"
losses = ["gift", "kl", "ce"]
seeds = 2

[[sets]]
method = "random"
ipc = [1, 10]

[[scenarios]]
name = "loss-comparison"
"""


#: A plugin that has a worker write down, before its first step, the CPU seconds that all processes of its session have taken.
FIRST = """
import multiprocessing, os
from pathlib import Path
from torch.optim.optimizer import register_optimizer_step_pre_hook

FILE = Path(__file__).with_name("first")

def seconds():
    ticks = 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[3]) == os.getsid(0):
            ticks += sum(map(int, fields[11:15]))
    return ticks / os.sysconf("SC_CLK_TCK")

def note(*_):
    if multiprocessing.parent_process() and not FILE.exists():
        FILE.write_text(str(seconds()))

register_optimizer_step_pre_hook(note)
"""


@dataclass(frozen=True)
class Cost:
    """CPU seconds of a command's processes, all of them, and wall seconds until the last has ended."""

    cpu: float
    wall: float


def cost(command: Sequence[str], home: Path) -> Cost:
    """Run a command whose caches lie in `home`, from the folder that holds it: nothing there is taken for a version's own code.

    Raises: CalledProcessError for an exit status beside 0 and 1.
    """
    ctypes.CDLL(None).prctl(SUBREAPER, 1, 0, 0, 0)
    before, started = _children(), time.perf_counter()
    environment = {**os.environ, "GIFTBENCH_HOME": str(home)}
    done = subprocess.run(command, capture_output=True, check=False, env=environment, cwd=home.parent)
    while True:
        try:
            os.wait()
        except ChildProcessError:
            break
    spent = Cost(_children() - before, time.perf_counter() - started)
    if done.returncode > 1:  # 1: some of the planted records are of failed trials
        raise subprocess.CalledProcessError(done.returncode, command, done.stdout, done.stderr)
    return spent


def _children() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def new_board(folder: Path, commands: Sequence[str], rounds: int) -> list[list[Cost]]:
    """Return what each command costs on a new board, round by round."""
    costs: list[list[Cost]] = [[] for _ in commands]
    for number in range(rounds):
        for place, command in enumerate(commands):
            board = folder / f"new-{number}-{place}"
            board.mkdir()
            (board / "board.toml").write_text(NEW, "utf-8")
            costs[place].append(cost([command, "run", str(board)], board / "home"))
            shutil.rmtree(board)
    return costs


def first_step(folder: Path, rounds: int) -> list[Cost]:
    """Return what a new board costs until its first step, round by round: libraries are loaded, its sets and teacher made."""
    costs = []
    for number in range(rounds):
        board = folder / f"first-{number}"
        board.mkdir()
        (board / "first.py").write_text(FIRST, "utf-8")
        (board / "board.toml").write_text('plugins = ["first.py"]\n' + NEW, "utf-8")
        environment = {**os.environ, "GIFTBENCH_HOME": str(board / "home")}
        command = [GIFTBENCH, "run", str(board), "--allow-plugins"]
        started = time.time()
        subprocess.run(command, capture_output=True, check=True, env=environment, cwd=folder, start_new_session=True)
        told = board / "first"
        costs.append(Cost(float(told.read_text()), told.stat().st_mtime - started))
    return costs


def done_board(folder: Path, trials: int, seeds: int) -> list[Cost]:
    """Return what the command of this environment costs on a board whose trials all have a record, call by call."""
    file = large_board(folder / f"done-{trials}", trials, seeds)
    fill(file, planned(file))
    return [cost([GIFTBENCH, "run", str(file.parent)], folder / "home") for _ in range(3)]


def rows(folder: Path, against: str | None, rounds: int, sizes: Sequence[tuple[int, int]]) -> list[list[str]]:
    """Return the cells of the table: what, CPU seconds, wall seconds, and the ratio of CPU seconds where there is one."""
    commands = [GIFTBENCH, *([against] if against else [])]
    costs = new_board(folder, commands, rounds)
    cells = [_cells("a new board of 12 smoke trials", costs[0])]
    if against:
        ratio = median(ours.cpu / other.cpu for ours, other in zip(*costs, strict=True))
        cells[0][-1] = f"{ratio:.2f}"
        cells.append(_cells("the same, by the other version", costs[1]))
    cells.append(_cells("a new board of 12 smoke trials, until its first step", first_step(folder, rounds)))
    for trials, seeds in sizes:
        first, *again = done_board(folder, trials, seeds)
        cells.append(_cells(f"{trials:,} trials have a record: planned and rendered", [first]))
        cells.append(_cells(f"{trials:,} trials have a record: again", again))
    return cells


def _cells(what: str, costs: Sequence[Cost]) -> list[str]:
    return [what, f"{median(c.cpu for c in costs):.2f}", f"{median(c.wall for c in costs):.2f}", ""]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--against", metavar="GIFTBENCH", help="the command of another version")
    parser.add_argument("--rounds", type=int, default=4)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        cells = rows(Path(folder), chosen.against, chosen.rounds, ((300, 1), (10_000, 5)))
    head = ("`giftbench run` on", "CPU seconds", "wall seconds", "ratio of CPU seconds")
    print(tabulate(cells, head, "pipe", colalign=("left", "right", "right", "right"), disable_numparse=True))
    print(f"\nMedians of {chosen.rounds} rounds taken in turn. Measured on {machine()}.")


if __name__ == "__main__":
    main()
