"""What a person sees of a run: a bar on a terminal, a line now and then in a log."""

from __future__ import annotations

import time
from collections import defaultdict
from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from harness.board import Trial
from harness.records import Record

SECONDS_BETWEEN_LINES = 10


class Reporter:
    """Draws a run on standard error; a context manager."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(stderr=True, soft_wrap=True)
        self.live = self.console.is_terminal
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[note]}"),
        )
        self.progress = Progress(*columns, console=self.console, disable=not self.live)
        self.tasks: dict[str, TaskID] = {}
        self.running: dict[str, tuple[Trial, float]] = {}
        self.left: dict[str, Trial] = {}
        self.total = self.failed = 0
        self.estimate = Estimate()
        self.last_line = 0.0
        self.began = time.monotonic()

    def __enter__(self) -> Self:
        self.progress.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.progress.stop()

    def say(self, line: str) -> None:
        """Print a line that the user should know of."""
        self.console.print(line, highlight=False, markup=False)

    def preparing(self, what: str, done: int, total: int) -> None:
        """Show a teacher or a distilled set being made."""
        if self.live:
            if what not in self.tasks:
                self.tasks[what] = self.progress.add_task(f"making {what}", total=total, note="")
            self.progress.update(self.tasks[what], completed=done)
        else:
            self._line(f"making {what}: {done}/{total}", always=done in (0, total))

    def planned(self, trials: list[Trial], missing: list[Trial]) -> None:
        """Show how many trials there are, and start the bar."""
        self.total = len(missing)
        self.left = {trial.id: trial for trial in missing}
        self.console.print(
            f"{len(trials)} trials: {len(trials) - len(missing)} have a record, {len(missing)} to run", highlight=False
        )
        if self.live and missing:
            self.tasks["trials"] = self.progress.add_task("trials", total=len(missing), note="")

    def started(self, trial: Trial) -> None:
        """Show a trial that has started."""
        self.running[trial.id] = (trial, time.monotonic())
        self._show()

    def ended(self, trial: Trial, record: Record) -> None:
        """Show a trial that has ended; name it when it failed or diverged."""
        self.running.pop(trial.id, None)
        self.left.pop(trial.id, None)
        self.estimate.learn(trial, record.timing.get("total", 0.0))
        if record.status != "done":
            from harness.planning import describe

            self.failed += record.status == "failed"
            reason = f": {record.error}" if record.error else ""
            self.console.print(f"{record.status}: {describe(trial)}{reason}", style="yellow", highlight=False, markup=False)
        self._show(end=not self.left)

    def _show(self, end: bool = False) -> None:
        done = self.total - len(self.left)
        note = f"{len(self.running)} running, {self._time_left()} left"
        if self.live:
            self.progress.update(self.tasks["trials"], completed=done, note=note)
        else:
            self._line(f"trials: {done}/{self.total} done, {note}, {_clock(time.monotonic() - self.began)} so far", always=end)

    def _time_left(self) -> str:
        now = time.monotonic()
        waiting = [t for i, t in self.left.items() if i not in self.running]
        seconds = [self.estimate.seconds(t) for t in waiting]
        begun = [max(0.0, self.estimate.seconds(t) - (now - since)) for t, since in self.running.values()]
        if not self.estimate.known:
            return "?"
        return _clock(max((sum(seconds) + sum(begun)) / max(1, len(self.running)), *begun, 0.0))

    def _line(self, text: str, always: bool = False) -> None:
        now = time.monotonic()
        if always or now - self.last_line >= SECONDS_BETWEEN_LINES:
            self.last_line = now
            self.console.print(text, highlight=False, markup=False)


class Estimate:
    """How long trials take, learned from those that have ended: by what they train, else by the work that they do."""

    def __init__(self) -> None:
        self.by_kind: dict[Any, list[float]] = defaultdict(list)
        self.per_unit: dict[Any, list[float]] = defaultdict(list)

    @property
    def known(self) -> bool:
        return bool(self.by_kind)

    def learn(self, trial: Trial, seconds: float) -> None:
        """Take in what a trial took."""
        self.by_kind[_kind(trial)].append(seconds)
        self.per_unit[str(trial.model)].append(seconds / _work(trial))

    def seconds(self, trial: Trial) -> float:
        """Return the expected seconds of a trial."""
        known = self.by_kind.get(_kind(trial))
        if known:
            return sum(known) / len(known)
        rates = self.per_unit.get(str(trial.model)) or [rate for found in self.per_unit.values() for rate in found] or [0.0]
        return _work(trial) * sum(rates) / len(rates)


def _kind(trial: Trial) -> Any:
    return (
        trial.scenario,
        str(trial.model),
        trial.labels.get("images"),
        trial.protocol.epochs,
        bool(trial.teacher),
        str(trial.options),
    )


def _work(trial: Trial) -> float:
    """Return images seen in training, a measure of work among trials of one student."""
    return max(1.0, float(trial.labels.get("images", 1)) * trial.protocol.epochs)


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
