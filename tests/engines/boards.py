"""A small board, run by `giftbench` as a user has it, and what its records say."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from harness.boards.records import RecordStore
from tests.conftest import board_text


def board(folder: Path, seeds: int = 6) -> Path:
    """Write the board of so many trials, each a training of its own, and return its folder."""
    folder.mkdir(parents=True)
    scenarios = [{"name": "loss-comparison", "losses": ["ce"]}]
    (folder / "board.toml").write_text(board_text(teacher=None, losses=["ce"], seeds=seeds, scenarios=scenarios))
    return folder


def run(folder: Path, *words: str, seconds: float = 600, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run `giftbench run` on a board to its end, one trial at a time."""
    command = [sys.executable, "-P", "-m", "harness.cli", "run", str(folder), "--stack", "1", "--device", "cpu", *words]
    given = {**os.environ, "OMP_NUM_THREADS": "1", **environment}
    return subprocess.run(command, capture_output=True, text=True, timeout=seconds, check=False, env=given)


def accuracies(folder: Path) -> dict[str, float]:
    """Return the accuracy of each trial that is done, by its id."""
    return {r.id: r.metrics["accuracy"] for r in RecordStore(folder / "records").read() if r.status == "done"}
