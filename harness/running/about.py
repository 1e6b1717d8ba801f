"""What a scenario says of itself, as values: the paper whose question it asks, the measure that it ranks by."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Paper:
    """Where a scenario's question was asked first.

    Attributes:
        reference: how to find it, "arXiv 2405.14736".
        tables, figures: those that the scenario asks for again, by their numbers there.
    """

    reference: str
    tables: tuple[str, ...] = ()
    figures: tuple[str, ...] = ()


@dataclass(frozen=True)
class Measure:
    """What trained students are ranked by.

    Attributes:
        name: of one of an outcome's metrics.
        lowest: whether the lowest is the best.
        unit: of its numbers, "%", "points", "seconds"; empty for none. Metrics called an accuracy are percentages.
    """

    name: str = "accuracy"
    lowest: bool = False
    unit: str = ""

    @classmethod
    def of(cls, measure: str | Measure) -> Measure:
        """Return a measure; of a metric that is named alone, the highest is the best."""
        return measure if isinstance(measure, Measure) else cls(measure)

    @property
    def quantity(self) -> str:
        """What a number of it is, with its unit: "accuracy in %", "forgetting in points"."""
        unit = self.unit or ("%" if self.name.endswith("accuracy") else "")
        return self.name.replace("_", " ") + (f" in {unit}" if unit else "")

    @property
    def sentence(self) -> str:
        """What a table of it says that its cells show."""
        best = "; the lowest is best" if self.lowest else ""
        return f"{self.quantity[:1].upper()}{self.quantity[1:]}, mean ± standard deviation (ddof 1){best}."
