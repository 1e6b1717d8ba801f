"""Ray: bundles as tasks on the nodes of a cluster, or of one that is started on this machine and ends with the run.

Ray itself tries nothing again: what is lost with a worker or a node is run once more by us. Nothing is shipped: giftbench and the
board's folder, on a path that is the same everywhere, are what a node needs.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from math import inf
from typing import TYPE_CHECKING, Any, Self

from harness.boards.records import Record
from harness.boards.trial import Trial
from harness.core.cores import cores
from harness.core.errors import BadOption, GiftbenchError
from harness.running.executors.bundles import Bundles
from harness.running.executors.errand import Errand, engine
from harness.running.executors.protocol import Event, Settings, too_long

if TYPE_CHECKING:
    from harness.running.workbench import Workbench

#: Bytes of the object store of a Ray that is started here: records are small, and /dev/shm may be.
OBJECT_STORE = 128 * 2**20
#: How often a Ray is started here before a run gives up: on a busy machine it may not be up in the half minute that it allows.
ATTEMPTS = 3
#: Seconds between two looks at which nodes there are.
LOOK = 5.0


def ray(errand: Errand, *, address: str = "", cpus: float = 1.0, gpus: float | None = None) -> Cluster:
    """Tasks on a Ray cluster, or on one that is started here.

    Args:
        address: of the cluster's head, `HOST:6379` or `auto`; without one Ray is started on this machine, and ends with the run.
        cpus, gpus: what each bundle occupies; fractions share a device. A whole GPU where the run's device is one, else none.
    """
    shares = (1.0 if errand.settings.device.startswith("cuda") else 0.0) if gpus is None else float(gpus)
    for name, share in (("cpus", cpus), ("gpus", shares)):
        if share < 0 or (share > 1 and share != int(share)):
            raise BadOption(f"executor 'ray': {name} = {share:g}: a fraction of one, or a whole number")
    if not cpus and not shares:
        raise BadOption("executor 'ray': a bundle that occupies no cpus and no gpus: give one of them")
    settings = replace(errand.settings, device="cuda" if shares else "cpu")
    return Cluster(settings, errand.jobs, address, float(cpus), shares)


@dataclass
class _Task:
    """A bundle on its way: the stream of what its worker says, the slot's number, what has not ended, how much has started."""

    stream: Any
    number: int
    bundle: list[Trial]
    started: int = 0
    deadline: float = inf
    late: bool = False


class Cluster:
    """An executor of bundles as tasks of Ray, as many at once as nodes have room for."""

    def __init__(self, settings: Settings, jobs: int, address: str, cpus: float, gpus: float) -> None:
        self.settings, self.address, self.cpus, self.gpus = settings, address, cpus, gpus
        self._asked, self._looked, self._own = jobs, -inf, False
        self._tasks: dict[Any, _Task] = {}
        self._ray = engine("ray", "ray")
        self.jobs = jobs or 1

    def __enter__(self) -> Self:
        os.environ.setdefault("RAY_task_oom_retries", "0")
        if not self._ray.is_initialized():
            self._connect()
            self._own = True
        try:
            self._room()
        except GiftbenchError:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for task in self._tasks.values():
            self._ray.cancel(task.stream, force=True)
        self._tasks.clear()
        if self._own:
            self._ray.shutdown()

    def prepare(self) -> None:
        """Workers load what they need with their first bundle."""

    def run(self, bundles: Iterator[Sequence[Trial]]) -> Iterator[Event]:
        """Run bundles, pulled as nodes have room; see `Executor`."""
        queue = Bundles(bundles)
        while True:
            self._look()
            while len(self._tasks) < self.jobs and (bundle := queue.take()) is not None:
                self._give(bundle)
            if not self._tasks:
                return
            self._end_late()
            ready, _ = self._ray.wait([*self._tasks], num_returns=1, timeout=LOOK, fetch_local=False)
            for stream in ready:
                yield from self._next(self._tasks[stream], queue)

    def _connect(self) -> None:
        quiet = {"logging_level": logging.ERROR, "log_to_driver": False, "configure_logging": True}
        here = {"num_cpus": cores(), "object_store_memory": OBJECT_STORE, "include_dashboard": False}
        how = {"address": self.address} if self.address else {"address": "local", **here}
        for attempt in range(ATTEMPTS):
            try:
                self._ray.init(**how, **quiet)
                return
            except Exception as error:  # whatever Ray has to say: no such cluster, another version of Ray or Python there
                reason = " ".join(str(error).split())[:300]
                if self.address or "timed out" not in reason or attempt + 1 == ATTEMPTS:
                    what = f"reach {self.address}" if self.address else "start a Ray of its own"
                    raise GiftbenchError(f"executor 'ray': cannot {what}: {reason}") from error
                self._ray.shutdown()

    def _nodes(self) -> list[dict[str, float]]:
        """Return what each node that is alive has."""
        return [node["Resources"] for node in self._ray.nodes() if node["Alive"]]

    def _room(self) -> None:
        """Set how many bundles the nodes have room for. Raises GiftbenchError where none has room for a single one."""
        nodes = self._nodes()
        rooms = [min(_fits(node.get("CPU", 0.0), self.cpus), _fits(node.get("GPU", 0.0), self.gpus)) for node in nodes]
        if not sum(rooms):
            there = "; ".join(f"{node.get('CPU', 0):g} CPUs, {node.get('GPU', 0):g} GPUs" for node in nodes[:4])
            raise GiftbenchError(
                f"executor 'ray': a bundle needs {self.cpus:g} CPUs and {self.gpus:g} GPUs of one node, and none of the "
                f"cluster's {len(nodes)} has them ({there}); give cpus and gpus, or another address"
            )
        self.jobs, self._looked = min(sum(rooms), self._asked or sum(rooms)), time.monotonic()

    def _look(self) -> None:
        """Look now and then which nodes there are; while none is left, what runs is waited for."""
        if time.monotonic() - self._looked > LOOK:
            try:
                self._room()
            except GiftbenchError:
                if not self._tasks:
                    raise

    def _give(self, bundle: list[Trial]) -> None:
        number = min({*range(len(self._tasks) + 1)} - {task.number for task in self._tasks.values()})
        threads = str(self.settings.threads)
        variables = {name: value for name, value in os.environ.items() if name.startswith("GIFTBENCH_")}
        variables |= {"OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads}
        how = {"num_cpus": self.cpus, "num_gpus": self.gpus, "runtime_env": {"env_vars": variables}}
        work = self._ray.remote(num_returns="streaming", max_retries=0, scheduling_strategy="SPREAD", **how)(_work)
        stream = work.remote([trial.model_dump_json() for trial in bundle], self.settings)
        self._tasks[stream] = _Task(stream, number, bundle)

    def _end_late(self) -> None:
        """End the tasks whose trials take longer than they may; the stream then says that it was cancelled."""
        for task in self._tasks.values():
            if task.deadline <= time.monotonic() and not task.late:
                task.late = True
                self._ray.cancel(task.stream, force=True)

    def _next(self, task: _Task, queue: Bundles) -> Iterator[Event]:
        """Yield the events of the next thing that a worker says; of a worker that is lost, what becomes of its trials."""
        errors = self._ray.exceptions
        try:
            kind, content = self._ray.get(next(task.stream))
        except StopIteration:
            del self._tasks[task.stream]
            return
        except (errors.RayTaskError, errors.RuntimeEnvSetupError) as error:
            if task.late:
                yield from self._lost(task, queue, error)
                return
            reason = " ".join(str(error).split())[-300:]
            raise GiftbenchError(f"executor 'ray': a node cannot run trials: {reason}") from error
        except errors.RayError as error:
            yield from self._lost(task, queue, error)
            return
        if kind == "start":
            begun = task.bundle[task.started : task.started + content]
            task.started += content
            task.deadline = time.monotonic() + (self.settings.timeout or inf) * task.started
            yield from (Event("start", trial, worker=task.number) for trial in begun)
        else:
            task.started -= 1
            yield Event("end", task.bundle.pop(0), Record.model_validate_json(content), task.number)

    def _lost(self, task: _Task, queue: Bundles, error: Exception) -> Iterator[Event]:
        """Have what a lost task, or one that took too long, has not ended run again; yield the end of what failed."""
        del self._tasks[task.stream]
        self._looked = -inf
        why = too_long(self.settings.timeout) if task.late else _reason(error)
        failed = queue.lost(task.bundle, task.started, why, task.late)
        if failed is not None:
            yield Event("end", failed.trial, failed, task.number)


def _fits(there: float, each: float) -> int:
    """Return how many bundles there is room for: fractions of a device do not reach over to the next one."""
    if not each:
        return 10**6
    return int(there) * int(1 / each + 1e-9) if each < 1 else int(there / each + 1e-9)


def _reason(error: Exception) -> str:
    """Return why a worker was lost, in one line."""
    names = {"OutOfMemoryError": "out of memory, killed by Ray", "NodeDiedError": "its node died"}
    said = " ".join(str(error).split()).partition(". ")[0][:200]
    return f"its worker was lost: {names.get(type(error).__name__, said)}"


# -- on a node ---------------------------------------------------------------------------------------------------------------


def _work(texts: Sequence[str], settings: Settings) -> Iterator[tuple[str, Any]]:
    """Run a bundle; yield how many of its trials start, and each record as its JSON."""
    from harness.running.executors import work

    if (key := repr(settings)) not in _benches:
        _benches.clear()  # of a run that is over
        _benches[key] = work.bench(settings)
    for word in work.said(texts, _benches[key], settings.facts):
        if word[0] == "lost":  # this process can use its device no more
            os._exit(1)
        yield word


#: What this worker keeps between bundles, by the settings of the run.
_benches: dict[str, Workbench] = {}
