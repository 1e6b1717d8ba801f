"""Running a board: what is missing is made, what is done is left alone."""

from __future__ import annotations

import subprocess
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from harness.boards.records import RecordStore
from harness.core.errors import BoardError
from harness.planning.artefacts import Artefacts
from harness.running.costs import Costs
from harness.running.estimate import Estimate
from harness.running.executors import local
from harness.running.opening import check_scenarios, open_board
from harness.running.options import Options, Silent, Summary, Watcher, default_jobs
from harness.running.scenario import trainings
from harness.running.scheduling import bundles

if TYPE_CHECKING:
    from collections.abc import Iterator

    from harness.running.planning import Overrides


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
    check_scenarios(board, str(file), overrides.scenarios)
    board = overrides.apply(board)
    store = RecordStore(file.parent / "records")
    early = preload(file, options)
    from harness.running.parts import Parts
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
        costs = Costs.of(trials, (workshop.dataset for workshop in parts.workshops), artefacts, device, trainings)
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
