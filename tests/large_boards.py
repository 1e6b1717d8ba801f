"""Boards of thousands of trials on digits, and records for them that nobody trained: for tests and benchmarks.

A set gives 50 trials a seed, over five scenarios, ten losses, and several optimizers, students and gammas, much as the board of
Fashion-MNIST does. A board grows by its sets, as those of many methods do: `large_board(folder, 10_000)` has 40 sets, 2,000
cells and three figures.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from harness.boards.records import Record, RecordStore
from harness.boards.trial import Trial
from harness.planning.artefacts import Artefacts
from harness.running.opening import open_board
from harness.running.options import Options, Silent
from harness.running.parts import Parts

#: Trials of one set and one seed.
EACH = 50
BOARD = """
dataset = "digits"
model = "convnet1(width=8)"
teacher = {{ model = "convnet1(width=8)", epochs = 1 }}
protocol = "smoke"
losses = ["gift", "kl", "kl(rescale)", "mse", "soft_ce", "ce"]
seeds = {seeds}

[[scenarios]]
name = "cross-optimizer"

[[scenarios]]
name = "cross-architecture"
models = ["convnet2(width=8)", "convnet3(width=8)"]

[[scenarios]]
name = "loss-comparison"
losses = ["gift", "cosine", "kl", "kl(rescale)", "mse", "soft_ce", "ce", "kl_ce", "mse_ce", "kd"]

[[scenarios]]
name = "gamma-sweep"

[[scenarios]]
name = "class-incremental"
losses = ["gift", "kl"]
steps = 5
"""
SETS = """
[[sets]]
method = "random"
title = "Method {number}"
seed = {number}
ipc = [1, 2]
native = "kl"
"""
ENVIRONMENT: dict[str, Any] = {
    "commit": "0123456789ab",
    "device": "CPU Test",
    "precision": "float32",
    "threads": 1,
    "versions": {"Python": "3.11", "giftbench": "0.1.0", "kornia": "0.8.0", "timm": "1.0.0", "torch": "2.9.0"},
}


def large_board(folder: Path, trials: int, seeds: int = 5) -> Path:
    """Write the file of a board of so many trials, and return it. `trials` must be a multiple of 100 times `seeds`."""
    methods, rest = divmod(trials, 2 * EACH * seeds)
    if rest or not methods:
        raise ValueError(f"{trials} trials: not a multiple of {2 * EACH * seeds}, which is two sets of {seeds} seeds")
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "board.toml"
    file.write_text(BOARD.format(seeds=seeds) + "".join(SETS.format(number=number) for number in range(methods)), "utf-8")
    return file


def parts_of(file: Path) -> Parts:
    """Return a board's parts as `giftbench run` has them before it plans."""
    board = open_board(file)[1]
    return Parts(board, file, Artefacts(file.parent / "artefacts"), Options(device="cpu"), Silent())


def planned(file: Path) -> list[Trial]:
    """Return a board's trials, as `giftbench run` plans them; sets and teacher are made first."""
    parts = parts_of(file)
    parts.rehearse()
    return parts.plan()


def records_for(trials: Iterable[Trial]) -> Iterator[Record]:
    """Yield a record for every trial, its figures drawn from the trial's id; one in fifty diverged, one in a hundred failed."""
    for trial in trials:
        draw = random.Random(trial.id)
        environment = dict(ENVIRONMENT)
        if draw.random() < 0.01:
            yield Record.of(trial, "failed", error="OSError: planted", timing={"total": 0.5}, environment=environment)
            continue
        steps = int(trial.options.get("steps", 0))  # of a stream of ten classes
        places = [{"step": float(i), "classes": 10.0 * i / steps} for i in range(1, steps + 1)] or [{"epoch": 2.0}]
        history = [place | {"accuracy": draw.uniform(10, 99), "top5_accuracy": 99.5} for place in places]
        metrics = {"accuracy": history[-1]["accuracy"], "top5_accuracy": 99.5, "steps": 8.0}
        own = {"average_incremental": draw.uniform(10, 99), "forgetting": draw.uniform(0, 20)}
        metrics |= own if steps else {"best_accuracy": 99.0, "epochs": 2.0}
        yield Record.of(
            trial,
            "diverged" if draw.random() < 0.02 else "done",
            metrics=metrics,
            history=history,
            timing={"total": draw.uniform(1, 9), "train": 1.0, "evaluate": 0.25},
            environment=environment,
        )


@contextmanager
def without_fsync() -> Iterator[None]:
    """Let writes return before the disk has them: what a test plants need not outlive a power cut."""
    kept, os.fsync = os.fsync, lambda number: None
    try:
        yield
    finally:
        os.fsync = kept


def fill(file: Path, trials: Iterable[Trial]) -> RecordStore:
    """Write a record of every trial beside the board, and return the store."""
    store = RecordStore(file.parent / "records")
    with without_fsync():
        for record in records_for(trials):
            store.write(record)
    return store
