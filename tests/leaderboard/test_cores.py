"""Work on all cores: the same results as on one, and the same errors."""

from __future__ import annotations

import pickle
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from harness.leaderboard.drawing import METADATA, draw
from tests.leaderboard.looking import figure


def test_figures_drawn_on_several_cores_are_those_drawn_on_one(tmp_path: Path) -> None:
    figures = [replace(figure(3, seed=seed), name=f"figure-{seed}") for seed in range(3)]
    held = tmp_path / "figures.pickle"
    held.write_bytes(pickle.dumps(figures))
    program = f"""
import pickle, sys
from pathlib import Path
from harness.leaderboard import cores, drawing
forks = []
pool = cores.ProcessPoolExecutor
cores.ProcessPoolExecutor = lambda count, *rest: (forks.append(count), pool(count, *rest))[1]
cores.cores = lambda: 2
paths = drawing.draw_all(pickle.loads(Path({str(held)!r}).read_bytes()), Path({str(tmp_path / "many")!r}))
print(forks, [path.name for path in paths], "torch" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    names = [f"figure-{seed}.{kind}" for seed in range(3) for kind in METADATA]
    forked = [2] if sys.platform == "linux" else []
    assert done.stdout.strip() == f"{forked} {names} False"
    for one in figures:
        draw(one, tmp_path / "one")
    assert [(tmp_path / "many" / name).read_bytes() for name in names] == [
        (tmp_path / "one" / name).read_bytes() for name in names
    ]


def test_work_that_raises_on_another_core_raises_here() -> None:
    program = """
from functools import partial
from harness.leaderboard import cores
cores.cores = lambda: 2
try:
    cores.on_cores([partial(int, "1"), partial(int, "one")])
except ValueError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "'one'" in done.stdout


FORKS = pytest.mark.skipif(sys.platform != "linux", reason="forks on Linux alone")


@FORKS
@pytest.mark.parametrize("late", [False, True], ids=["together", "one begins late"])
def test_processes_that_work_take_no_signal_as_the_one_that_they_came_from_does(late: bool) -> None:
    program = f"""
import os, signal, time
from harness.leaderboard import cores
cores.cores = lambda: 2
signal.signal(signal.SIGTERM, print)
signal.signal(signal.SIGINT, print)
here = os.getpid()
forks = []
os.register_at_fork(before=lambda: forks.append(1), after_in_child=lambda: time.sleep({late} and len(forks) == 2))
print(cores.on_cores([lambda: (os.getpid() != here, *map(signal.getsignal, (signal.SIGTERM, signal.SIGINT)))] * 2))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == str([(True, signal.SIG_DFL, signal.SIG_IGN)] * 2)
    assert done.stderr == ""


@FORKS
def test_a_process_that_is_killed_at_work_is_not_waited_for() -> None:
    program = """
import os, signal
from harness.leaderboard import cores
from harness.core.errors import GiftbenchError
cores.cores = lambda: 2
try:
    cores.on_cores([lambda: os.kill(os.getpid(), signal.SIGKILL)] * 2)
except GiftbenchError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.startswith("a process on another core was killed, perhaps for want of memory; ")


@FORKS
def test_processes_end_with_the_one_that_they_came_from() -> None:
    program = """
import os, signal, time
from harness.leaderboard import cores
cores.cores = lambda: 2
cores.on_cores([lambda: (time.sleep(0.5), os.kill(os.getppid(), signal.SIGKILL), time.sleep(600))] * 2)
"""
    # Its output ends when the last process that holds it has ended.
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, timeout=60)
    assert done.returncode == -signal.SIGKILL
