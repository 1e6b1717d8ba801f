"""Do labels and losses hold under optimizers that the set was not distilled with?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import harness
from harness import OptimizerSpec, Paper, Scenario, ScenarioOptions, scenarios, specs

if TYPE_CHECKING:
    from harness import Figure, Plan, Table, Trial


@scenarios.register("cross-optimizer")
class CrossOptimizer(Scenario):
    """Accuracy under optimizers that the set was not distilled with (GIFT paper, Tables 5 and 12)."""

    version = 1
    paper = Paper("arXiv 2405.14736", tables=("5", "12"))
    columns = "optimizer"

    class Options(ScenarioOptions):
        optimizers: tuple[OptimizerSpec, ...] = specs("sgd", "adam", "adamw")

    def trials(self, view: Plan, options: Options) -> Iterator[Trial]:
        for optimizer in options.optimizers:
            yield from self.vary(view, optimizer=optimizer)

    def figures(self, tables: Sequence[Table]) -> list[Figure]:
        return harness.dots(tables, name=self.name, title="Accuracy by optimizer", panels="column", intervals=True)
