"""`scale.py`: a large board's trial is claimed, recorded and let go of with no more work than a small one's; work is counted."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.boards.records import RecordStore
from tests.benchmarks import scale
from tests.running.test_growth import Calls


class Counting(scale.Timed):
    """Counts what is called from when the first bundle may be taken."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = Calls()

    def scheduled(self, estimate: scale.Estimate) -> None:
        super().scheduled(estimate)
        self.estimate = None  # type: ignore[assignment]  # which is asked by the clock
        self.calls.__enter__()


def counted(folder: Path, trials: int) -> int:
    reporter = Counting()
    try:
        scale.run(folder, trials, seeds=1, reporter=reporter)
    finally:
        reporter.calls.__exit__()
    assert len(RecordStore(folder / "records").ids()) == trials
    assert not (folder / "claims").exists()
    return reporter.calls.total()


def test_a_trial_of_a_large_board_is_driven_with_no_more_work(tmp_path: Path) -> None:
    small, middle, large = (counted(tmp_path / str(trials), trials) for trials in (200, 400, 600))
    assert large - middle == pytest.approx(middle - small, rel=0.03)


def test_what_is_measured_is_extrapolated_along_a_line_and_looks_take_their_share_at_most() -> None:
    small = scale.Measured(10_000, 2.0, 20.0, 500.0, 0.04, 10.0, 24, 1000)
    large = scale.Measured(30_000, 4.0, 60.0, 500.0, 0.12, 20.0, 72, 1400)
    far = large.grown(50_000, small)
    assert (far.planned, far.driven, far.rendered, far.written, far.memory) == (6.0, 100.0, 30.0, 120, 1800)
    assert far.share == pytest.approx(12.8 * 0.002 + 0.02)
    assert "50,000 (extrapolated)" in scale.table([small, large, far])
