"""The GPU's script at toy sizes on the CPU, so that it is ready when there is a GPU."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest


def test_the_documents_figures_of_a_gpu_are_those_of_the_reports() -> None:
    here = Path(__file__)
    readme = here.with_name("README.md").read_text(encoding="utf-8")
    block = readme.partition("<!-- giftbench-gpu -->\n")[2].partition("<!-- /giftbench-gpu -->")[0]
    found = "\n".join(path.read_text(encoding="utf-8") for path in sorted((here.parent / "reports").rglob("*.md"))).splitlines()
    rows = [line for line in block.splitlines() if line]
    assert len(rows) > 10
    assert set(rows) <= set(found)


#: All parts; that of the tests is one of pytest's own, which goes through the whole suite to find those that need a GPU.
PARTS = [
    "Against the CPU",
    "Together and alone",
    *(["Tests"] if os.environ.get("GIFTBENCH_LARGE") else []),
    "Three seeds",
    "Near the bare step",
    "Stacks",
    "Evaluation",
    "Class-incremental",
    "Compiling",
    "Board",
]


@pytest.mark.slow
def test_every_part_runs(tmp_path: Path) -> None:
    script = Path(__file__).with_name("gpu.py")
    asked = [word for part in PARTS for word in ("--part", part)]
    command = [sys.executable, str(script), "--out", str(tmp_path), "--device", "cpu", "--tiny", *asked]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    parts = json.loads((tmp_path / "report.json").read_text())["parts"]
    assert list(parts) == PARTS
    assert all(row["found"] <= 1e-6 for row in (*parts["Against the CPU"], *parts["Together and alone"]))
    assert not any("error" in row or "skipped" in row for rows in parts.values() for row in rows)
    assert parts["Board"][0]["records"] == len([*(tmp_path / "boards").rglob("records/*.json")]) > 0
    assert (tmp_path / "report.md").read_text().count("## ") == len(parts)
