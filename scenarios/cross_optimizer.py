"""Do labels and losses hold under optimizers that the set was not distilled with?"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from harness import Scenario, scenarios

if TYPE_CHECKING:
    from harness import Trial
    from harness.planning.plan import Plan


@scenarios.register("cross-optimizer")
class CrossOptimizer(Scenario):
    """Accuracy under optimizers the distilled set was not made with (GIFT paper, Tables 5 and 12)."""

    version = 1
    summary = "Accuracy under optimizers that the set was not distilled with (GIFT paper, Tables 5 and 12)."
    columns = "optimizer"

    def trials(self, board: Plan) -> Iterator[Trial]:
        for optimizer in self.option(board, "optimizers", default=["sgd", "adam", "adamw"]):
            yield from self.vary(board, optimizer=optimizer)
