"""Trainings an hour of a whole board: our workers against trainings made one after another with all threads.

    pytest tests/benchmarks/test_board_throughput.py --benchmark-only -p no:xdist

Each side is `giftbench run` of a board of 24 trainings whose teacher and distilled sets lie ready, in a process of its own:
start-up, records and tables are in its time. On two cores, ours is two workers of one thread, the other one of two threads.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from harness import datasets
from harness.boards.records import RecordStore
from harness.core.cores import cores
from tests.benchmarks import limits
from tests.benchmarks.ratios import Row, in_turn
from tests.large_boards import planned

BOARD = """
dataset = "digits"
model = "{model}"
teacher = {{ model = "{teacher}", epochs = 10 }}
protocol = {{ name = "quick", evaluations = 1 }}
losses = ["gift", "kl", "mse", "ce"]
seeds = 3
sets = [{{ method = "random", ipc = [{ipc}, {more}] }}]
scenarios = ["loss-comparison"]
"""
TEACHER = "convnet3(width=32)"
TRAININGS, ROUNDS = 24, 3
#: A small student, and one so small that its trainings are stacked.
STUDENTS = {"convnet3(width=32)": (5, 10), "convnet2(width=8)": (1, 2)}


def prepared(folder: Path, model: str) -> Path:
    """Return a board without records, with all that its trials rest on."""
    board = folder / "board"
    board.mkdir()
    ipc, more = STUDENTS[model]
    (board / "board.toml").write_text(BOARD.format(model=model, teacher=TEACHER, ipc=ipc, more=more))
    run(board, "--seeds", "1", "--loss", "gift", "--protocol", "smoke")
    shutil.rmtree(board / "records")
    return board


def operations(file: Path, model: str) -> float:
    """Return the floating-point operations of a board's trainings and tests."""
    data = datasets.load("digits")
    shape, classes, total = data.shape, len(data.classes), 0.0
    student, teacher = (limits.forward(network, shape, classes) for network in (model, TEACHER))
    for trial in planned(file):
        seen = trial.protocol.epochs * (trial.labels.images or 0)
        total += seen * limits.step(student, teacher) + trial.protocol.evaluations * len(data.test) * student
    return total


def run(board: Path, *how: str) -> None:
    subprocess.run([sys.executable, "-m", "harness.cli", "run", str(board), *how], check=True, capture_output=True)


@pytest.mark.benchmark(group=f"a board of {TRAININGS} trainings")
@pytest.mark.parametrize("model", STUDENTS)
def test_trainings_an_hour(benchmark: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: str) -> None:
    monkeypatch.setenv("GIFTBENCH_HOME", str(tmp_path / "home"))
    board = prepared(tmp_path, model)

    def from_scratch(*how: str) -> Callable[[], None]:
        def whole() -> None:
            copy = shutil.copytree(board, tmp_path / "run" / "board", dirs_exist_ok=True)
            run(copy, *how)
            assert len([*RecordStore(copy / "records")]) == TRAININGS
            shutil.rmtree(copy)

        return whole

    one_after_another = ("--jobs", "1", "--threads", str(cores()), "--stack", "1")
    sides = {"one after another": from_scratch(*one_after_another), "ours": from_scratch()}
    pair = ("ours", "one after another")
    in_turn(benchmark, "", sides, {pair: ""}, ROUNDS, 0, {pair: limits.product(operations(board / "board.toml", model))})
    (seconds,) = benchmark.extra_info.pop("ratios")
    what = f"trainings an hour, {model}: defaults / one after another with {cores()} threads"
    faster = {"ratio": 1 / seconds["ratio"], "lowest": 1 / seconds["highest"], "highest": 1 / seconds["lowest"]}
    benchmark.extra_info.update(asdict(Row(**seconds | faster | {"what": what, "threads": cores(), "target": "≥ 1.25"})))
    ours, other = (round(TRAININGS * 3600 / taken) for taken in seconds["times"])
    benchmark.extra_info["trainings an hour"] = {"ours": ours, "one after another": other}
    print(f"\n{model}: {ours} trainings an hour, {other} one after another; ratio {faster['ratio']:.2f}")
