"""Which part of GIFT does the work: the refined labels, the cosine, or both?"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal, get_args

import harness
from harness import LossSpec, Paper, Scenario, ScenarioOptions, Spec, at, losses, scenarios

if TYPE_CHECKING:
    import pandas

    from harness import Plan, Table, Trial

Row = Literal["native", "native + refinement", "cosine", "gift"]
ROWS: tuple[Row, ...] = get_args(Row)
MEASURE = (
    "Accuracy in percent on the test split after the last epoch, mean ± standard deviation (ddof 1). Refined labels of a native "
    "loss are (1-gamma) · q_T(t) + gamma · s: the paper gives no formula for that row, so this one is ours."
)


@scenarios.register("label-ablation")
class LabelAblation(Scenario):
    """The two parts of GIFT, refined labels and cosine loss, one by one (GIFT paper, Tables 7 and 13)."""

    version = 1
    paper = Paper("arXiv 2405.14736", tables=("7", "13"))
    rows, columns = "labels", ""

    class Options(ScenarioOptions):
        gamma: float = 0.1
        alpha: float = 0.1
        native: LossSpec = Spec(name="kl")  # of a set that states none
        labels: tuple[Row, ...] = ROWS

    def trials(self, view: Plan, options: Options) -> Iterator[Trial]:
        weights = {"gamma": options.gamma, "alpha": options.alpha}
        for prepared in view.sets:
            with at(f"{view.place}.native"):
                native = losses.registry.label(prepared.native if prepared.native is not None else options.native)
            refined, both = Spec(name="refined", options={"native": native, **weights}), Spec(name="gift", options=weights)
            ablation: dict[str, str | Spec] = dict(zip(ROWS, (native, refined, "cosine", both), strict=True))
            for row, loss in ablation.items():
                if row in options.labels and (row == "native" or losses.registry.label(loss) != native):
                    yield from self.vary(view, sets=[prepared], losses=[loss], labels={"labels": row, "native": native})

    def tables(self, records: pandas.DataFrame) -> list[Table]:
        return harness.pivot(records, self.rows, self.columns, decided=["loss"], gains="rows", measure=MEASURE)
