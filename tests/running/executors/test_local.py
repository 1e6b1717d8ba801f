"""Workers on this machine: who is handed what, what becomes of a worker's trials when it dies, and what it is started with."""

from __future__ import annotations

import gc
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from harness.boards.records import Record
from harness.boards.trial import Trial
from harness.running.executors import local
from harness.running.executors.local import Workers
from harness.running.executors.protocol import Event, Settings, reason
from tests.simulated_boards import trial

TRIALS = [trial(seed=seed) for seed in range(6)]
#: How the workers of a test were started, in their order.
METHODS: list[str] = []
Message = tuple[str, Any]
#: What a worker sends of a bundle; a number ends it with that exit status.
Script = Callable[[Sequence[Trial]], Iterator[Message | int]]


def ended(one: Trial) -> Message:
    return "record", Record.of(one, "done").model_dump_json(by_alias=True)


def good(bundle: Sequence[Trial]) -> Iterator[Message | int]:
    for one in bundle:
        yield "start", 1
        yield ended(one)


class Process(threading.Thread):
    """A worker's process, as a thread that plays a script."""

    script: Script = staticmethod(good)
    started: list[Process]

    def __init__(self, target: Any, args: tuple[Connection, Settings, dict[str, str]], daemon: bool) -> None:
        super().__init__(daemon=daemon)
        pipe, self.settings, self.environment = args
        self.pipe = Connection(os.dup(pipe.fileno()))  # as a process has, for this one closes its own
        self.bundles: list[list[int]] = []
        self.exitcode: int | None = None
        self.killed = False
        self.ended = threading.Event()
        self.pid = len(self.started)
        self.threads = os.environ.get("OMP_NUM_THREADS")
        self.frozen = gc.get_freeze_count() > 0
        self.started.append(self)

    def run(self) -> None:
        with self.pipe, suppress(EOFError, ConnectionError):  # the parent has let go of it
            while (message := self.pipe.recv()) is not None:
                bundle = [Trial.model_validate_json(text) for text in message]
                self.bundles.append([one.seed for one in bundle])
                for told in type(self).script(bundle):
                    if isinstance(told, int):
                        self.exitcode = told
                        return
                    self.pipe.send(told)
                self.pipe.send(("idle", None))
            self.exitcode = 0

    def kill(self) -> None:
        self.killed = True

    def join(self, timeout: float | None = None) -> None:
        if not self.killed:
            super().join(timeout)


@pytest.fixture
def processes(monkeypatch: pytest.MonkeyPatch) -> list[Process]:
    """Have workers be threads that do what `Process.script` says; return them as they are made."""
    monkeypatch.setattr(Process, "started", [], raising=False)
    context = SimpleNamespace(Pipe=multiprocessing.Pipe, Process=Process)

    def context_of(method: str) -> SimpleNamespace:
        METHODS.append(method)
        return context

    METHODS.clear()
    monkeypatch.setattr(local.multiprocessing, "get_context", context_of)
    monkeypatch.setattr(local, "forks", lambda device: False)
    return Process.started


@pytest.fixture
def run(processes: list[Process], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., list[Event]]:
    """Return a runner of bundles of these seeds, by workers that play a script; its events come in their order."""

    def events(*bundles: Sequence[int], jobs: int = 1, script: Script = good) -> list[Event]:
        monkeypatch.setattr(Process, "script", staticmethod(script))
        with Workers(Settings("cpu", 1, tmp_path), jobs) as workers:
            return list(workers.run(iter([[TRIALS[seed] for seed in seeds] for seeds in bundles])))

    return events


def told(events: Sequence[Event]) -> list[tuple[str, int]]:
    return [(event.kind if event.record is None else event.record.status, event.trial.seed) for event in events]


# -- who is handed what ------------------------------------------------------------------------------------------------------


def test_one_worker_takes_the_bundles_in_their_order(run: Callable[..., list[Event]], processes: list[Process]) -> None:
    events = run([4], [0, 1], [2])
    assert told(events) == [(kind, seed) for seed in (4, 0, 1, 2) for kind in ("start", "done")]
    assert [event.trial for event in events if event.kind == "start"] == [TRIALS[seed] for seed in (4, 0, 1, 2)]
    (process,) = processes
    assert (process.bundles, process.exitcode) == ([[4], [0, 1], [2]], 0)


@pytest.mark.parametrize(("bundles", "jobs", "workers"), [(6, 2, 2), (6, 1, 1), (2, 4, 2), (0, 2, 0)])
def test_there_are_as_many_workers_as_jobs_and_no_more_than_bundles(
    run: Callable[..., list[Event]], processes: list[Process], bundles: int, jobs: int, workers: int
) -> None:
    events = run(*([seed] for seed in range(bundles)), jobs=jobs)
    assert len(processes) == workers
    assert sorted(told(events)) == sorted((kind, seed) for seed in range(bundles) for kind in ("start", "done"))
    assert {event.worker for event in events} <= set(range(workers))
    assert sorted(seed for process in processes for (seed,) in process.bundles) == list(range(bundles))


def test_trials_that_start_at_once_are_told_so(run: Callable[..., list[Event]]) -> None:
    def stacked(bundle: Sequence[Trial]) -> Iterator[Message | int]:
        yield "start", len(bundle)
        yield from map(ended, bundle)

    assert told(run([0, 1, 2], script=stacked)) == [(kind, seed) for kind in ("start", "done") for seed in range(3)]


# -- workers that die --------------------------------------------------------------------------------------------------------


def dies(seed: int, status: int = -9, at_once: bool = False) -> Script:
    """Return a script that ends the worker on the trial of this seed, once it has started."""

    def script(bundle: Sequence[Trial]) -> Iterator[Message | int]:
        if at_once:
            yield "start", len(bundle)
        for one in bundle:
            if not at_once:
                yield "start", 1
            yield status if one.seed == seed else ended(one)

    return script


@pytest.mark.parametrize("status", [-9, -11, 3])
def test_a_trial_that_kills_its_worker_is_run_once_more_alone_and_then_failed_and_others_take_the_rest(
    run: Callable[..., list[Event]], processes: list[Process], status: int
) -> None:
    events = run([0, 1, 2], [3], script=dies(1, status))
    assert told(events) == [
        *(("start", 0), ("done", 0), ("start", 1), ("start", 1), ("failed", 1)),
        *(("start", 2), ("done", 2), ("start", 3), ("done", 3)),
    ]
    (record,) = [event.record for event in events if event.record is not None and event.record.status == "failed"]
    assert record.error == reason(status)
    assert record.id == TRIALS[1].id
    assert [process.bundles for process in processes] == [[[0, 1, 2]], [[1]], [[2], [3]]]
    assert {event.worker for event in events} == {0}, "the next worker has the number of the one whose place it takes"


def test_a_trial_whose_worker_dies_once_is_done(run: Callable[..., list[Event]], processes: list[Process]) -> None:
    def script(bundle: Sequence[Trial]) -> Iterator[Message | int]:
        yield "start", 1
        yield -9 if len(processes) == 1 else ended(bundle[0])
        for one in bundle[1:]:
            yield "start", 1
            yield ended(one)

    events = run([0, 1], [2], script=script)
    assert [(kind, seed) for kind, seed in told(events) if kind != "start"] == [("done", seed) for seed in range(3)]
    assert [process.bundles for process in processes] == [[[0, 1]], [[0], [1], [2]]]


def test_a_bundle_is_pulled_when_a_worker_is_free_and_not_before(run: Callable[..., list[Event]], tmp_path: Path) -> None:
    pulled: list[int] = []

    def bundles() -> Iterator[list[Trial]]:
        for one in TRIALS[:4]:
            pulled.append(one.seed)
            yield [one]

    with Workers(Settings("cpu", 1, tmp_path), 2) as workers:
        ends = 0
        for event in workers.run(bundles()):
            ends += event.kind == "end"
            assert len(pulled) <= ends + 2
    assert (pulled, ends) == ([0, 1, 2, 3], 4)


def test_of_several_trials_at_once_each_is_run_again_alone_and_the_one_that_kills_fails(
    run: Callable[..., list[Event]], processes: list[Process]
) -> None:
    events = run([0, 1, 2], [3], script=dies(1, at_once=True))
    assert told(events)[:4] == [("start", 0), ("start", 1), ("start", 2), ("done", 0)]
    assert told(events)[4:] == [
        *(("start", 1), ("failed", 1)),
        *(("start", 2), ("done", 2), ("start", 3), ("done", 3)),
    ]
    assert [process.bundles for process in processes] == [[[0, 1, 2]], [[1]], [[2], [3]]]


def test_workers_that_die_before_their_first_trial_are_not_started_for_ever(
    run: Callable[..., list[Event]], processes: list[Process]
) -> None:
    def script(bundle: Sequence[Trial]) -> Iterator[Message | int]:
        if len(processes) > 12:  # whoever goes on starting them gets an end, and another than is expected
            yield from map(ended, bundle)
        yield 3

    events = run([0, 1], [2], script=script)
    assert told(events) == [("failed", 0), ("failed", 1), ("failed", 2)]
    assert all("exit status 3" in event.record.error for event in events if event.record is not None)
    assert len(processes) == 6


@pytest.mark.parametrize("times", [1, 9])
def test_a_worker_whose_device_is_lost_ends_and_its_trial_is_run_once_more_by_another(
    run: Callable[..., list[Event]], processes: list[Process], times: int
) -> None:
    error = "AcceleratorError: CUDA error: an illegal memory access was encountered"

    def script(bundle: Sequence[Trial]) -> Iterator[Message | int]:
        for one in bundle:
            yield "start", 1
            if one.seed == 1 and len(processes) <= times:
                yield "lost", error
                yield 0
            yield ended(one)

    events = run([0, 1, 2], script=script)
    last = ("done", 1) if times == 1 else ("failed", 1)
    assert [pair for pair in told(events) if pair[0] != "start"] == [("done", 0), last, ("done", 2)]
    assert [event.record.error for event in events if event.record is not None and event.record.status == "failed"] == (
        [] if times == 1 else [error]
    )


def test_a_worker_gives_up_after_a_trial_that_has_broken_its_device_and_after_no_other(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from harness.core import plugins
    from harness.running.executors import memory, work

    errors = iter(["ValueError: CUDA is a word", "RuntimeError: CUDA error: device-side assert triggered", "never reached"])
    monkeypatch.setattr(local, "_end_with_parent", lambda: None)
    monkeypatch.setattr(local.signal, "signal", lambda number, handler: None)
    monkeypatch.setattr(memory, "keep_freed", lambda: True)
    monkeypatch.setattr(plugins, "load_files", lambda files: None)
    monkeypatch.setattr(work, "at_once", len)
    monkeypatch.setattr(work, "run_bundle", lambda trials, *_: (Record.of(one, "failed", error=next(errors)) for one in trials))
    ours, theirs = multiprocessing.Pipe()
    ours.send([one.model_dump_json() for one in TRIALS[:3]])
    local._work(theirs, Settings("cpu", torch_threads(), tmp_path), dict(os.environ))
    theirs.close()
    messages = []
    with suppress(EOFError):
        while True:
            messages.append(ours.recv())
    assert [kind for kind, _ in messages] == ["start", "record", "lost"]
    assert messages[-1][1] == "RuntimeError: CUDA error: device-side assert triggered"


def torch_threads() -> int:
    import torch

    return torch.get_num_threads()


def test_a_worker_that_dies_between_two_bundles_fails_nothing(run: Callable[..., list[Event]], processes: list[Process]) -> None:
    def script(bundle: Sequence[Trial]) -> Iterator[Message | int]:
        yield from good(bundle)
        yield 1

    assert told(run([0], [1, 2], script=script)) == [(kind, seed) for seed in range(3) for kind in ("start", "done")]
    assert [process.bundles for process in processes] == [[[0]], [[1, 2]]]


def test_a_trial_that_takes_longer_than_it_may_is_ended_and_failed_and_not_tried_again(
    run: Callable[..., list[Event]], processes: list[Process], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Of several at once each is tried alone; trials that follow each other have their time each."""
    killed: list[int] = []

    def kill(number: int, sign: int) -> None:
        killed.append(sign)
        process = processes[number]
        process.exitcode = -9
        process.ended.set()

    def script(bundle: Sequence[Trial]) -> Iterator[Message | int]:
        yield "start", len(bundle)
        if any(one.seed == 1 for one in bundle):
            processes[-1].ended.wait(20)
            yield -9
        for one in bundle:
            yield ended(one)

    monkeypatch.setattr(local.os, "kill", kill)
    monkeypatch.setattr(Process, "script", staticmethod(script))
    with Workers(Settings("cpu", 1, tmp_path, timeout=0.2), 1) as workers:
        events = list(workers.run(iter([[TRIALS[0]], [TRIALS[1], TRIALS[2]], [TRIALS[3]]])))
    assert [(kind, seed) for kind, seed in told(events) if kind != "start"] == [
        *(("done", 0), ("failed", 1), ("done", 2), ("done", 3))
    ]
    (record,) = [event.record for event in events if event.record is not None and event.record.status == "failed"]
    assert record.error == "longer than the board's timeout of 0.2 s"
    assert killed == [signal.SIGKILL] * 2
    assert [process.bundles for process in processes] == [[[0], [1, 2]], [[1]], [[2], [3]]]


def test_a_worker_that_cannot_be_started_is_started_again_and_not_for_ever(
    processes: list[Process], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    left, pauses = [local.ATTEMPTS - 1], list[float]()

    def start(process: Process) -> None:
        if left[0]:
            left[0] -= 1
            raise ConnectionRefusedError("the fork server is gone")
        threading.Thread.start(process)

    monkeypatch.setattr(Process, "start", start)
    monkeypatch.setattr(local.time, "sleep", pauses.append)
    with Workers(Settings("cpu", 1, tmp_path), 1) as workers:
        assert len(list(workers.run(iter([[TRIALS[0]]])))) == 2
        assert sum(pauses) > 2, "one that is killed refuses for a while"
        left[0] = local.ATTEMPTS
        with pytest.raises(ConnectionRefusedError):
            list(workers.run(iter([[TRIALS[0]]])))


# -- what they are started with ----------------------------------------------------------------------------------------------


def test_workers_are_ended_with_whatever_they_are_on(
    processes: list[Process], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    workers = Workers(Settings("cpu", 1, tmp_path), 2)
    monkeypatch.setattr(Process, "script", staticmethod(lambda bundle: iter([("start", 1)])))
    with workers:
        events = workers.run(iter([[TRIALS[0]], [TRIALS[1]]]))
        next(events)
    assert [process.killed for process in processes] == [True, True]


def test_a_worker_that_was_prepared_is_the_first_to_be_given_a_bundle_and_ended_if_it_is_given_none(
    processes: list[Process], tmp_path: Path
) -> None:
    for bundles in ([[TRIALS[0]]], []):
        with Workers(Settings("cpu", 1, tmp_path), 1) as workers:
            workers.prepare()
            workers.prepare()
            list(workers.run(iter(bundles)))
    used, unused = processes
    assert (used.bundles, used.killed) == ([[0]], False)
    assert (unused.bundles, unused.killed) == ([], True)


@pytest.fixture
def forking(processes: list[Process], monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """Have workers be forked, and the fork server be one that is told of alone; return what it is told."""
    servers: list[tuple[str, int]] = []
    monkeypatch.setattr(local, "forks", lambda device: True)
    monkeypatch.setattr(local, "preload", lambda device, threads: servers.append((device, threads)))
    monkeypatch.setattr(local.threading, "active_count", lambda: 1)
    return servers


def test_a_process_that_has_computed_nothing_forks_all_workers_itself_and_those_that_follow_a_dead_one_come_of_a_server(
    forking: list[tuple[str, int]], processes: list[Process], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(Process, "script", staticmethod(dies(1)))
    with Workers(Settings("cpu", 1, tmp_path), 2, unused=True) as workers:
        workers.prepare()
        assert (METHODS, forking) == (["fork", "fork"], [])
        assert [process.frozen for process in processes] == [True, True], "what is loaded is never garbage in a worker"
        assert gc.get_freeze_count() == 0, "and is what it was in this process"
        events = list(workers.run(iter([[TRIALS[0]], [TRIALS[1]], [TRIALS[2]]])))
    assert sorted(seed for kind, seed in told(events) if kind == "done") == [0, 2]
    assert {event.worker for event in events if event.trial.seed == 1} <= {0, 1}
    assert set(METHODS[2:]) == {"forkserver"}
    assert len(METHODS) > 2
    assert set(forking) == {("cpu", 1)}


def test_what_the_trials_load_is_loaded_before_workers_are_forked_and_left_to_them_elsewhere(
    forking: list[tuple[str, int]], processes: list[Process], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    loaded: list[tuple[str, int]] = []
    note = "harness.running.executors.libraries.load"
    monkeypatch.setattr(note, lambda modules: loaded.extend((module, len(processes)) for module in modules))
    for unused in (False, True):
        with Workers(Settings("cpu", 1, tmp_path), 1, unused=unused, modules=("one", "two")) as workers:
            workers.prepare()
    assert loaded == [("one", 0), ("two", 0)]


def test_a_process_that_cannot_be_forked_again_has_the_missing_workers_come_of_a_server(
    forking: list[tuple[str, int]], processes: list[Process], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    begin = Workers._begin

    def refused(workers: Workers, number: int, method: Any) -> Any:
        if method == "fork":
            raise BlockingIOError("no more processes")
        return begin(workers, number, method)

    monkeypatch.setattr(Workers, "_begin", refused)
    with Workers(Settings("cpu", 1, tmp_path), 2, unused=True) as workers:
        workers.prepare()
        events = list(workers.run(iter([[TRIALS[0]], [TRIALS[1]]])))
    assert sorted(seed for kind, seed in told(events) if kind == "done") == [0, 1]
    assert set(METHODS) == {"forkserver"}


@pytest.mark.parametrize(("unused", "threads"), [(False, 1), (True, 2)])
def test_a_process_that_may_have_computed_forks_no_worker(
    forking: list[tuple[str, int]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, unused: bool, threads: int
) -> None:
    monkeypatch.setattr(local.threading, "active_count", lambda: threads)
    with Workers(Settings("cpu", 1, tmp_path), 1, unused=unused) as workers:
        workers.prepare()
        assert (METHODS, forking) == ([], [("cpu", 1)])
        list(workers.run(iter([[TRIALS[0]]])))
    assert METHODS == ["forkserver"]


def test_a_process_is_fresh_until_it_loads_torch_or_begins_a_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local.threading, "active_count", lambda: 1)
    assert not local.fresh(), "this one has loaded torch"
    monkeypatch.setattr(local.sys, "modules", {})
    assert local.fresh()
    monkeypatch.setattr(local.threading, "active_count", lambda: 2)
    fresh = local.fresh()
    monkeypatch.undo()
    assert not fresh


def test_a_worker_has_its_own_threads_and_this_processs_environment_which_stays_as_it_was(
    processes: list[Process], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
    monkeypatch.setenv("GIFTBENCH_TROUBLE", "said")
    settings = Settings("cpu", 3, tmp_path)
    with Workers(settings, 1) as workers:
        list(workers.run(iter([[TRIALS[0]]])))
    (process,) = processes
    assert (process.threads, process.environment["OMP_NUM_THREADS"], process.environment["MKL_NUM_THREADS"]) == ("3", "3", "3")
    assert process.environment["GIFTBENCH_TROUBLE"] == "said"
    assert process.settings is settings
    assert (os.environ["OMP_NUM_THREADS"], "MKL_NUM_THREADS" in os.environ) == ("7", False)


def test_each_worker_sees_one_of_several_devices_and_its_successor_the_same(
    run: Callable[..., list[Event]], processes: list[Process], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,GPU-5")
    monkeypatch.setattr(Process, "script", staticmethod(dies(1)))
    with Workers(Settings("cpu", 1, tmp_path), 4, ("3", "GPU-5")) as workers:
        workers.prepare()
        events = list(workers.run(iter([[one] for one in TRIALS])))
    seen = [process.environment["CUDA_VISIBLE_DEVICES"] for process in processes]
    assert seen[:4] == ["3", "GPU-5", "3", "GPU-5"]
    assert {event.worker for event in events if event.trial.seed == 1} <= {1}, "it died on the second, and runs there again"
    assert set(seen[4:]) == {"GPU-5"}
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "3,GPU-5"


@pytest.mark.parametrize(
    ("device", "count", "named", "expected"),
    [
        ("cpu", 2, None, ()),
        ("cuda", 1, None, ()),
        ("cuda:1", 2, None, ()),
        ("cuda", 2, None, ("0", "1")),
        ("cuda", 2, "4, 6", ("4", "6")),
        ("cuda", 2, "GPU-a,GPU-b", ("GPU-a", "GPU-b")),
        ("cuda", 3, "", ("0", "1", "2")),
    ],
)
def test_workers_are_divided_among_the_gpus_that_this_process_sees(
    monkeypatch: pytest.MonkeyPatch, device: str, count: int, named: str | None, expected: tuple[str, ...]
) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if named is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", named)
    assert local.visible(device) == expected


@pytest.mark.parametrize(
    ("device", "platform", "driver", "expected"),
    [
        ("cpu", "linux", True, True),
        ("cpu", "darwin", False, False),
        ("cpu", "win32", False, False),
        ("auto", "linux", False, True),
        ("auto", "linux", True, False),
        ("cuda", "linux", False, False),
        ("cuda:1", "linux", True, False),
    ],
)
def test_workers_are_forked_for_the_cpu_under_linux_alone(
    monkeypatch: pytest.MonkeyPatch, device: str, platform: str, driver: bool, expected: bool
) -> None:
    monkeypatch.setattr(local.sys, "platform", platform)
    monkeypatch.setattr(local.Path, "exists", lambda path: driver)
    forked = local.forks(device)
    monkeypatch.undo()
    assert forked is expected


def test_a_worker_process_answers_with_records_that_hold_the_facts_of_the_run(tmp_path: Path) -> None:
    """A process of its own; what the trials rest on is not there, so that it trains nothing."""
    settings = Settings("cpu", 2, tmp_path, facts={"machine": "this one"})
    with Workers(settings, 1) as workers:
        events = list(workers.run(iter([[TRIALS[0]], [TRIALS[1]]])))
    assert told(events) == [(kind, seed) for seed in (0, 1) for kind in ("start", "failed")]
    for event in events[1::2]:
        assert event.record is not None
        assert "dataset digits has digest " in event.record.error
        assert event.record.environment.stated()["machine"] == "this one"
    assert not list(tmp_path.iterdir()), "workers compute; the parent alone writes"
