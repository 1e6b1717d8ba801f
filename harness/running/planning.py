"""From a board to its trials: names checked, every scenario asked."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import count

from harness import datasets, losses, models, optimizers
from harness.boards.board import Board
from harness.boards.protocol import Protocol
from harness.boards.trial import Trial
from harness.core.errors import BoardError, at
from harness.core.spec import Spec
from harness.distilled import distillers, readers
from harness.planning.plan import NATIVE, Plan
from harness.planning.preparation import Preparation
from harness.planning.resolution import resolve_loss
from harness.running.overrides import Overrides
from harness.running.scenario import named

__all__ = ["Overrides", "check_names", "describe", "plan"]


def check_names(board: Board, source: str) -> None:
    """Check every name and parameter on a board of one part before anything is made. Raises with the place in the file."""

    def each(values: Sequence[Spec] | None, place: str, resolve: Callable[[Spec], object]) -> None:
        for i, value in enumerate(values or ()):
            with at(f"{source}: {place}[{i}]"):
                resolve(value)

    with at(f"{source}: dataset"):
        datasets.registry.resolve(board.dataset)
    with at(f"{source}: model"):
        models.registry.resolve(board.model)
    each(board.losses, "losses", _check_loss)
    each(board.teacher.models, "teacher.models", models.registry.resolve)
    with at(f"{source}: teacher.optimizer"):
        optimizers.resolve(board.teacher.optimizer)
    with at(f"{source}: teacher.schedule"):
        optimizers.schedules.resolve(board.teacher.schedule)
    _check_protocol(board.protocol, f"{source}: protocol")
    for i, spec in enumerate(board.sets):
        with at(f"{source}: sets[{i}]"):
            if spec.method:
                distillers.resolve(Spec(name=spec.method, options=spec.options))
            if spec.format:
                readers.resolve(Spec(name=spec.format, options=spec.options))
            if spec.native is not None:
                losses.registry.resolve(spec.native)
    for i, scenario in enumerate(board.scenarios):
        place = f"scenarios[{i}]"
        with at(f"{source}: {place}.name"):
            named(scenario.name)
        each(scenario.losses, f"{place}.losses", _check_loss)
        if scenario.model is not None:
            with at(f"{source}: {place}.model"):
                models.registry.resolve(scenario.model)
        if scenario.optimizer is not None:
            with at(f"{source}: {place}.optimizer"):
                optimizers.resolve(scenario.optimizer)
        if scenario.protocol is not None:
            _check_protocol(scenario.protocol, f"{source}: {place}.protocol")


def _check_loss(spec: Spec) -> None:
    if spec.name == NATIVE and not spec.options:
        return
    resolve_loss(spec)  # only a call tells a value out of its range


def _check_protocol(protocol: Protocol, place: str) -> None:
    with at(f"{place}.optimizer"):
        if protocol.optimizer.name != NATIVE:
            optimizers.resolve(protocol.optimizer)
    with at(f"{place}.schedule"):
        if protocol.schedule.name != NATIVE:
            optimizers.schedules.resolve(protocol.schedule)


def plan(preparation: Preparation, counter: Iterator[int] | None = None) -> list[Trial]:
    """Return the trials of a board, or of one of its parts, in order, each once.

    `counter` numbers the trials; the parts of one board share it. Raises BoardError with the place of what is wrong.
    """
    check_names(preparation.board, preparation.source)
    trials: dict[str, Trial] = {}
    counter = count() if counter is None else counter
    for i, spec in enumerate(preparation.board.scenarios):
        scenario = named(spec.name)
        view = Plan(preparation, spec, f"{preparation.source}: scenarios[{i}]", counter, scenario.version)
        within: set[str] = set()
        for trial in scenario.ask(view):
            if trial.id in within:
                raise BoardError(
                    f"{view.place}: scenario {spec.name!r} yields two trials with one id ({describe(trial)}); "
                    "name a thing once, and put what differs into the trial's options"
                )
            within.add(trial.id)
            trials.setdefault(trial.id, trial)
    return list(trials.values())


def describe(trial: Trial) -> str:
    """Return a trial in a few words, for messages."""
    labels = trial.labels
    words = [labels.method, f"IPC {labels.ipc}", labels.loss, labels.model, labels.optimizer]
    return ", ".join(str(word) for word in words if word) + f", seed {trial.seed}"
