"""From a board to its trials: names checked, every scenario asked."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count

from harness.boards.trial import Trial, describe
from harness.core.errors import BoardError
from harness.planning.plan import Plan
from harness.planning.preparation import Preparation
from harness.running.names import check_names
from harness.running.overrides import Overrides
from harness.running.scenario import code_of, named

#: Trials of a board: their plan is held in memory.
MAX_TRIALS = 500_000

__all__ = ["Overrides", "describe", "plan"]


def plan(preparation: Preparation, counter: Iterator[int] | None = None) -> list[Trial]:
    """Return the trials of a board, or of one of its parts, in order, each once.

    `counter` numbers the trials; the parts of one board share it. Raises BoardError with the place of what is wrong.
    """
    check_names(preparation.board, preparation.source)
    trials: dict[str, Trial] = {}
    counter = count() if counter is None else counter
    for i, spec in enumerate(preparation.board.scenarios):
        scenario = named(spec.name)
        view = Plan(preparation, spec, f"{preparation.source}: scenarios[{i}]", counter, scenario.version, code_of(spec.name))
        within: set[str] = set()
        for trial in scenario.ask(view):
            if trial.id in within:
                raise BoardError(
                    f"{view.place}: scenario {spec.name!r} yields two trials with one id ({describe(trial)}); "
                    "name a thing once, and put what differs into the trial's options"
                )
            if len(trials) + len(within) > MAX_TRIALS:
                raise BoardError(f"{view.place}: the board asks for more than {MAX_TRIALS} trials; make it several boards")
            within.add(trial.id)
            trials.setdefault(trial.id, trial)
    return list(trials.values())
