"""Do labels and losses hold for students that the set was not distilled with?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import harness
from harness import ModelSpec, Paper, Scenario, ScenarioOptions, scenarios, specs

if TYPE_CHECKING:
    from harness import Figure, Plan, Table, Trial


@scenarios.register("cross-architecture")
class CrossArchitecture(Scenario):
    """Accuracy of students that the set was not distilled with (GIFT paper, Tables 3 and 4)."""

    version = 1
    paper = Paper("arXiv 2405.14736", tables=("3", "4"))
    columns = "model"

    class Options(ScenarioOptions):
        models: tuple[ModelSpec, ...] = specs(
            "convnet3", "resnet18", "resnet101", "efficientnet-b0", "mobilenet-v2", "swin-v2-tiny"
        )

    def trials(self, view: Plan, options: Options) -> Iterator[Trial]:
        for model in options.models:
            yield from self.vary(view, model=model)

    def figures(self, tables: Sequence[Table]) -> list[Figure]:
        return harness.dots(tables, name=self.name, title="Accuracy by student", panels="column", intervals=True)
