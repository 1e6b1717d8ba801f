"""What a board's trials load, by module, told before it is planned: workers that are forked afterwards share it."""

from __future__ import annotations

from collections.abc import Iterator

from harness import models
from harness.boards.board import Board, ScenarioSpec
from harness.core.spec import Spec
from harness.running.scenario import named

#: What trials load of a package that their scenario names (`harness.Scenario.packages`), where that takes seconds.
LOADED = {
    "avalanche-lib": (
        "avalanche.benchmarks.scenarios.supervised",
        "avalanche.benchmarks.utils.data_loader",
        "avalanche.training.supervised",
    ),
}


def modules(board: Board) -> tuple[str, ...]:
    """Return the modules, each once: those that ship of all students, and those of the packages that scenarios name.

    The options of the board's scenarios must have been checked (`harness.running.opening.check_scenarios`).
    """
    names: dict[str, None] = {}
    for part in board.boards:
        students = [part.model, *part.teacher.models]
        for entry in part.scenarios:
            students += [*_students(entry)]
            for package in named(entry.name).packages:
                names |= dict.fromkeys(LOADED.get(package, ()))
        shipped = (models.registry.module(student.name) for student in students if student.name in models.registry)
        names |= dict.fromkeys(filter(None, shipped))
    return tuple(names)


def _students(entry: ScenarioSpec) -> Iterator[Spec]:
    """Yield what a scenario's entry names that may be a student, in what every entry has and in the scenario's options."""
    if entry.model is not None:
        yield entry.model
    options = named(entry.name).Options.read(entry.name, entry.options, entry.name)
    for _, value in options:
        for choice in value if isinstance(value, list | tuple) else (value,):
            if isinstance(choice, Spec):
                yield choice
