"""Worker processes on this machine. Workers compute; the parent alone writes records."""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, Literal

from harness.board import Trial
from harness.records import Record


@dataclass(frozen=True)
class Settings:
    """What a worker needs: device, threads, where data and artefacts lie, which plugin files to load, facts for records."""

    device: str
    threads: int
    artefacts: Path
    data_dir: Path | None = None
    plugins: tuple[str, ...] = ()
    facts: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Event:
    """A trial that has started, or ended with its record."""

    kind: Literal["start", "end"]
    trial: Trial
    record: Record | None = None


@dataclass
class _Worker:
    process: Any
    pipe: Connection
    bundle: list[Trial] = field(default_factory=list)


def run(bundles: Sequence[Sequence[Trial]], settings: Settings, jobs: int) -> Iterator[Event]:
    """Run bundles on `jobs` worker processes; yield events as they come.

    A worker that dies (killed for memory, say) ends the trial it was on as `failed`; a new worker takes the rest. Workers end
    when this process ends, however it ends.
    """
    queue = [list(bundle) for bundle in bundles]
    workers: dict[Connection, _Worker] = {}
    try:
        while queue or workers:
            while queue and len(workers) < jobs:
                worker = _start(settings)
                workers[worker.pipe] = worker
                _give(worker, queue)
            for pipe in wait(list(workers)):
                assert isinstance(pipe, Connection)
                worker = workers[pipe]
                try:
                    kind, content = pipe.recv()
                except (EOFError, OSError):
                    del workers[pipe]
                    yield from _bury(worker, queue)
                    continue
                if kind == "start":
                    yield Event("start", worker.bundle[0])
                elif kind == "record":
                    yield Event("end", worker.bundle.pop(0), Record.model_validate_json(content))
                elif queue:  # idle
                    _give(worker, queue)
                else:
                    del workers[pipe]
                    _send(pipe, None)
                    worker.process.join()
    finally:
        for worker in workers.values():
            worker.process.terminate()
        for worker in workers.values():
            worker.process.join()


def _start(settings: Settings) -> _Worker:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    before = {name: os.environ.get(name) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")}
    os.environ.update(dict.fromkeys(before, str(settings.threads)))  # read by the libraries while they load
    process = context.Process(target=_work, args=(theirs, settings), daemon=True)
    process.start()
    for name, value in before.items():
        os.environ.pop(name) if value is None else os.environ.update({name: value})
    theirs.close()
    return _Worker(process, ours)


def _give(worker: _Worker, queue: list[list[Trial]]) -> None:
    worker.bundle = queue.pop(0)
    _send(worker.pipe, [trial.model_dump_json() for trial in worker.bundle])


def _send(pipe: Connection, message: Any) -> None:
    with suppress(OSError):  # the worker died; the next recv says so
        pipe.send(message)


def _bury(worker: _Worker, queue: list[list[Trial]]) -> Iterator[Event]:
    worker.process.join()
    if not worker.bundle:
        return
    lost, *rest = worker.bundle
    code = worker.process.exitcode
    reason = (
        f"killed by signal {-code}{', probably out of memory' if code == -9 else ''}"
        if code and code < 0
        else f"exit status {code}"
    )
    yield Event("end", lost, Record.of(lost, "failed", error=f"its worker process died: {reason}"))
    if rest:
        queue.insert(0, rest)


def _work(pipe: Connection, settings: Settings) -> None:
    """Run bundles until there are no more."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    import torch

    from harness import plugins
    from harness.artefacts import Artefacts
    from harness.executors.work import run_bundle
    from harness.workbench import Workbench

    torch.set_num_threads(settings.threads)
    plugins.load_files(settings.plugins)
    workbench = Workbench(settings.device, Artefacts(settings.artefacts), settings.data_dir)
    while True:
        try:
            message = pipe.recv()
        except (EOFError, KeyboardInterrupt):
            return
        if message is None:
            return
        trials = [Trial.model_validate_json(text) for text in message]
        pipe.send(("start", None))
        for left, record in zip(range(len(trials) - 1, -1, -1), run_bundle(trials, workbench, settings.facts), strict=True):
            pipe.send(("record", record.model_dump_json(by_alias=True)))
            if left:
                pipe.send(("start", None))
        pipe.send(("idle", None))


def _end_with_parent() -> None:
    """Leave at once when the parent has ended, so that no trial goes on unseen after a kill."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
    os._exit(1)
