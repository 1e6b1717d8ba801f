"""Every name and parameter on a board, checked before anything is made: by what stands behind the names, or by sources alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from harness import datasets, losses, models, optimizers
from harness.augmentation.steps import registry as augmentations
from harness.augmentation.words import NATIVE, plugged
from harness.boards.board import Board
from harness.boards.protocol import Protocol
from harness.boards.recipes import registry as protocols
from harness.core.errors import at
from harness.core.registry import Registry
from harness.core.spec import Spec
from harness.distilled import distillers, readers
from harness.running.scenario import registry as scenarios

#: Raises what is wrong with a name. The last argument tells a loss that students are trained under.
Check = Callable[[Registry[object], Spec, bool], object]


def loaded(registry: Registry[object], spec: Spec, trained_under: bool = False) -> None:
    """Check a name by what stands behind it; optimizers, and losses that students are trained under, are tried, too."""
    if trained_under or registry is optimizers.registry:
        from harness.planning.resolution import check_optimizer, resolve_loss

        tried = resolve_loss if trained_under else check_optimizer
        tried(spec)  # only a call tells a value out of its range
    else:
        registry.resolve(spec)


def as_written(registry: Registry[object], spec: Spec, trained_under: bool = False) -> None:
    """Check a name by the sources: nothing is loaded, and what cannot be told without is let pass."""
    registry.as_written(spec)


def check_names(board: Board, source: str, check: Check = loaded) -> None:
    """Check every name and parameter on a board of one part, but for the options of its scenarios.

    Raises: UnknownName, BadOption and their kin with the place in the file.
    """
    for place, registry, spec in _named(board):
        with at(f"{source}: {place}"):
            check(registry, spec, registry is losses.registry and not place.startswith("sets["))


def _named(board: Board) -> Iterator[tuple[str, Registry[object], Spec]]:
    """Yield each name: where it stands, what it is the name of, and itself."""
    yield "dataset", datasets.registry, board.dataset
    yield "model", models.registry, board.model
    yield from _losses(board.losses, "losses")
    for i, model in enumerate(board.teacher.models):
        yield f"teacher.models[{i}]", models.registry, model
    yield "teacher.optimizer", optimizers.registry, board.teacher.optimizer
    yield "teacher.schedule", optimizers.schedules, board.teacher.schedule
    yield from _augmentation(board.teacher.augmentation, "teacher.augmentation")
    yield from _protocol(board.protocol, "protocol")
    for i, spec in enumerate(board.sets):
        if spec.method:
            yield f"sets[{i}]", distillers, Spec(name=spec.method, options=spec.options)
        if spec.format:
            yield f"sets[{i}]", readers.registry, Spec(name=spec.format, options=spec.options)
        if spec.native is not None:
            yield f"sets[{i}]", losses.registry, spec.native
        if spec.protocol:
            yield from _protocol(Protocol.model_validate(spec.protocol), f"sets[{i}].protocol")
    for i, scenario in enumerate(board.scenarios):
        place = f"scenarios[{i}]"
        yield f"{place}.name", scenarios, Spec(name=scenario.name)
        yield from _losses(scenario.losses or (), f"{place}.losses")
        if scenario.model is not None:
            yield f"{place}.model", models.registry, scenario.model
        if scenario.optimizer is not None:
            yield f"{place}.optimizer", optimizers.registry, scenario.optimizer
        if scenario.protocol is not None:
            yield from _protocol(scenario.protocol, f"{place}.protocol")


def _losses(specs: tuple[Spec, ...], place: str) -> Iterator[tuple[str, Registry[object], Spec]]:
    for i, spec in enumerate(specs):
        if spec.name != NATIVE or spec.options:
            yield f"{place}[{i}]", losses.registry, spec


def _protocol(protocol: Protocol, place: str) -> Iterator[tuple[str, Registry[object], Spec]]:
    yield place, protocols, Spec(name=protocol.name)
    if protocol.optimizer.name != NATIVE:
        yield f"{place}.optimizer", optimizers.registry, protocol.optimizer
    if protocol.schedule.name != NATIVE:
        yield f"{place}.schedule", optimizers.schedules, protocol.schedule
    for text in protocol.augmentations:
        yield from _augmentation(text, f"{place}.augmentation")


def _augmentation(text: str, place: str) -> Iterator[tuple[str, Registry[object], Spec]]:
    for step in plugged(text):
        yield place, augmentations, step
