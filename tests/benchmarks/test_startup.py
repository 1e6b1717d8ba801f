"""`startup.py`: what it counts, and that its boards are run."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from tests.benchmarks import startup

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes that nobody waits for are counted by Linux alone")
#: Starts a process that outlives it and computes for a while.
LEAVES = "import subprocess, sys; subprocess.Popen([sys.executable, '-S', '-c', 'for i in range(10**7): pass'])"


def test_what_a_command_leaves_behind_counts(tmp_path: Path) -> None:
    left, waited = startup.cost([sys.executable, "-S", "-c", LEAVES], tmp_path), startup.cost(["true"], tmp_path)
    assert left.cpu > 5 * max(waited.cpu, 0.01)


def test_the_table_sets_both_versions_and_both_calls_beside_each_other(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    calls: list[str] = []

    def cost(command: list[str], home: Path) -> startup.Cost:
        calls.append(command[0])
        return startup.Cost(2.0 * len(calls), 1.0)

    monkeypatch.setattr(startup, "cost", cost)
    monkeypatch.setattr(startup, "first_step", lambda folder, rounds: [startup.Cost(5.0, 4.0)] * rounds)
    monkeypatch.setattr(
        startup, "done_board", lambda *_: [startup.Cost(8.0, 7.0), startup.Cost(0.5, 0.4), startup.Cost(0.7, 0.6)]
    )
    cells = startup.rows(tmp_path, "other", 2, [(300, 1)])
    assert calls == [startup.GIFTBENCH, "other"] * 2
    assert [row[1:] for row in cells] == [
        ["4.00", "1.00", "0.62"],  # 2 / 4 and 6 / 8
        ["6.00", "1.00", ""],
        ["5.00", "4.00", ""],
        ["8.00", "7.00", ""],
        ["0.60", "0.50", ""],
    ]


@pytest.mark.skipif(not os.environ.get("GIFTBENCH_LARGE"), reason="a whole run: GIFTBENCH_LARGE=1, as `tox run -e large`")
def test_what_comes_before_the_first_step_is_counted_and_what_follows_is_not(tmp_path: Path) -> None:
    whole = startup.cost([sys.executable, "-c", "import torch"], tmp_path)
    (first,) = startup.first_step(tmp_path, 1)
    assert first.cpu > whole.cpu
    records = [path.stat().st_mtime for path in (tmp_path / "first-0" / "records").glob("*.json")]
    assert (tmp_path / "first-0" / "first").stat().st_mtime < min(records)
