"""What `evaluate` returns: one line as text, in a notebook a table and the curve, as values a frame and the records."""

from __future__ import annotations

import base64
import io
import statistics
from dataclasses import dataclass, field
from html import escape
from typing import TYPE_CHECKING

from harness.boards.records import LOSS, Record

if TYPE_CHECKING:
    import pandas
    from matplotlib.axes import Axes
    from torch import nn

#: What the axes of plots are called, by what is drawn.
WORDS = {"accuracy": "test accuracy (%)", LOSS: "training loss"}


@dataclass(frozen=True, repr=False)
class Evaluation:
    """The records of some seeds and what they come to.

    Attributes:
        records: one a seed, in order.
        students: the trained networks, one a seed, on their device, where `evaluate` was asked to keep them; None for a seed
            whose trial failed before there was one.
        mean, std: of the last epoch's test accuracy in percent, over the seeds that gave one; std with ddof 1, 0 for one seed.
    """

    records: tuple[Record, ...]
    students: tuple[nn.Module | None, ...] = field(default=(), compare=False, repr=False)

    @property
    def accuracies(self) -> list[float]:
        """Test accuracy after the last epoch, in percent, one a seed that did not fail."""
        return [record.metrics["accuracy"] for record in self.records if record.status != "failed"]

    @property
    def mean(self) -> float:
        return statistics.fmean(self.accuracies)

    @property
    def std(self) -> float:
        return statistics.stdev(self.accuracies) if len(self.accuracies) > 1 else 0.0

    @property
    def frame(self) -> pandas.DataFrame:
        """The records as a DataFrame, a row a seed, the last steps' mean loss in `training_loss`; see `harness.boards.frames`."""
        from harness.boards.frames import to_frame

        return to_frame([*self.records])

    def plot(self, axes: Axes | None = None, quantity: str = "accuracy") -> Axes:
        """Draw test accuracy over epochs, a line a seed, and return the axes of matplotlib.

        Args:
            axes: to draw on; None makes a figure.
            quantity: what is drawn in its place, by its name in `Record.history`: "loss", the mean training loss between tests.
        """
        if axes is None:
            from matplotlib.figure import Figure

            axes = Figure(figsize=(6, 3.5), layout="constrained").add_subplot()
        for record in self.records:
            points = [(entry["epoch"], entry[quantity]) for entry in record.history if {"epoch", quantity} <= entry.keys()]
            if points:
                axes.plot(*zip(*points, strict=True), marker=".", label=f"seed {record.trial.seed}")
        axes.set_xlabel("epoch")
        axes.set_ylabel(WORDS.get(quantity, quantity))
        if axes.lines:
            axes.legend()
        return axes

    def _repr_html_(self) -> str:
        """Return what a notebook shows: the line, a table with a row a seed, the curves of accuracy and, where known, of loss."""
        rows = [
            (record.trial.seed, record.status, *(_percent(record, name) for name in ("accuracy", "best_accuracy")))
            for record in self.records
        ]
        cells = "".join("<tr>" + "".join(f"<td>{escape(str(value))}</td>" for value in row) + "</tr>" for row in rows)
        heads = "".join(f"<th>{name}</th>" for name in ("seed", "status", "accuracy (%)", "best on test (%)"))
        table = f"<table><thead><tr>{heads}</tr></thead><tbody>{cells}</tbody></table>"
        lossy = any(LOSS in entry for record in self.records for entry in record.history)
        images = "".join(self._image(quantity) for quantity in ("accuracy", *([LOSS] if lossy else [])))
        return f"<p>{escape(str(self))}</p>{table}{images}"

    def _image(self, quantity: str) -> str:
        """Return a plot as an element of HTML that needs no file beside it."""
        drawing = io.BytesIO()
        figure = self.plot(quantity=quantity).get_figure(root=True)
        assert figure is not None
        figure.savefig(drawing, format="svg")
        source = base64.b64encode(drawing.getvalue()).decode()
        words = WORDS[quantity].partition(" (")[0]
        return f'<img alt="{words} over epochs" src="data:image/svg+xml;base64,{source}">'

    def __repr__(self) -> str:
        return str(self)

    def __str__(self) -> str:
        if not self.accuracies:
            return "no accuracy: every trial failed"
        return f"{self.mean:.1f} ± {self.std:.1f} (n = {len(self.accuracies)})"


def _percent(record: Record, name: str) -> str:
    value = record.metrics.get(name)
    return "" if value is None else f"{value:.1f}"
