"""What a board of many thousands of trials asks of the process that drives it, of the file system and of the tables.

`python -m tests.benchmarks.scale --trials 10000 --trials 30000` runs boards of `tests.large_boards` whose trials take no time:
bundles of one trial are claimed, 128 at a time, handed over as JSON, and their records come back at once as JSON, are checked,
written with their fsync and let go of, as `giftbench run` does; then the leaderboard is rendered. CPU seconds are the driver's:
what the stand-in for workers computes is taken off. An executor's own pipes are not in it.
"""

from __future__ import annotations

import argparse
import io
import resource
import tempfile
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from rich.console import Console
from tabulate import tabulate

from harness.boards.records import Record
from harness.boards.trial import Trial
from harness.cli.progress import Reporter
from harness.core.pace import pause
from harness.running import executors
from harness.running.estimate import Estimate
from harness.running.executors.errand import Errand
from harness.running.executors.protocol import Event
from harness.running.options import Options
from harness.running.overrides import Overrides
from harness.running.run import leaderboard, run_board
from tests.benchmarks.ratios import machine
from tests.large_boards import large_board, records_for

#: Workers, and how long each of them is on a trial where it is said what share of a core the driver takes.
WORKERS, SECONDS = 128, 10.0
#: Of how many trials a board is that figures are extrapolated to.
FAR = 100_000
NAME = "at-once"


class AtOnce:
    """An executor whose workers have trained a trial as soon as they are given it.

    Attributes:
        spent: CPU and wall seconds of what workers would do, of all executors so far.
    """

    spent = (0.0, 0.0)

    def __init__(self, errand: Errand) -> None:
        self.settings, self.jobs = errand.settings, WORKERS

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None: ...

    def prepare(self) -> None: ...

    def run(self, bundles: Iterator[Sequence[Trial]]) -> Iterator[Event]:
        at_work: deque[tuple[int, Trial]] = deque()
        for number, bundle in enumerate(bundles):
            for trial in bundle:
                handed = trial.model_dump_json()
                assert handed
                yield Event("start", trial, worker=number % WORKERS)
                at_work.append((number % WORKERS, trial))
            if len(at_work) >= WORKERS:
                yield self._end(*at_work.popleft())
        while at_work:
            yield self._end(*at_work.popleft())

    def _end(self, worker: int, trial: Trial) -> Event:
        before, began = time.process_time(), time.perf_counter()
        (record,) = records_for([trial])
        content = record.model_dump_json(by_alias=True)
        cpu, wall = AtOnce.spent
        AtOnce.spent = cpu + time.process_time() - before, wall + time.perf_counter() - began
        return Event("end", trial, Record.model_validate_json(content), worker)


class Timed(Reporter):
    """A reporter that writes a log nobody reads, and knows when the first bundle may be taken."""

    estimate: Estimate
    scheduled_at = (0.0, 0.0)

    def __init__(self) -> None:
        super().__init__(Console(file=io.StringIO()))

    def scheduled(self, estimate: Estimate) -> None:
        super().scheduled(estimate)
        self.scheduled_at = time.process_time(), time.perf_counter()


@dataclass(frozen=True)
class Measured:
    """What a board of so many trials took: CPU seconds, records written a wall second, bytes, of memory the peak so far."""

    trials: int
    planned: float
    driven: float
    a_second: float
    left: float
    rendered: float
    written: int
    memory: int

    @property
    def each(self) -> float:
        """CPU seconds of the driver for a trial."""
        return self.driven / self.trials

    @property
    def share(self) -> float:
        """Of one core, while `WORKERS` workers end a trial each in `SECONDS`, and the time left is drawn."""
        return WORKERS / SECONDS * self.each + self.left / (self.left + pause(self.left, 1.0))

    @property
    def _numbers(self) -> tuple[float, ...]:
        return self.planned, self.driven, self.left, self.rendered, self.written, self.memory

    def grown(self, trials: int, smaller: Measured | None = None) -> Measured:
        """What a board of more trials would take, on the line through a smaller one, or nothing, and this."""
        base, numbers = (smaller.trials, smaller._numbers) if smaller is not None else (0, (0.0,) * 6)
        factor = (trials - base) / (self.trials - base)
        planned, driven, left, rendered, written, memory = (
            before + factor * (now - before) for before, now in zip(numbers, self._numbers, strict=True)
        )
        return Measured(trials, planned, driven, self.a_second, left, rendered, int(written), int(memory))


def run(folder: Path, trials: int, seeds: int = 5, reporter: Timed | None = None) -> Timed:
    """Run a board of so many trials by the stand-in; its sets and teacher are made first."""
    file = large_board(folder, trials, seeds)
    reporter = reporter or Timed()
    if NAME not in executors.registry:
        executors.register(NAME)(lambda errand: AtOnce(errand))  # a registered class would be made of options alone
    ended = run_board(file, Overrides(), Options(device="cpu", stack=1, executor=NAME), reporter)
    assert (ended.planned, ended.ran + len(ended.taken)) == (trials, trials)
    return reporter


def measure(folder: Path, trials: int) -> Measured:
    """Run a board of so many trials twice over its planning, sets and teacher being made the first time, and render it."""
    from tests.large_boards import planned

    planned(large_board(folder, trials))
    AtOnce.spent = 0.0, 0.0
    began = time.process_time()
    reporter = run(folder, trials)
    driven = time.process_time() - reporter.scheduled_at[0] - AtOnce.spent[0]
    wall = time.perf_counter() - reporter.scheduled_at[1] - AtOnce.spent[1]
    files = [*(folder / "records").glob("*.json")]
    assert len(files) == trials
    before = time.process_time()
    ended = run_board(folder, Overrides(), Options(device="cpu", stack=1, executor=NAME))
    leaderboard(ended)
    rendered = time.process_time() - before
    return Measured(
        trials,
        reporter.scheduled_at[0] - began,
        driven,
        trials / wall,
        reporter.left_took,
        rendered,
        sum(path.stat().st_size for path in files),
        resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    )


def table(rows: Sequence[Measured]) -> str:
    """Return the figures as Markdown, those of `FAR` trials last."""
    head = (
        *("trials", "planned, s", "driver, ms a trial", "records a second", "time left, s each", "rendered, s"),
        *("records, MB", "peak memory, MB", "share of a core"),
    )
    cells = [
        [
            f"{row.trials:,}" + (" (extrapolated)" if row is rows[-1] else ""),
            *(f"{row.planned:.1f}", f"{1000 * row.each:.2f}", f"{row.a_second:.0f}", f"{row.left:.3f}", f"{row.rendered:.1f}"),
            *(f"{row.written / 1e6:.0f}", f"{row.memory / 1e6:.0f}", f"{100 * row.share:.1f} %"),
        ]
        for row in rows
    ]
    return tabulate(cells, head, "pipe", colalign=("left", *["right"] * (len(head) - 1)), disable_numparse=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--trials", type=int, action="append", help="multiples of 500 (repeatable)")
    chosen = parser.parse_args()
    rows = []
    for trials in sorted(chosen.trials or (10_000, 30_000)):
        with tempfile.TemporaryDirectory() as folder:
            rows.append(measure(Path(folder), trials))
    print(table([*rows, rows[-1].grown(FAR, rows[0] if len(rows) > 1 else None)]))
    growth = rows[-1].each / rows[0].each
    print(
        f"\nSeconds are the driver's CPU seconds. A trial of {rows[-1].trials:,} takes {growth:.2f} of what one of "
        f"{rows[0].trials:,} does. Share of a core: {WORKERS} workers end a trial of {SECONDS:g} s each. Measured on {machine()}."
    )


if __name__ == "__main__":
    main()
