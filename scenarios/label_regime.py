"""Does a distilled set beat random images, once both have the same labels?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import harness
from harness import BoardError, LossSpec, Paper, Scenario, ScenarioOptions, Spec, scenarios

if TYPE_CHECKING:
    import pandas

    from harness import Figure, Plan, Table, Trial

GAIN, POINTS = "gain over random", "points of accuracy"
NOTES = (
    "Labels: hard, the class alone; soft fixed, the teacher's logits on each clean image, computed once; soft online, its logits "
    "on every augmented batch. Sets of one IPC have the same number of images, hence the same number of optimizer steps.",
    "Gain over random: accuracy less that of the random images under the same labels, mean and 95 % interval of the differences "
    "paired by seed.",
)


@scenarios.register("label-regime")
class LabelRegime(Scenario):
    """Each set against random images under hard, fixed soft and online soft labels (the question of arXiv 2604.18811)."""

    version = 1
    paper = Paper("arXiv 2604.18811")
    rows, columns = "labels", ""

    class Options(ScenarioOptions):
        hard_loss: LossSpec = Spec(name="ce")
        baseline: str = ""  # what the board calls its random images; the first set of method "random"

    def trials(self, view: Plan, options: Options) -> Iterator[Trial]:
        baseline = _baseline(view, options.baseline)
        usual = {(s.name, s.file.digest): view.protocol_of(s).label for s in view.sets}
        regimes = [("hard", "hard", [options.hard_loss])]
        regimes += [(name, kind, _soft(view)) for name, kind in (("soft fixed", "fixed"), ("soft online", "teacher"))]
        for name, kind, losses in regimes:
            for loss in losses:
                for trial in self.vary(view, losses=[loss], protocol={"labels": kind}):
                    protocol = usual[trial.labels.method, trial.distilled]
                    shown = {"labels": f"{name} ({trial.labels.loss})", "baseline": baseline, "protocol": protocol}
                    yield trial.labelled(shown)

    def tables(self, records: pandas.DataFrame) -> list[Table]:
        tables = harness.pivot(records, self.rows, self.columns, decided=["loss", "baseline"], gains="")
        baselines = records["baseline"].dropna().unique().tolist() if "baseline" in records else []
        return [_against_random(table.regrouped("labels"), baselines) for table in tables]

    def figures(self, tables: Sequence[Table]) -> list[Figure]:
        return harness.dots(tables, name=self.name, title="Gain over random images", x_label=POINTS, column=GAIN, zero=True)


def _soft(view: Plan) -> list[Spec]:
    """Return the board's losses that look at soft labels; a set's stored ones are not asked for."""
    online = view.protocol.model_copy(update={"labels": "teacher"})
    taught = [loss for loss in view.losses if view.resolve_loss(loss, view.sets[0], online).taught]
    if not taught:
        raise BoardError(f"{view.place}: none of the losses uses soft labels; name one, such as 'gift'")
    return taught


def _baseline(view: Plan, name: str) -> str:
    """Return what the board calls its random images."""
    names = [s.name for s in view.sets]
    if name:
        if name not in names:
            raise BoardError(f"{view.place}.baseline: no set {name!r} among {', '.join(map(repr, dict.fromkeys(names)))}")
        return name
    randoms = [s.name for s in view.sets if s.file.metadata.get("method") == "random"]
    if not randoms:
        raise BoardError(f'{view.place}: no random images to compare with; add a set with method = "random" and the same ipc')
    return randoms[0]


def _against_random(table: Table, baselines: Sequence[str]) -> Table:
    """Return the table, rows being sets, with the gain of each over the baseline under the same labels."""
    gains: dict[tuple[str, str, str], dict[str, Any]] = {}
    for regime, name in table.row_labels:
        for ipc, column in table.column_labels:
            base = [b for b in baselines if table.seeds(regime, b, ipc, column)]
            mine = table.seeds(regime, name, ipc, column)
            if not base or not mine or name in baselines:
                continue
            d = harness.statistics.paired_difference(mine, table.seeds(regime, base[0], ipc, column))
            gains[regime, name, ipc] = d.entry
    table = table.with_column(GAIN, gains, POINTS)
    table.notes[1:1] = NOTES
    return table
