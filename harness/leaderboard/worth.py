"""Price against worth, over a whole board: figures of accuracy against each price that differs, the Pareto front marked."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, Literal, NamedTuple

import pandas

from harness.leaderboard.columns import LABELS, OTHER, each, labels
from harness.leaderboard.figures import Figure, Line, Panel
from harness.leaderboard.prices import COLUMNS, MEASURES, Measure, amount, told
from harness.leaderboard.statistics import Summary, half_widths, summaries
from harness.leaderboard.text import escape, fixed

#: From so many times the lowest price on, an axis is logarithmic; up to so many tens of it, it has ticks at 2 and 5, too.
DECADE = 10
#: Setups that a panel shows each of; of more, the best of each set at each price.
MOST_SETUPS = 300
#: Setups of a front that a caption names.
NAMED = 8
#: Ticks of an axis, about.
MOST_TICKS = 5
FRONT = "Pareto front"
#: What a caption calls a setup by, beside the epochs and the scenarios' own labels where these differ.
NAMES = ("method", "ipc", "loss", "optimizer", "model")


class Price(NamedTuple):
    """What a figure has on its horizontal axis: the sum of some prices, written in the unit of the first."""

    name: str
    title: str
    columns: tuple[str, ...]

    @property
    def measure(self) -> Measure:
        return next(measure for measure in MEASURES if measure.column == self.columns[0])


PRICES = (
    Price("bytes", "bytes of images and labels", ("image_bytes", "label_bytes")),
    Price("pixels", "bytes of images as 8-bit pixels and labels", ("pixel_bytes", "label_bytes")),
    Price("operations", "operations of training", ("operations",)),
    Price("steps", "steps", ("steps",)),
)


def worth(frame: pandas.DataFrame) -> list[Figure]:
    """Return a figure of accuracy against each price that differs between setups of one dataset.

    Bytes of images as pixels have one only where these lie otherwise in some of the sets' files.

    A panel has one point a setup: the mean over its seeds of the accuracy at the end, whatever the student, optimizer and loss,
    for that is what could be had at each price. On the front are those than which no other is as good at a lower price, nor
    better at the same.

    Args:
        frame: records with their prices (`harness.leaderboard.prices.beside`).
    """
    if frame.empty or not {"accuracy", "setup", *COLUMNS} <= {*frame.columns}:
        return []
    points = [*_points(frame)]
    shown = [price for price in PRICES if all(told(frame, column) for column in price.columns)]
    figures = (_figure(price, points) for price in shown)
    return [figure for figure in figures if figure is not None]


def front(points: Sequence[tuple[float, float]]) -> list[int]:
    """Return the places of the points (price, worth) on the Pareto front, cheapest first; of equal ones the first alone.

    Source: Kung, Luccio and Preparata (1975), On finding the maxima of a set of vectors, J. ACM 22: by rising price, each that
    is worth more than all before it.
    """
    best, chosen = -math.inf, []
    for place in sorted(range(len(points)), key=lambda place: (points[place][0], -points[place][1], place)):
        if points[place][1] > best:
            best = points[place][1]
            chosen.append(place)
    return chosen


class _Point(NamedTuple):
    """A setup: what it is of, what it costs, how good it is and how sure that is."""

    dataset: str
    set: str
    name: str
    prices: dict[str, float]
    mean: float
    half: float


def _points(frame: pandas.DataFrame) -> Iterator[_Point]:
    """Yield the setups that gave an accuracy, in plan order; setups of several scenarios that gave the same are one."""
    measured = frame[(frame["status"] != "failed") & frame["accuracy"].notna()]
    if measured.empty:
        return
    samples = summaries(measured, ["setup"], "accuracy")
    halves = half_widths(samples["n"], samples["std"]).tolist()
    of_setup = dict(zip(samples.index, zip(each(samples, "n", "mean", "std"), halves, strict=True), strict=True))
    means = measured.groupby("setup", sort=False)[COLUMNS].mean()
    costs = dict(zip(means.index, means.to_dict("records"), strict=True))
    differing = _differing(measured)
    facts = labels(measured, ["dataset", "setup", *NAMES, *differing]).drop_duplicates("setup")
    points: dict[tuple[str, ...], _Point] = {}
    for dataset, setup, method, ipc, *rest in each(facts, "dataset", "setup", *NAMES, *differing):
        values, half = of_setup[setup]
        sample = Summary(*values)
        usual, own = rest[: len(NAMES) - 2], zip(differing, rest[len(NAMES) - 2 :], strict=True)
        words = [f"{label} {text}" if text.replace(".", "").isdecimal() else text for label, text in own if text]
        name = ", ".join(filter(None, dict.fromkeys((method, f"IPC {ipc}" if ipc else "", *usual, *words))))
        prices = {str(column): price for column, price in costs[setup].items()}
        point = _Point(dataset, method, name, prices, sample.mean, half)
        points.setdefault((dataset, name, repr(sample)), point)
    yield from points.values()


def _differing(frame: pandas.DataFrame) -> list[str]:
    """Return the labels, beside the usual ones, that tell setups apart: their epochs, and what scenarios say of them."""
    own = [str(name) for name in frame.columns if name not in (*LABELS, *OTHER, *COLUMNS) and not _measured(frame[name])]
    texts = labels(frame, ["epochs", *own])
    return [name for name in ("epochs", *own) if len({*texts[name]} - {""}) > 1]


def _measured(column: pandas.Series[Any]) -> bool:
    """Whether a column is a metric, or says yes or no: what names nothing."""
    return bool(pandas.api.types.is_numeric_dtype(column)) or all(isinstance(value, bool | float) for value in column)


def _figure(price: Price, points: Sequence[_Point]) -> Figure | None:
    """Return the figure of one price; None where it is the same for all that stand in one panel."""
    panels: dict[str, list[tuple[float, _Point]]] = {}
    for point in points:
        cost = sum(point.prices[column] for column in price.columns)
        if math.isfinite(cost):
            panels.setdefault(point.dataset, []).append((cost, point))
    panels = {dataset: placed for dataset, placed in panels.items() if len({cost for cost, _ in placed}) > 1}
    if not panels:
        return None
    drawn, captions = [], []
    for dataset, placed in panels.items():
        best = [placed[place] for place in front([(cost, point.mean) for cost, point in placed])]
        shown = placed if len(placed) <= MOST_SETUPS else _thinned(placed)
        sets = dict.fromkeys(point.set for _, point in shown)
        lines = tuple(_line(name, [(cost, point) for cost, point in shown if point.set == name]) for name in sets)
        drawn.append(Panel(dataset, lines, _line(FRONT, best, spread=True)))
        captions.append(_caption(price, dataset if len(panels) > 1 else "", best, len(shown) < len(placed)))
    scale, ticks = axis([cost for placed in panels.values() for cost, _ in placed], partial(amount, price.measure))
    caption = f"Ringed, with 95 % intervals: no other is as good for less, by the means. {' '.join(captions)}"
    axes: tuple[str, str] = (price.title, "accuracy in %")
    title = f"Accuracy against {price.title}"
    return Figure(f"price-{price.name}", title, tuple(drawn), *axes, scale, ticks, caption, "points")


def _thinned(placed: Sequence[tuple[float, _Point]]) -> list[tuple[float, _Point]]:
    """Return the best of each set at each price."""
    best: dict[tuple[str, float], tuple[float, _Point]] = {}
    for cost, point in placed:
        place = (point.set, cost)
        if place not in best or point.mean > best[place][1].mean:
            best[place] = (cost, point)
    return [*best.values()]


def _line(label: str, placed: Sequence[tuple[float, _Point]], spread: bool = False) -> Line:
    costs, points = [cost for cost, _ in placed], [point for _, point in placed]
    halves = tuple(point.half for point in points) if spread else ()
    return Line(label, tuple(costs), tuple(point.mean for point in points), halves)


def _caption(price: Price, dataset: str, best: Sequence[tuple[float, _Point]], thinned: bool) -> str:
    """Return in words what stands on a front, Markdown."""
    named = [f"{escape(point.name)} ({fixed(point.mean, 1)} %, {amount(price.measure, cost)})" for cost, point in best]
    rest = f"; and {len(named) - NAMED} more" if len(named) > NAMED else ""
    few = f" Of more than {MOST_SETUPS} setups, the best of each set at each price." if thinned else ""
    return f"{f'{escape(dataset)}: ' if dataset else ''}{'; '.join(named[:NAMED])}{rest}.{few}"


def axis(
    values: Sequence[float], written: Callable[[float], str]
) -> tuple[Literal["linear", "log"], tuple[tuple[float, str], ...]]:
    """Return the scale and the ticks of an axis for values of which not all are the same: logarithmic from a decade on.

    Args:
        written: a value with its unit.
    """
    low, high = min(values), max(values)
    if low > 0 and high / low >= DECADE:
        powers = [10.0**exponent for exponent in range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)]
        between = [digit * power for power in powers for digit in (1, 2, 5)]
        places = between if high / low <= DECADE**2 else powers[:: math.ceil(len(powers) / MOST_TICKS)]
        return "log", tuple((place, written(place)) for place in places if low / 1.2 <= place <= high * 1.2)
    step = _step((high - low) / MOST_TICKS)
    places = [step * number for number in range(math.floor(low / step), math.ceil(high / step) + 1)]
    return "linear", tuple((place, written(place)) for place in places)


def _step(least: float) -> float:
    """Return the smallest of 1, 2 and 5 times a power of ten that is no less than this."""
    power = 10.0 ** math.floor(math.log10(least))
    return next(digit * power for digit in (1, 2, 5, 10) if digit * power >= least * (1 - 1e-9))
