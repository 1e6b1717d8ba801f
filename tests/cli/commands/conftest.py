"""What the tests of commands share: the command line in this process, a tiny board on disk, and a small set."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from harness import DistilledSet
from harness.cli.main import main

Giftbench = Callable[..., str]

BOARD = """
title = "Tiny"
dataset = "digits"
model = "convnet1(width=8)"
protocol = "smoke"
losses = ["ce"]
seeds = 1
sets = [{ method = "random", ipc = 1 }]
scenarios = ["loss-comparison"]
"""


@pytest.fixture
def giftbench(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Giftbench:
    """Return a runner of the command line: words in; out comes what it prints, or its error where a status is expected."""

    def run(*words: object, status: int = 0) -> str:
        monkeypatch.setattr(sys, "argv", ["giftbench", *map(str, words)])
        capsys.readouterr()
        try:
            main()
            code = 0
        except SystemExit as ended:
            code = int(ended.code or 0)
        said = capsys.readouterr()
        assert code == status, said
        return said.err if status else said.out

    return run


@pytest.fixture
def board(tmp_path: Path) -> Path:
    (tmp_path / "board.toml").write_text(BOARD)
    return tmp_path / "board.toml"


@pytest.fixture
def small_set(tmp_path: Path) -> Path:
    pixels = torch.full((2, 1, 4, 4), 9, dtype=torch.uint8)
    return DistilledSet(pixels, torch.arange(2), dataset="digits", method="mine").save(tmp_path / "set.safetensors")
