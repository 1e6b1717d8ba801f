"""What a scenario says of itself: the measure that its tables show and rank by."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from harness import Measure, Scenario, scenarios
from harness.boards.frames import to_frame
from harness.boards.records import Record
from harness.boards.trial import Trial


def test_a_metric_that_is_named_alone_is_best_where_it_is_highest() -> None:
    assert Measure.of("accuracy") == Measure("accuracy", lowest=False) == Measure()
    assert Measure.of(Measure("forgetting", lowest=True)).lowest


@pytest.mark.parametrize(
    ("measure", "quantity"),
    [
        (Measure(), "accuracy in %"),
        (Measure("top5_accuracy"), "top5 accuracy in %"),
        (Measure("forgetting", unit="points"), "forgetting in points"),
        (Measure("gain"), "gain"),
    ],
)
def test_a_measure_is_named_with_its_unit(measure: Measure, quantity: str) -> None:
    assert measure.quantity == quantity
    assert measure.sentence.lower().startswith(quantity.lower() + ", mean")


@pytest.mark.parametrize(("measure", "best"), [("gain", "mse"), (Measure("gain", lowest=True), "ce"), ("accuracy", "ce")])
def test_tables_show_the_measure_and_rank_by_it(plan: Callable[..., list[Trial]], measure: str | Measure, best: str) -> None:
    class Measured(Scenario):
        """A scenario with a metric of its own."""

    Measured.measure = measure
    scenarios.register("measured")(Measured)
    try:
        trials = plan(losses=["ce", "mse"], scenarios=["measured"])
    finally:
        scenarios.remove("measured")
    metrics = {"ce": {"accuracy": 90.0, "gain": 1.5}, "mse": {"accuracy": 80.0, "gain": 7.0}}
    records = [Record.of(trial, "done", metrics=metrics[trial.loss.name]) for trial in trials]
    (table,) = Measured().tables(to_frame(records))
    cells = table.cells.set_index("row")
    name = Measure.of(measure).name
    assert cells["mean"].to_dict() == {loss: values[name] for loss, values in metrics.items()}
    assert cells["rank"].idxmax() == best
    assert table.notes[0].startswith(name.capitalize())
    assert table.contents.startswith(Measure.of(measure).quantity.capitalize())
    assert ("the lowest is best" in table.notes[0]) == Measure.of(measure).lowest
