"""How to run, beside what the board says; who is told of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from harness.boards.records import Record
from harness.boards.selection import Selection
from harness.boards.trial import Trial
from harness.core import spec
from harness.core.cores import cores
from harness.core.resolved import Resolved
from harness.planning.supplies import Supplies
from harness.running.estimate import Estimate

if TYPE_CHECKING:
    from harness.training.compiling import Compiling


class Named(Protocol):
    """A trial, or what is known of one that has no record: its id."""

    @property
    def id(self) -> str: ...


class Watcher(Protocol):
    """Is told what goes on; the command line draws it."""

    def say(self, line: str) -> None: ...
    def preparing(self, what: str, done: int, total: int) -> None: ...
    def planned(self, count: int, missing: Sequence[Named]) -> None: ...
    def scheduled(self, estimate: Estimate) -> None: ...
    def started(self, trial: Named) -> None: ...
    def ended(self, trial: Trial, record: Record) -> None: ...


class Silent:
    """A watcher that says nothing."""

    def say(self, line: str) -> None: ...
    def preparing(self, what: str, done: int, total: int) -> None: ...
    def planned(self, count: int, missing: Sequence[Named]) -> None: ...
    def scheduled(self, estimate: Estimate) -> None: ...
    def started(self, trial: Named) -> None: ...
    def ended(self, trial: Trial, record: Record) -> None: ...


@dataclass
class Summary:
    """What a run came to: how many trials there are, how many ran now, and the errors of those that failed, by id."""

    planned: int = 0
    ran: int = 0
    failed: dict[str, str] = field(default_factory=dict)

    def take(self, record: Record) -> None:
        """Note how a trial has ended."""
        self.failed.pop(record.id, None)
        if record.status == "failed":
            self.failed[record.id] = record.error


@dataclass(frozen=True)
class Options:
    """How to run, beside what the board says. `supplies` are the paths of published sets and teachers that it waits for.

    `jobs` are workers, on each GPU where there are several; 0 takes one a core on the CPU and one a GPU. `threads` are each
    worker's; results on a CPU depend on them in the last digits and never on `jobs`, so one thread is the default. `stack` is how
    many trainings are made in one pass, at most; 0 leaves that to `harness.running.grouping`. `retry` runs failed trials again,
    `rerun` all. `force` takes distilled sets whose classes another order fits far better. `deterministic` holds torch to
    operations that repeat themselves. `compiling` is "auto" where students are compiled when that pays, else "never". `shard`
    (I, N) is the I-th of N shares of the board, the first being 0; `wait` says whether a run lasts until other runners have ended
    what they have claimed. `allow_plugins` lets the board's own plugin files run. `executor` names what carries bundles to where
    they run (`harness.running.executors`). `selection` says which of the board's trials are run, where not all are.
    `keep_labels` says that the trials' soft labels are to be published when they are done.
    """

    device: str = "auto"
    jobs: int = 0
    threads: int = 1
    stack: int = 0
    data_dir: Path | None = None
    plugins: tuple[str, ...] = ()
    retry: bool = False
    rerun: bool = False
    supplies: Supplies = field(default_factory=Supplies)
    force: bool = False
    deterministic: bool = False
    compiling: Compiling = "never"
    shard: tuple[int, int] | None = None
    wait: bool = True
    allow_plugins: bool = False
    executor: spec.Named | Resolved[object] = "local"
    selection: Selection = field(default_factory=Selection)
    keep_labels: bool = False


def default_jobs(device: str, threads: int) -> int:
    """Return how many workers to use: one on a GPU, as many as cores allow on the CPU."""
    return 1 if device != "cpu" else max(1, cores() // threads)
