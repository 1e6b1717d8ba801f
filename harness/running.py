"""Running a board: what is missing is made, what is done is left alone."""

from __future__ import annotations

import subprocess
from collections.abc import Iterable
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from filelock import FileLock, Timeout

from harness.boards.board import Board, board_path, load_board
from harness.boards.records import Record, RecordStore
from harness.boards.trial import Trial
from harness.core import plugins
from harness.core.cores import cores
from harness.core.errors import BoardError, PluginError
from harness.costs import Costs
from harness.estimate import Estimate
from harness.executors import local
from harness.planning.artefacts import Artefacts
from harness.planning.supplies import Supplies
from harness.scheduling import bundles

if TYPE_CHECKING:
    from collections.abc import Iterator

    from harness.planning.plan import Overrides


class Watcher(Protocol):
    """Is told what goes on; the command line draws it."""

    def say(self, line: str) -> None: ...
    def preparing(self, what: str, done: int, total: int) -> None: ...
    def planned(self, trials: list[Trial], missing: list[Trial]) -> None: ...
    def scheduled(self, estimate: Estimate) -> None: ...
    def started(self, trial: Trial) -> None: ...
    def ended(self, trial: Trial, record: Record) -> None: ...


class Silent:
    """A watcher that says nothing."""

    def say(self, line: str) -> None: ...
    def preparing(self, what: str, done: int, total: int) -> None: ...
    def planned(self, trials: list[Trial], missing: list[Trial]) -> None: ...
    def scheduled(self, estimate: Estimate) -> None: ...
    def started(self, trial: Trial) -> None: ...
    def ended(self, trial: Trial, record: Record) -> None: ...


@dataclass
class Summary:
    """What a run came to: trials planned, those that ran now, and the failed ones (now or before) with their errors."""

    planned: int = 0
    ran: int = 0
    failed: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Options:
    """How to run, beside what the board says. `supplies` are the paths of published sets and teachers that it waits for.

    `jobs` of 0 takes one worker a core on the CPU and one on a GPU. `threads` are each worker's; results on a CPU depend on
    them in the last digits and never on `jobs`, so one thread is the default. `stack` is how many trainings are made in one
    pass, at most; 0 leaves that to `harness.stacking`. `retry` runs failed trials again, `rerun` all.
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


def open_board(path: str | Path, extra_plugins: Iterable[str] = ()) -> tuple[Path, Board, tuple[str, ...]]:
    """Read a board, load its plugins and the command line's, and return its file, itself and the plugin files."""
    file = board_path(path)
    board = load_board(file)
    files = [str(Path(p).expanduser().resolve()) for p in extra_plugins]
    for i, plugin in enumerate(board.plugins):
        place = (file.parent / plugin).expanduser().resolve()
        if not place.is_file():
            raise BoardError(f"{file}: plugins[{i}]: no file {place}")
        files.append(str(place))
    try:
        plugins.load_files(files)
    except PluginError as error:
        raise BoardError(f"{error}") from error.__cause__
    return file, board, tuple(dict.fromkeys(files))


def preload(path: str | Path, options: Options) -> bool:
    """Begin to load what workers need, in another process, when a board has no records that would make them unnecessary.

    Called first of all, it lets them load while this process loads torch and plans. Returns whether it did.
    """
    folder = Path(path) if Path(path).is_dir() else Path(path).parent
    early = options.rerun or not any((folder / "records").glob("*.json"))
    if early:
        local.preload(options.device, options.threads)
    return early


def run_board(path: str | Path, overrides: Overrides, options: Options, watcher: Watcher | None = None) -> Summary:
    """Run every trial of a board that has no record yet.

    Records are written beside the board as trials end; a run that is cut off is continued by the same call.
    Raises: BoardError and its kin before anything is trained, when the input is wrong.
    """
    watcher = watcher or Silent()
    file, board, plugin_files = open_board(path, options.plugins)
    board = overrides.apply(board)
    store = RecordStore(file.parent / "records")
    early = preload(file, options)
    from harness.parts import Parts
    from harness.training.devices import resolve_device

    device = resolve_device(options.device)
    jobs = options.jobs or default_jobs(device, options.threads)
    artefacts, facts = Artefacts(file.parent / "artefacts"), {"commit": commit()}
    settings = local.Settings(device, options.threads, artefacts.folder, options.data_dir, plugin_files, facts, options.stack)
    with _alone(file.parent), local.Workers(settings, jobs) as workers:
        if early:
            workers.prepare()
        parts = Parts(board, file, artefacts, options, watcher)
        parts.rehearse()
        trials = parts.plan()
        store.sweep()
        known = {} if options.rerun else {record.id: record for record in store}
        kept = {i: record for i, record in known.items() if record.status != "failed" or not options.retry}
        missing = [trial for trial in trials if trial.id not in kept]
        watcher.planned(trials, missing)
        failed = {t.id: kept[t.id].error for t in trials if t.id in kept and kept[t.id].status == "failed"}
        summary = Summary(planned=len(trials), failed=failed)
        if not missing:
            return summary
        wanted = {trial.id for trial in missing}
        costs = Costs.of(trials, (workshop.dataset for workshop in parts.workshops), artefacts, device)
        order = bundles(missing, costs, device, options.stack, trials)
        estimate = Estimate(costs, order, jobs)
        watcher.scheduled(estimate)
        for event in workers.run(order):
            if event.record is None:
                estimate.started(event.trial, event.worker)
                if event.trial.id in wanted:
                    watcher.started(event.trial)
                continue
            estimate.ended(event.trial, event.record, event.worker)
            if event.trial.id not in wanted:  # it has a record, and was made again only to complete a stack
                continue
            store.write(event.record)
            summary.ran += 1
            if event.record.status == "failed":
                summary.failed[event.trial.id] = event.record.error
            watcher.ended(event.trial, event.record)
    return summary


def default_jobs(device: str, threads: int) -> int:
    """Return how many workers to use: one on a GPU, as many as cores allow on the CPU."""
    return 1 if device != "cpu" else max(1, cores() // threads)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Hold the board's lock; the system drops it when this process ends, however it ends."""
    lock = FileLock(folder / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise BoardError(f"{folder}: another giftbench run is at work on this board; wait for it, or stop it") from None
    try:
        yield
    finally:
        lock.release()


def commit() -> str:
    """Return the commit of the checkout that the harness runs from, with a plus when it was changed; empty outside of one."""
    here = Path(__file__).parent

    def git(*words: str) -> str:
        done = subprocess.run(["git", "-C", str(here), *words], capture_output=True, text=True, timeout=10, check=True)
        return done.stdout.strip()

    try:
        if not git("ls-files", "--", "__init__.py"):
            return ""
        return git("rev-parse", "--short=12", "HEAD") + ("+" if git("status", "--porcelain", "--", ".", "../scenarios") else "")
    except (OSError, subprocess.SubprocessError):
        return ""
