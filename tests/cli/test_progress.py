"""What a person sees of a run in a log: a line now and then, and each failure."""

from __future__ import annotations

import io
from collections.abc import Callable
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import pytest
from rich.console import Console

from harness.boards.records import Record
from harness.boards.trial import Trial
from harness.cli import progress
from harness.cli.progress import Reporter, _clock

if TYPE_CHECKING:
    from harness.running.estimate import Estimate


@pytest.fixture
def reporter() -> Reporter:
    return Reporter(Console(file=io.StringIO(), width=200))


def printed(reporter: Reporter) -> list[str]:
    stream = reporter.console.file
    assert isinstance(stream, io.StringIO)
    return stream.getvalue().splitlines()


def test_a_plan_says_how_many_trials_have_a_record(reporter: Reporter, plan: Callable[..., list[Trial]]) -> None:
    trials = plan(seeds=3)
    reporter.planned(len(trials), trials[1:])
    assert printed(reporter) == [f"{len(trials)} trials: 1 have a record, {len(trials) - 1} to run"]


def test_a_failure_is_named_with_its_reason_and_the_end_is_always_said(
    reporter: Reporter, plan: Callable[..., list[Trial]]
) -> None:
    trials = plan()
    reporter.planned(len(trials), trials)
    for trial in trials:
        reporter.started(trial)
        reporter.ended(trial, Record.of(trial, "failed", error="boom"))
    lines = printed(reporter)
    assert sum(line.startswith("failed: ") and line.endswith(": boom") for line in lines) == len(trials) == reporter.failed
    assert lines[-1].startswith(f"trials: {len(trials)}/{len(trials)} done, 0 running, 0:00 left")


def test_beginning_and_end_of_what_is_made_are_lines(reporter: Reporter) -> None:
    for done in range(11):
        reporter.preparing("teacher", done, 10)
    assert printed(reporter) == ["making teacher: 0/10", "making teacher: 10/10"]


@pytest.mark.parametrize(("seconds", "shown"), [(0, "0:00"), (61.4, "1:01"), (3725, "1:02:05")])
def test_times_are_read_as_a_clock(seconds: float, shown: str) -> None:
    assert _clock(seconds) == shown


def test_the_time_left_takes_a_small_share_of_the_time_however_long_it_takes_to_work_out(
    reporter: Reporter, plan: Callable[..., list[Trial]], monkeypatch: pytest.MonkeyPatch
) -> None:
    now, spent = [0.0], [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(progress.time, "process_time", lambda: spent[0])

    class Slow:
        def left(self) -> float:
            spent[0] += 0.5
            return 1000.0

    trials = plan(seeds=3)
    reporter.planned(len(trials), trials)
    reporter.estimate = Slow()  # type: ignore[assignment]
    for second in range(1, 1001):
        now[0] = float(second)
        reporter.started(trials[0])
    assert 15.0 <= spent[0] <= 21.0


@pytest.mark.parametrize("running", [1, 16])
def test_at_80_columns_the_line_is_whole_whatever_is_being_made(plan: Callable[..., list[Trial]], running: int) -> None:
    """As a terminal shows it: count, time, how many run, time left; what is made may be cut, and the bar gives way."""
    reporter = Reporter(Console(file=io.StringIO(), width=80, force_terminal=True))
    what = "teacher convnet3(width=128, norm=instance) on fashion-mnist"
    with reporter:
        reporter.preparing(what, 3, 50)
        trials = plan(seeds=20)[:16]
        reporter.planned(2000, trials)
        reporter.scheduled(cast("Estimate", SimpleNamespace(left=lambda: 45_296.0)))
        reporter.total = 2000
        reporter.progress.update(reporter.tasks["trials"], total=2000)
        for trial in trials[:running]:
            reporter.started(trial)
        lines = [line for line in drawn(reporter) if line.strip()]
        assert len(lines) == 2, lines
        assert all(len(line) <= 80 for line in lines)
        making, shown = lines
        assert making.startswith("teacher convnet3(width=128, n") and "…" in making and " 3/50 " in making
        assert "1984/2000" in shown and shown.rstrip().endswith(f"{running} running, 12:34:56 left")
        assert "━" in shown
        reporter.preparing(what, 50, 50)
        assert len([line for line in drawn(reporter) if line.strip()]) == 1, "what is made has no bar any more"
    assert f"made {what}" in "".join(printed(reporter))


def drawn(reporter: Reporter) -> list[str]:
    """Return the lines that stand on the terminal now."""
    console = Console(file=io.StringIO(), width=80, force_terminal=True, color_system=None)
    console.print(reporter.progress.get_renderable())
    stream = console.file
    assert isinstance(stream, io.StringIO)
    return stream.getvalue().splitlines()
