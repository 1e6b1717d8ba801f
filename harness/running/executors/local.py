"""Worker processes on this machine. Workers compute; the parent alone writes records."""

from __future__ import annotations

import gc
import math
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, Literal, Self

from harness.boards.records import Record
from harness.boards.trial import Trial
from harness.core import shipped
from harness.running import stopping
from harness.running.executors.bundles import Bundles
from harness.running.executors.errand import Errand
from harness.running.executors.protocol import Event, Settings, reason, too_long
from harness.running.options import default_jobs


@dataclass
class _Worker:
    """A process, its number, the trials of its bundle that have not ended, and how many of these have started.

    They may run until `deadline`; `late` says that the process was ended because they did not, `lost` why it gave up by itself.
    """

    process: Any
    pipe: Connection
    number: int = 0
    bundle: list[Trial] = field(default_factory=list)
    started: int = 0
    deadline: float = math.inf
    late: bool = False
    lost: str = ""


#: How often a worker is started anew where that fails, before the run gives up, and seconds of the first pause between.
ATTEMPTS, PAUSE = 8, 0.1


def local(errand: Errand) -> Workers:
    """Worker processes on this machine: one a core on the CPU, one a GPU."""
    settings = errand.settings
    devices = visible(settings.device)
    jobs = workers(settings.device, errand.jobs, settings.threads, devices)
    return Workers(settings, jobs, devices, errand.unused, errand.modules)


def workers(device: str, jobs: int, threads: int, devices: Sequence[str] = ()) -> int:
    """Return how many workers there are here: `jobs`, on each of several GPUs; of 0, one a core on the CPU and one a GPU."""
    return (jobs or default_jobs(device, threads)) * max(1, len(devices))


class Workers:
    """Up to `jobs` worker processes; a context manager that ends them.

    On the CPU under Linux they are forked from a process that has loaded the libraries and computed nothing: from this one, where
    it is such a process and is asked in time, so that these are loaded once in all, else from a fork server. Elsewhere each
    starts by itself. Workers end when this process ends, however it ends.

    Args:
        jobs: how many; with devices, of all together.
        devices: as CUDA_VISIBLE_DEVICES names them, among which workers are divided: each sees one of them and no other, from
            before torch loads. Empty where all see what this process sees.
        unused, modules: as `harness.running.executors.errand.Errand` has them; nothing is computed before `prepare`.
    """

    def __init__(
        self,
        settings: Settings,
        jobs: int,
        devices: Sequence[str] = (),
        unused: bool = False,
        modules: Sequence[str] = (),
    ) -> None:
        self.settings, self.jobs, self.devices, self.unused, self.modules = settings, jobs, tuple(devices), unused, modules
        self._forked = forks(settings.device)
        self._ready: list[_Worker] = []
        self._workers: dict[Connection, _Worker] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        left = [*self._workers.values(), *self._ready]
        for worker in left:
            worker.process.kill()
        for worker in left:
            worker.process.join()

    def prepare(self) -> None:
        """Begin to load what the first worker needs; `run` may follow or not.

        Returns at once, unless workers are forked from this process: it has then loaded the libraries, which it needs as well.
        """
        if self._forked and self.unused and threading.active_count() == 1:
            from harness.running.executors import libraries

            with _threads(self.settings.threads):
                libraries.load(self.modules)
            gc.freeze()  # what is loaded is never garbage: no worker looks through it, which would make its pages its own
            for number in reversed(range(self.jobs)):
                with suppress(OSError):  # no room for another process: what is missing is started when it is needed
                    self._ready.append(self._begin(number, "fork"))
            gc.unfreeze()  # else libraries that count their objects at the end would call these leaked
            self.unused = False
        elif self._forked:
            preload(self.settings.device, self.settings.threads)
        elif not self._ready:
            self._ready.append(self._start(0))

    def run(self, bundles: Iterator[Sequence[Trial]]) -> Iterator[Event]:
        """Run bundles, pulled in their order as workers are free; yield events as they come.

        A worker that dies (killed for memory, say) leaves the trial it was on to be run once more, alone, by another process, and
        the rest to whoever is free. Where it was on several at once, each of them is run again, alone.
        """
        workers, queue = self._workers, Bundles(bundles)
        while True:
            while len(workers) < self.jobs and (bundle := queue.take()) is not None:
                number = min({*range(self.jobs)} - {other.number for other in workers.values()})
                worker = self._ready.pop() if self._ready else self._start(number)
                workers[worker.pipe] = worker
                _give(worker, bundle)
            if not workers:
                return
            for pipe in wait(list(workers), self._patience()):
                assert isinstance(pipe, Connection)
                worker = workers[pipe]
                try:
                    kind, content = pipe.recv()
                except (EOFError, OSError):
                    del workers[pipe]
                    yield from _bury(worker, queue, self.settings.timeout)
                    continue
                if kind == "start":
                    begun = worker.bundle[worker.started : worker.started + content]
                    worker.started += content
                    worker.deadline = time.monotonic() + (self.settings.timeout or math.inf) * worker.started
                    yield from (Event("start", trial, worker=worker.number) for trial in begun)
                elif kind == "record":
                    worker.started -= 1
                    yield Event("end", worker.bundle.pop(0), Record.model_validate_json(content), worker.number)
                elif kind == "lost":  # and ends
                    worker.lost = content
                elif (bundle := queue.take()) is not None:  # idle
                    _give(worker, bundle)
                else:
                    del workers[pipe]
                    _send(pipe, None)
                    worker.process.join()

    def _patience(self) -> float | None:
        """End the workers whose trials take longer than they may; return the seconds until the next would."""
        now = time.monotonic()
        for worker in self._workers.values():
            if worker.deadline <= now and not worker.late:
                worker.late = True
                with suppress(OSError):
                    os.kill(worker.process.pid, signal.SIGKILL)  # `kill` does nothing once the fork server has died
        left = [worker.deadline - now for worker in self._workers.values() if not worker.late]
        return None if min(left, default=math.inf) == math.inf else max(0.0, min(left))

    def _start(self, number: int) -> _Worker:
        for attempt in range(1, ATTEMPTS):
            with suppress(OSError, EOFError):  # the process that workers are forked from has been killed: the next is another
                return self._begin(number, "forkserver" if self._forked else "spawn")
            time.sleep(attempt * PAUSE)  # on a busy machine one that is killed refuses for a while before it is gone
        return self._begin(number, "forkserver" if self._forked else "spawn")

    def _begin(self, number: int, method: Literal["fork", "forkserver", "spawn"]) -> _Worker:
        pinned = {"CUDA_VISIBLE_DEVICES": self.devices[number % len(self.devices)]} if self.devices else {}
        context: Any = multiprocessing.get_context(method)
        ours, theirs = context.Pipe()
        if method == "forkserver":
            preload(self.settings.device, self.settings.threads)
        with _threads(self.settings.threads):
            process = context.Process(target=_work, args=(theirs, self.settings, {**os.environ, **pinned}), daemon=True)
            with shipped.first_on_path(), _uninterrupted():
                process.start()
        theirs.close()
        return _Worker(process, ours, number)


def forks(device: str) -> bool:
    """Whether workers are forked: for the CPU, on a system where that is safe. `auto` is the CPU where no NVIDIA driver is."""
    cpu = device == "cpu" or (device == "auto" and not Path("/proc/driver/nvidia").exists())
    return cpu and sys.platform == "linux"


def visible(device: str) -> tuple[str, ...]:
    """Return the GPUs to divide workers among, as CUDA_VISIBLE_DEVICES names them; none where there is one, or one is named."""
    if device != "cuda":
        return ()
    import torch

    count = torch.cuda.device_count()
    named = [name.strip() for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name.strip()]
    return tuple((named or [str(number) for number in range(count)])[:count]) if count > 1 else ()


def fresh() -> bool:
    """Whether this process has neither loaded torch nor begun a thread, so that it has computed nothing."""
    return "torch" not in sys.modules and threading.active_count() == 1


def preload(device: str, threads: int) -> None:
    """Let the process that workers are forked from load the libraries, where there is one, and return at once."""
    if not forks(device):
        return
    from multiprocessing import forkserver

    with _threads(threads), shipped.first_on_path(), _uninterrupted():
        forkserver.set_forkserver_preload(["harness.running.executors.libraries"])
        forkserver.ensure_running()


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Have processes that are started in the block be deaf to Ctrl-C: a terminal sends it to all, and it is for their parent."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _threads(count: int) -> Iterator[None]:
    """Set what numeric libraries read while they load."""
    before = {name: os.environ.get(name) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")}
    os.environ.update(dict.fromkeys(before, str(count)))
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


def _give(worker: _Worker, bundle: list[Trial]) -> None:
    worker.bundle, worker.started, worker.deadline = bundle, 0, math.inf
    _send(worker.pipe, [trial.model_dump_json() for trial in worker.bundle])


def _send(pipe: Connection, message: object) -> None:
    with suppress(OSError):  # the worker died; the next recv says so
        pipe.send(message)


def _bury(worker: _Worker, queue: Bundles, timeout: float) -> Iterator[Event]:
    """Have what a dead worker has not ended run again, or yield the end of what failed."""
    worker.process.join()
    error = too_long(timeout) if worker.late else worker.lost or reason(worker.process.exitcode)
    failed = queue.lost(worker.bundle, worker.started, error, worker.late)
    if failed is not None:
        yield Event("end", failed.trial, failed, worker.number)


def _work(pipe: Connection, settings: Settings, environment: dict[str, str]) -> None:
    """Run bundles until there are no more."""
    stopping.forget()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.environ.clear()
    os.environ.update(environment)  # which may have changed since the process was started that this one is forked from
    threading.Thread(target=_end_with_parent, daemon=True).start()
    from harness.running.executors import memory, work

    workbench, freed = work.bench(settings), memory.Freed()
    while True:
        try:
            message = pipe.recv()
        except (EOFError, KeyboardInterrupt):
            return
        if message is None:
            return
        for word in work.said(message, workbench, settings.facts):
            pipe.send(word)
            if word[0] == "lost":
                return
        freed.give_back()
        pipe.send(("idle", None))


def _end_with_parent() -> None:
    """Leave at once when the parent has ended, so that no trial goes on unseen after a kill."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
    os._exit(1)
