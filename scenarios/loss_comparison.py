"""Which loss is a distilled set worth most under?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import harness
from harness import Paper, Scenario, scenarios

if TYPE_CHECKING:
    from harness import Figure, Table


@scenarios.register("loss-comparison")
class LossComparison(Scenario):
    """Accuracy of every loss of the board on every distilled set (GIFT paper, Figure 1 and Tables 1, 2, 3 and 6)."""

    version = 1
    paper = Paper("arXiv 2405.14736", tables=("1", "2", "3", "6"), figures=("1",))
    columns = ""

    def figures(self, tables: Sequence[Table]) -> list[Figure]:
        return harness.dots(tables, name="loss-comparison", title="Accuracy by loss")
