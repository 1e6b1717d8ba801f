"""Which part of GIFT does the work: the refined labels, the cosine, or both?"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from harness import Scenario, losses, scenarios
from harness.core.errors import BadOption, at, suggest
from harness.core.spec import Spec
from harness.leaderboard.tables import pivot

if TYPE_CHECKING:
    import pandas

    from harness import Trial
    from harness.leaderboard.tables import Table
    from harness.planning.plan import Plan

ROWS = ["native", "native + refinement", "cosine", "gift"]
MEASURE = (
    "Accuracy in percent on the test split after the last epoch, mean ± standard deviation (ddof 1). Refined labels of a native "
    "loss are (1-gamma) · q_T(t) + gamma · s: the paper gives no formula for that row, so this one is ours."
)


@scenarios.register("label-ablation")
class LabelAblation(Scenario):
    """The two parts of GIFT one by one: native loss; native + refinement; cosine; gift (GIFT paper, Tables 7 and 13)."""

    version = 1
    summary = "The two parts of GIFT, refined labels and cosine loss, one by one (GIFT paper, Tables 7 and 13)."
    rows, columns = "labels", ""

    def trials(self, board: Plan) -> Iterator[Trial]:
        gamma = self.option(board, "gamma", default=0.1)
        alpha = self.option(board, "alpha", default=0.1)
        usual = self.option(board, "native", default="kl")
        wanted = self.option(board, "labels", default=ROWS)
        for i, row in enumerate(wanted):
            if row not in ROWS:
                raise BadOption(f"{board.place}.labels[{i}]: no row {row!r}; {suggest(str(row), ROWS)}")
        for prepared in board.sets:
            with at(f"{board.place}.native"):
                native = losses.registry.label(prepared.native if prepared.native is not None else usual)
            refined = Spec(name="refined", options={"native": native, "gamma": gamma, "alpha": alpha})
            both = Spec(name="gift", options={"gamma": gamma, "alpha": alpha})
            ablation: dict[str, str | Spec] = dict(zip(ROWS, (native, refined, "cosine", both), strict=True))
            for row, loss in ablation.items():
                if row in wanted and (row == "native" or losses.registry.label(loss) != native):
                    yield from self.vary(board, sets=[prepared], losses=[loss], labels={"labels": row, "native": native})

    def tables(self, records: pandas.DataFrame) -> list[Table]:
        return pivot(records, self.rows, self.columns, decided=["loss"], gains="rows", measure=MEASURE)
