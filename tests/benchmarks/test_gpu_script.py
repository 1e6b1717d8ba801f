"""The GPU's script at toy sizes on the CPU, so that it is ready when there is a GPU."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
def test_every_part_runs(tmp_path: Path) -> None:
    script = Path(__file__).with_name("gpu.py")
    command = [sys.executable, str(script), "--out", str(tmp_path), "--device", "cpu", "--tiny"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    parts = json.loads((tmp_path / "report.json").read_text())["parts"]
    assert list(parts) == [
        "Against the CPU",
        "Together and alone",
        "Tests",
        "Three seeds",
        "Near the bare step",
        "Stacks",
        "Evaluation",
        "Board",
    ]
    assert all(row["found"] <= 1e-6 for row in (*parts["Against the CPU"], *parts["Together and alone"]))
    assert parts["Board"][0]["records"] == len([*(tmp_path / "boards").rglob("records/*.json")]) > 0
    assert (tmp_path / "report.md").read_text().count("## ") == len(parts)
