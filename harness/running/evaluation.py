"""What `evaluate` returns: one line as text, in a notebook a table and the curve, as values a frame and the records."""

from __future__ import annotations

import base64
import io
import statistics
from dataclasses import dataclass, field
from html import escape
from typing import TYPE_CHECKING

from harness.boards.records import Record

if TYPE_CHECKING:
    import pandas
    from matplotlib.axes import Axes
    from torch import nn


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
        """The records as a DataFrame, a row a seed; see `harness.boards.frames.to_frame`."""
        from harness.boards.frames import to_frame

        return to_frame([*self.records])

    def plot(self, axes: Axes | None = None) -> Axes:
        """Draw test accuracy over epochs, a line a seed, and return the axes of matplotlib.

        Args:
            axes: to draw on; None makes a figure.
        """
        if axes is None:
            from matplotlib.figure import Figure

            axes = Figure(figsize=(6, 3.5), layout="constrained").add_subplot()
        for record in self.records:
            points = [(entry["epoch"], entry["accuracy"]) for entry in record.history if {"epoch", "accuracy"} <= entry.keys()]
            if points:
                axes.plot(*zip(*points, strict=True), marker=".", label=f"seed {record.trial.seed}")
        axes.set_xlabel("epoch")
        axes.set_ylabel("test accuracy (%)")
        if axes.lines:
            axes.legend()
        return axes

    def _repr_html_(self) -> str:
        """Return what a notebook shows: the line, a table with a row a seed, the curve."""
        rows = [
            (record.trial.seed, record.status, *(_percent(record, name) for name in ("accuracy", "best_accuracy")))
            for record in self.records
        ]
        cells = "".join("<tr>" + "".join(f"<td>{escape(str(value))}</td>" for value in row) + "</tr>" for row in rows)
        heads = "".join(f"<th>{name}</th>" for name in ("seed", "status", "accuracy (%)", "best on test (%)"))
        drawing = io.BytesIO()
        figure = self.plot().get_figure(root=True)
        assert figure is not None
        figure.savefig(drawing, format="svg")
        source = base64.b64encode(drawing.getvalue()).decode()
        table = f"<table><thead><tr>{heads}</tr></thead><tbody>{cells}</tbody></table>"
        curve = f'<img alt="test accuracy over epochs" src="data:image/svg+xml;base64,{source}">'
        return f"<p>{escape(str(self))}</p>{table}{curve}"

    def __repr__(self) -> str:
        return str(self)

    def __str__(self) -> str:
        if not self.accuracies:
            return "no accuracy: every trial failed"
        return f"{self.mean:.1f} ± {self.std:.1f} (n = {len(self.accuracies)})"


def _percent(record: Record, name: str) -> str:
    value = record.metrics.get(name)
    return "" if value is None else f"{value:.1f}"
