"""What a person sees of a run: a bar on a terminal, a line now and then in a log."""

from __future__ import annotations

import time
from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Column

from harness.boards.records import Record
from harness.boards.trial import Trial, describe
from harness.core.pace import pause

if TYPE_CHECKING:
    from harness.running.estimate import Estimate
    from harness.running.options import Named

SECONDS_BETWEEN_LINES = 10
#: The time left is worked out anew at most so often, and less where that takes long; in between, time passes.
SECONDS_BETWEEN_ESTIMATES = 1
#: Characters of what is being made, beside its bar: at 80 columns all else is whole.
LONGEST = 30


class Reporter:
    """Draws a run on standard error; a context manager."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(stderr=True, soft_wrap=True)
        self.live = self.console.is_terminal
        columns = (
            TextColumn("{task.description}", table_column=Column(no_wrap=True, overflow="ellipsis", max_width=LONGEST)),
            BarColumn(bar_width=None, table_column=Column(ratio=1, min_width=4)),
            MofNCompleteColumn(table_column=Column(no_wrap=True)),
            TimeElapsedColumn(table_column=Column(no_wrap=True)),
            TextColumn("{task.fields[note]}", table_column=Column(no_wrap=True)),
        )
        self.progress = Progress(*columns, console=self.console, disable=not self.live, expand=True)
        self.tasks: dict[str, TaskID] = {}
        self.running: set[str] = set()
        self.left: set[str] = set()
        self.total = self.failed = 0
        self.estimate: Estimate | None = None
        self.expected: tuple[float, float] | None = None
        self.left_took = 0.0
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
                self.tasks[what] = self.progress.add_task(what, total=total, note="")
            self.progress.update(self.tasks[what], completed=done)
            if done == total:
                self.progress.remove_task(self.tasks.pop(what))
                self._line(f"made {what}", always=True)
        else:
            self._line(f"making {what}: {done}/{total}", always=done in (0, total))

    def planned(self, count: int, missing: Sequence[Named]) -> None:
        """Show how many trials there are, and start the bar."""
        self.total = len(missing)
        self.left = {trial.id for trial in missing}
        self.console.print(f"{count} trials: {count - len(missing)} have a record, {len(missing)} to run", highlight=False)
        if self.live and missing:
            self.tasks["trials"] = self.progress.add_task("trials", total=len(missing), note="")

    def scheduled(self, estimate: Estimate) -> None:
        """Take what will tell the time left."""
        self.estimate = estimate

    def started(self, trial: Named) -> None:
        """Show a trial that has started."""
        self.running.add(trial.id)
        self._show()

    def ended(self, trial: Trial, record: Record) -> None:
        """Show a trial that has ended; name it when it failed or diverged."""
        self.running.discard(trial.id)
        self.left.discard(trial.id)
        if record.status != "done":
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
        if not self.left:
            return _clock(0)
        now = time.monotonic()
        if self.expected is None or now - self.expected[1] >= pause(self.left_took, SECONDS_BETWEEN_ESTIMATES):
            began = time.process_time()
            self.expected = None if self.estimate is None else (self.estimate.left(), now)
            self.left_took = max(self.left_took, time.process_time() - began)
        return "?" if self.expected is None else _clock(max(0.0, self.expected[0] - (now - self.expected[1])))

    def _line(self, text: str, always: bool = False) -> None:
        now = time.monotonic()
        if always or now - self.last_line >= SECONDS_BETWEEN_LINES:
            self.last_line = now
            self.console.print(text, highlight=False, markup=False)


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
