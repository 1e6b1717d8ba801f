"""A long run: memory, file handles and the time of a trial stay what they are. GIFTBENCH_SOAK says how many trials."""

from __future__ import annotations

import os
import time
from pathlib import Path
from statistics import fmean, median
from typing import NamedTuple

import pytest

from harness.boards.records import RecordStore
from tests.conftest import board_text
from tests.runners import recorded, started, workers

TRIALS = int(os.environ.get("GIFTBENCH_SOAK") or 60)
MIB = 2**20


class Sample(NamedTuple):
    """What a process has, when this many trials were recorded."""

    trials: int
    memory: int
    handles: int


def sample(number: int, trials: int) -> Sample | None:
    """Return what a process has; None where it has ended."""
    try:
        pages = int(Path(f"/proc/{number}/statm").read_text().split()[1])
        return Sample(trials, pages * os.sysconf("SC_PAGE_SIZE"), len([*Path(f"/proc/{number}/fd").iterdir()]))
    except OSError:
        return None


def growth(samples: list[Sample]) -> tuple[float, float]:
    """Return by how many bytes and handles a process grows from the second third of its samples to the last."""
    third = len(samples) // 3
    middle, last = samples[third : 2 * third], samples[2 * third :]
    return fmean(s.memory for s in last) - fmean(s.memory for s in middle), median(s.handles for s in last) - median(
        s.handles for s in middle
    )


def test_a_long_run_takes_no_more_memory_and_handles_and_its_trials_no_more_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GIFTBENCH_HOME", str(tmp_path / "home"))
    scenario = {"name": "cross-optimizer", "optimizers": ["sgd"]}
    (tmp_path / "board.toml").write_text(board_text(losses=["ce"], seeds=TRIALS, scenarios=[scenario]))
    run = started("run", tmp_path, "--jobs", 2, "--device", "cpu", "--stack", 1)
    taken: dict[int, list[Sample]] = {}
    while run.poll() is None:
        trials = len(recorded(tmp_path))
        if 0 < trials < TRIALS:
            for number in (run.pid, *workers(run.pid)):
                now = sample(number, trials)
                if now is not None and (not taken.get(number) or taken[number][-1].trials < trials):
                    taken.setdefault(number, []).append(now)
        time.sleep(0.05 if TRIALS < 1000 else 0.5)
    said = run.communicate()
    assert run.returncode == 0, said
    records = sorted(RecordStore(tmp_path / "records").read(), key=lambda record: record.created)
    assert (len(records), {record.status for record in records} <= {"done", "diverged"}) == (TRIALS, True)
    long = {number: samples for number, samples in taken.items() if len(samples) >= 6}
    assert run.pid in long
    assert len(long) == 3, "the driver and two workers"
    seconds = [record.timing["total"] for record in records]
    third = TRIALS // 3
    middle, last = median(seconds[third : 2 * third]), median(seconds[2 * third :])
    with capsys.disabled():
        for number, samples in long.items():
            memory, handles = growth(samples)
            name = "driver" if number == run.pid else "worker"
            print(f"\n{name}: {samples[-1].memory / MIB:.0f} MiB, {memory / MIB:+.2f}; {samples[-1].handles} files, {handles:+g}")
        print(f"a trial: {1000 * middle:.1f} ms in the second third of {TRIALS} trials, {1000 * last:.1f} ms in the last")
    for samples in long.values():
        memory, handles = growth(samples)
        assert memory < 8 * MIB
        assert handles <= 1
    assert last < 1.5 * middle
