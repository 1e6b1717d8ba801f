"""What every executor is: bundles in, events out. What a worker of any of them is told."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Protocol, Self, runtime_checkable

from harness.boards.records import Record
from harness.boards.trial import Trial

if TYPE_CHECKING:
    from harness.training.compiling import Compiling


@dataclass(frozen=True)
class Settings:
    """What a worker needs: device, threads, where data and artefacts lie, which plugin files to load, facts for records.

    `stack` is how trainings are made together, as `harness.running.grouping.group` takes it. `timeout` is how many seconds a
    trial may take, 0 for any number: one that takes longer is ended and failed, and not tried again. `checkpoints` is the folder
    that long trials are kept in while they last; `deterministic` holds torch to operations that repeat themselves;
    `labels` is the folder of soft labels that other trials ask for, too; `compiling` says which students are compiled
    (`harness.training.compiling`).
    """

    device: str
    threads: int
    artefacts: Path
    data_dir: Path | None = None
    plugins: tuple[str, ...] = ()
    facts: dict[str, Any] = field(default_factory=dict)
    stack: int = 0
    timeout: float = 0.0
    checkpoints: Path | None = None
    deterministic: bool = False
    labels: Path | None = None
    compiling: Compiling = "never"


@dataclass(frozen=True)
class Event:
    """A trial that has started, or ended with its record, on the worker of this number, 0 the first."""

    kind: Literal["start", "end"]
    trial: Trial
    record: Record | None = None
    worker: int = 0


class Executor(Protocol):
    """Carries bundles to where they are trained; a context manager that ends whatever it has started.

    Attributes:
        settings: what its workers are told; the device is theirs.
        jobs: how many bundles it has in work at once, at most.
    """

    settings: Settings
    jobs: int

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> bool | None: ...

    def prepare(self) -> None:
        """Begin to load what workers need, and return at once; `run` may follow or not."""
        ...

    def run(self, bundles: Iterator[Sequence[Trial]]) -> Iterator[Event]:
        """Run bundles; yield events as they come, an end with its record for every trial of every bundle that was pulled.

        The next bundle is pulled when a worker is free to begin it, for pulling claims it: no other runner of the board will
        train it, and an executor that pulls ahead keeps work from others. It knows of no claims, writes no records, and may be
        run again when bundles have become free. A trial whose worker dies is run once more elsewhere, alone; when that one dies
        too it has ended as `failed`, with the reason (signal, out of memory, exit status). No other end is tried again.
        """
        ...


@runtime_checkable
class Runners(Protocol):
    """An executor whose workers are runners of their own, elsewhere: they claim bundles and write records, nothing is pulled."""

    def alive(self) -> bool:
        """Whether one of them waits, runs, or will go on."""
        ...

    def submit(self) -> None:
        """Have them begin. Raises GiftbenchError, in a line, where that is refused."""
        ...

    def script(self) -> str:
        """Return what would be submitted."""
        ...

    def why(self) -> str:
        """Return how they have ended, where trials are left."""
        ...


def reason(code: int | None) -> str:
    """Return why a worker's process ended, for the error of a record, from its exit status: a signal's number negated."""
    if code and code < 0:
        return f"its worker process died: killed by signal {-code}{', probably out of memory' if code == -9 else ''}"
    return f"its worker process died: exit status {code}"


def too_long(seconds: float) -> str:
    """Return what the record of a trial says that was ended because it took longer than this."""
    return f"longer than the board's timeout of {seconds:g} s"
