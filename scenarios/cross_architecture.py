"""Do labels and losses hold for students that the set was not distilled with?"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from harness import Scenario, scenarios

if TYPE_CHECKING:
    from harness import Trial
    from harness.planning.plan import Plan

PAPER = ["convnet3", "resnet18", "resnet101", "efficientnet-b0", "mobilenet-v2", "swin-v2-tiny"]


@scenarios.register("cross-architecture")
class CrossArchitecture(Scenario):
    """Accuracy of students the distilled set was not made with (GIFT paper, Tables 3 and 4)."""

    version = 1
    summary = "Accuracy of students that the set was not distilled with (GIFT paper, Tables 3 and 4)."
    columns = "model"

    def trials(self, board: Plan) -> Iterator[Trial]:
        for model in self.option(board, "models", default=PAPER):
            yield from self.vary(board, model=model)
