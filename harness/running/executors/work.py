"""One bundle of trials, run to records: what every executor's worker does, and what it says of it."""

from __future__ import annotations

import gc
import platform
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from functools import cache, partial
from typing import Literal

import torch

from harness.boards.protocol import Precision
from harness.boards.records import Environment, Record
from harness.boards.trial import Trial
from harness.core import plugins
from harness.core.errors import GiftbenchError, PluginError
from harness.planning.artefacts import Artefacts
from harness.running import plugged
from harness.running.executors import memory
from harness.running.executors.protocol import Settings
from harness.running.scenario import Outcome, Scenario, made_at_once, named
from harness.running.workbench import Workbench
from harness.training.devices import arithmetic, deterministic, device_name

#: In the error of a trial that has left its process without a device: whatever it trained next would fail too.
BROKEN = "CUDA error"
#: What a worker says of its bundle: how many trials start, a record as JSON, or why it can run no more.
Word = tuple[Literal["start"], int] | tuple[Literal["record", "lost"], str]


def bench(settings: Settings) -> Workbench:
    """Return what runs trials in this process, once it computes as its settings say and has loaded their plugins."""
    torch.set_num_threads(settings.threads)
    if settings.device == "cpu":
        memory.keep_freed()
    plugins.load_files(settings.plugins)
    return Workbench(
        settings.device,
        Artefacts(settings.artefacts),
        settings.data_dir,
        stack=settings.stack,
        checkpoints=settings.checkpoints,
        deterministic=settings.deterministic,
        labels=settings.labels,
        compiling=settings.compiling,
    )


def said(texts: Sequence[str], workbench: Workbench, facts: dict[str, object]) -> Iterator[Word]:
    """Run a bundle, trials as JSON, and yield what its worker says; after `lost` the process is to end."""
    trials = [Trial.model_validate_json(text) for text in texts]
    waiting = len(trials) - at_once(trials)
    yield "start", len(trials) - waiting
    for record in run_bundle(trials, workbench, facts):
        if record.status == "failed" and BROKEN in record.error:
            yield "lost", record.error
            return
        yield "record", record.model_dump_json(by_alias=True)
        if waiting:
            waiting -= 1
            yield "start", 1


def at_once(trials: Sequence[Trial]) -> int:
    """Return how many of a bundle's trials start at its beginning: all, or one where their scenario makes one after the other."""
    return len(trials) if made_at_once(named(trials[0].scenario)) else 1


def run_bundle(
    trials: Sequence[Trial], workbench: Workbench, facts: dict[str, object] | None = None, scenario: Scenario | None = None
) -> Iterator[Record]:
    """Yield one record a trial. An error ends its own trial as `failed`; the trials after it still run.

    An error of several trials at once is nobody's yet: each of them runs again, alone. Trials that were made in one pass share
    its time.

    `facts` are added to the records' environment (the commit, say); `scenario` defaults to the one that the trials name.
    """
    pending = list(trials)
    while pending:
        started, passed, sharing, before = time.perf_counter(), 0.0, 0, len(pending)
        outcomes = _outcomes(scenario or named(pending[0].scenario), pending, workbench)
        try:
            for outcome in outcomes:
                if not sharing:
                    sharing = outcome.beside or outcome.together
                    passed = time.perf_counter() - started
                sharing -= 1
                record = _record(pending[0], outcome, passed * (outcome.share or 1 / outcome.together), workbench, facts)
                del pending[0]
                yield record
                if not sharing:
                    started = time.perf_counter()
            if pending:
                raise PluginError(f"scenario {pending[0].scenario!r} gave fewer outcomes than trials")
        except Exception as error:
            if len(pending) == before > 1:
                del error
                _let_go()
                for trial in pending:
                    yield from run_bundle([trial], workbench, facts, scenario)
                return
            failed = pending.pop(0)
            seconds = {"total": time.perf_counter() - started}
            yield Record.of(
                failed, "failed", error=explain(error), timing=seconds, environment=environment(failed, workbench, facts)
            )
            del error
            _let_go()


def _outcomes(scenario: Scenario, trials: Sequence[Trial], workbench: Workbench) -> Iterator[Outcome]:
    """Yield what a scenario makes of trials, each in their precision; between them torch's settings are the caller's."""
    for trial in trials:
        plugged.check(trial)
    workbench.begin(trials, {trial.id: scenario.asks(trial) for trial in trials})
    own = partial(_computing, workbench, trials[0].protocol.precision)
    with own():
        outcomes = iter(scenario.run_bundle(tuple(trials), workbench))
    while True:
        with own():
            outcome = next(outcomes, None)
        if outcome is None:
            workbench.end()
            return
        yield outcome


@contextmanager
def _computing(workbench: Workbench, precision: Precision) -> Iterator[None]:
    with deterministic() if workbench.deterministic else nullcontext(), arithmetic(workbench.device, precision):
        yield


def _let_go() -> None:
    """Free what a training that failed has left."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def _record(trial: Trial, outcome: Outcome, seconds: float, workbench: Workbench, facts: Mapping[str, object] | None) -> Record:
    shared = outcome.together > 1
    how = {**({"together": outcome.together} if shared else {"trained": "alone"}), **outcome.facts}
    return Record.of(
        trial,
        outcome.status,
        metrics=outcome.metrics,
        history=outcome.history,
        timing={"total": seconds, **outcome.timing},
        environment=environment(trial, workbench, {**(facts or {}), **how}),
    )


def explain(error: BaseException) -> str:
    """Return an error in one line; running out of memory is called so."""
    text = " ".join(str(error).split())[:500]
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)) or "can't allocate memory" in text:
        return f"out of memory: {text}" if text else "out of memory"
    return f"{type(error).__name__}: {text}"


def environment(trial: Trial, workbench: Workbench, facts: Mapping[str, object] | None) -> Environment:
    """Return what a record says of where it was made."""
    known = {
        "versions": versions(_packages(trial.scenario)),
        "device": device_name(workbench.device),
        "threads": torch.get_num_threads(),
        "precision": trial.protocol.precision,
        **({"deterministic": True} if workbench.deterministic else {}),
        **({"convolutions": "fast"} if trial.id in workbench.fast else {}),
    }
    return Environment.model_validate({**known, **(facts or {})})


def _packages(scenario: str) -> tuple[str, ...]:
    try:
        return type(named(scenario)).packages
    except GiftbenchError:
        return ()


@cache
def versions(packages: tuple[str, ...] = ()) -> dict[str, str]:
    """Return the versions that numbers depend on, those of further `packages` too."""
    from importlib.metadata import PackageNotFoundError, version

    numbers = {"Python": platform.python_version()}
    for package in ("giftbench", "torch", "timm", "kornia", *packages):
        try:
            numbers[package] = version(package)
        except PackageNotFoundError:
            numbers[package] = "not installed"
    return numbers
