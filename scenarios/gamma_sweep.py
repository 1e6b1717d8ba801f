"""How much of the hard label should refined soft labels hold?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import harness
from harness import LossSpec, Paper, Scenario, ScenarioOptions, Spec, at, losses, scenarios

if TYPE_CHECKING:
    import pandas

    from harness import Figure, Plan, Table, Trial

QUANTITIES = {"best": "gamma of the highest mean", "as good": "gammas not told from it"}
BEST = (
    "Best gamma: the one of highest mean accuracy, picked on the test split; its mean with a 95 % interval (Student's t over the "
    "seeds); and every gamma tried whose accuracy cannot be told from it (t test of the differences paired by seed, 5 %, "
    "Holm-corrected over the table's rows)."
)


@scenarios.register("gamma-sweep")
class GammaSweep(Scenario):
    """Accuracy against gamma, the weight of the hard label in refined soft labels (GIFT paper, Figures 3 and 8)."""

    version = 1
    paper = Paper("arXiv 2405.14736", figures=("3", "8"))
    columns = "gamma"

    class Options(ScenarioOptions):
        loss: LossSpec = Spec(name="gift")
        gammas: tuple[float, ...] = (0.0, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 1.0)

    def trials(self, view: Plan, options: Options) -> Iterator[Trial]:
        swept = options.loss
        with at(f"{view.place}.loss"):
            name = losses.registry.label(Spec(name=swept.name, options={k: v for k, v in swept.options.items() if k != "gamma"}))
        for gamma in options.gammas:
            loss = Spec(name=swept.name, options={**swept.options, "gamma": gamma})
            yield from self.vary(view, losses=[loss], labels={"gamma": gamma, "loss": name})

    def tables(self, records: pandas.DataFrame) -> list[Table]:
        return [_with_best(table) for table in harness.pivot(records, self.rows, self.columns, each_ipc=True)]

    def figures(self, tables: Sequence[Table]) -> list[Figure]:
        return harness.curves(tables, name=self.name, title="Accuracy against gamma", x_label="gamma", x=_gamma)


def _gamma(label: str) -> float | None:
    try:
        return float(label)
    except ValueError:
        return None


def _with_best(table: Table) -> Table:
    """Return the table with the best gamma of each row, its accuracy and the gammas that cannot be told from it."""
    statistics = harness.statistics
    gammas = list(dict.fromkeys(column for _, column in table.column_labels))
    best: dict[str, dict[tuple[str, str, str], dict[str, Any]]] = {"best": {}, "accuracy there": {}, "as good": {}}
    ipcs = dict.fromkeys(ipc for ipc, _ in table.column_labels)
    places = [(*label, ipc) for label in table.row_labels for ipc in ipcs]
    swept = [{gamma: table.seeds(*place, gamma) for gamma in gammas} for place in places]
    for place, seeds, alike in zip(places, swept, statistics.untold(swept), strict=True):
        means = {gamma: statistics.summary(values.values()) for gamma, values in seeds.items() if values}
        if not means:
            continue
        top = max(means, key=lambda gamma: means[gamma].mean)
        there, half = means[top], statistics.half_width(means[top])
        low, high = there.mean - half, there.mean + half
        interval = "" if half != half else f" [{harness.fixed(low, 1)}, {harness.fixed(high, 1)}]"
        best["best"][place] = {"value": top}
        best["accuracy there"][place] = {
            "value": harness.fixed(there.mean, 1) + interval,
            "n": there.n,
            "mean": there.mean,
            "std": there.std,
            "low": low,
            "high": high,
        }
        best["as good"][place] = {"value": ", ".join(sorted(alike, key=float))}
    for label, entries in best.items():
        table = table.with_column(label, entries, QUANTITIES.get(label, ""))
    table.notes.insert(1, BEST)
    return table
