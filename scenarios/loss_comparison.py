"""Which loss is a distilled set worth most under?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from harness import Scenario, scenarios
from harness.leaderboard.figures import dots

if TYPE_CHECKING:
    from harness.leaderboard.figures import Figure
    from harness.leaderboard.tables import Table


@scenarios.register("loss-comparison")
class LossComparison(Scenario):
    """Accuracy of every loss on every distilled set (GIFT paper, Figure 1 and Tables 1, 2, 3 and 6)."""

    version = 1
    summary = "Accuracy of every loss of the board on every distilled set (GIFT paper, Figure 1 and Tables 1, 2, 3 and 6)."
    columns = ""

    def figures(self, tables: Sequence[Table]) -> list[Figure]:
        return dots(tables, name="loss-comparison", title="Accuracy by loss")
