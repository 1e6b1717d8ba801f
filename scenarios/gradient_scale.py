"""Does a loss fail under an optimizer because of the size of its gradients only?"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import PlainValidator

import harness
from harness import OptimizerSpec, Scenario, ScenarioOptions, scenarios, specs

if TYPE_CHECKING:
    import pandas
    from torch import Tensor

    from harness import Figure, Plan, Table, Targets, Trial, Workbench

GAIN = (
    "Gain: accuracy at the multiplier of highest mean (picked on the test split) less that at 1, mean and 95 % interval of the "
    "differences paired by seed, Bonferroni-corrected for the multipliers that it was picked from. A loss that fails at 1 and "
    "not at another multiplier failed by the size of its gradients only."
)


def _multiplier(value: object) -> object:
    """Refuse what is no multiplier; one that is stays as the board has it."""
    try:
        good = Fraction(str(value)).limit_denominator(10**6) > 0
    except (ValueError, ZeroDivisionError):
        good = False
    if not good:
        raise ValueError(f'must be a number above 0, or a fraction such as "1/400", not {value!r}')
    return value


Multiplier = Annotated[int | float | str, PlainValidator(_multiplier)]


@scenarios.register("gradient-scale")
class GradientScale(Scenario):
    """Accuracy against a multiplier on the loss: which failures are owed to the size of the gradients only."""

    version = 1
    rows, columns = "loss and optimizer", "multiplier"

    class Options(ScenarioOptions):
        optimizers: tuple[OptimizerSpec, ...] = specs("sgd", "adamw")
        multipliers: tuple[Multiplier, ...] = ("1/400", "1/20", 1, 20, 400)

    def trials(self, view: Plan, options: Options) -> Iterator[Trial]:
        for multiplier in options.multipliers:
            scale = Fraction(str(multiplier)).limit_denominator(10**6)
            for optimizer in options.optimizers:
                for trial in self.vary(view, optimizer=optimizer, options={"multiplier": float(scale)}):
                    row = f"{trial.labels.loss}, {trial.labels.optimizer}"
                    yield trial.labelled({"multiplier": str(scale), "loss and optimizer": row})

    def loss(self, trial: Trial, workbench: Workbench) -> Callable[[Tensor, Targets], Tensor]:
        plain, multiplier = workbench.loss(trial), trial.options["multiplier"]
        return lambda logits, targets: multiplier * plain(logits, targets)

    def tables(self, records: pandas.DataFrame) -> list[Table]:
        tables = harness.pivot(
            _by_loss(records), self.rows, self.columns, decided=["loss", "optimizer", "options"], each_ipc=True
        )
        return [_with_gain(table) for table in tables]

    def figures(self, tables: Sequence[Table]) -> list[Figure]:
        labels = list(dict.fromkeys(column for table in tables for _, column in table.column_labels if _value(column)))
        ticks = tuple((float(Fraction(label)), label) for label in labels)
        title = "Accuracy against a multiplier on the loss"
        return harness.curves(
            [_by_optimizer(table) for table in tables],
            name=self.name,
            title=title,
            x_label="multiplier on the loss",
            x=_value,
            x_scale="log",
            x_ticks=ticks,
            panels="method",
        )


def _by_optimizer(table: Table) -> Table:
    """Return the table with a method for each set and optimizer and a row for each loss: a panel and a line of the figure."""
    trained = table.cells[table.cells["records"] > 0]
    rows = trained[["method", "row", "loss", "optimizer"]].drop_duplicates()
    names = {(m, row): (f"{m}, {optimizer}", loss) for m, row, loss, optimizer in rows.itertuples(index=False)}
    cells = table.cells[[place in names for place in zip(table.cells["method"], table.cells["row"], strict=True)]]
    places = [names[place] for place in zip(cells["method"], cells["row"], strict=True)]
    cells = cells.assign(method=[method for method, _ in places], row=[row for _, row in places])
    return replace(table, cells=cells, row_labels=tuple(names[place] for place in table.row_labels))


def _value(label: str) -> float | None:
    try:
        return float(Fraction(label))
    except ValueError:
        return None


def _by_loss(records: pandas.DataFrame) -> pandas.DataFrame:
    """Return the records with the optimizers of a loss side by side, whatever the order of planning."""
    if records.empty:
        return records
    records = records.sort_values(["order", "id"], kind="stable")
    order = {loss: i for i, loss in enumerate(dict.fromkeys(records["loss"]))}
    ranked = records.assign(rank=records["loss"].map(order)).sort_values("rank", kind="stable").drop(columns="rank")
    return ranked.assign(order=range(len(ranked)))


def _with_gain(table: Table) -> Table:
    """Return the table with the best multiplier of each row and what it gains over 1."""
    statistics = harness.statistics
    scales = list(dict.fromkeys(column for _, column in table.column_labels))
    best: dict[tuple[str, str, str], dict[str, Any]] = {}
    gain: dict[tuple[str, str, str], dict[str, Any]] = {}
    for method, row in table.row_labels:
        for ipc in dict.fromkeys(ipc for ipc, _ in table.column_labels):
            seeds = {scale: table.seeds(method, row, ipc, scale) for scale in scales}
            means = {scale: statistics.summary(values.values()).mean for scale, values in seeds.items() if values}
            if not means or "1" not in means:
                continue
            top = max(means, key=lambda scale: means[scale])
            confidence = 1 - statistics.LEVEL / max(1, len(means) - 1)
            place, d = (method, row, ipc), statistics.paired_difference(seeds[top], seeds["1"], confidence)
            best[place] = {"value": f"× {top}"}
            gain[place] = d.entry if top != "1" else {**d.entry, "value": "—"}
    table = table.with_column("best", best, "multiplier of the highest mean")
    table = table.with_column("gain over 1", gain, "points of accuracy")
    table.notes.insert(1, GAIN)
    return table
