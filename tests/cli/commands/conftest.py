"""What the tests of commands share: a tiny board on disk, and a small set."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from harness import DistilledSet
from tests.conftest import board_text

BOARD = board_text(title="Tiny", teacher=None, losses=["ce"], scenarios=["loss-comparison"])


@pytest.fixture
def board(tmp_path: Path) -> Path:
    (tmp_path / "board.toml").write_text(BOARD)
    return tmp_path / "board.toml"


@pytest.fixture
def small_set(tmp_path: Path) -> Path:
    pixels = torch.full((2, 1, 4, 4), 9, dtype=torch.uint8)
    return DistilledSet(pixels, torch.arange(2), dataset="digits", method="mine").save(tmp_path / "set.safetensors")
