"""Figures of tables: what they show, as values. `harness.leaderboard.drawing` draws them."""

from __future__ import annotations

import hashlib
import math
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple

import pandas

from harness.leaderboard.statistics import Summary, half_width
from harness.leaderboard.tables import Table
from harness.leaderboard.text import without_paths

LONGEST = 80  # characters of a file's name
#: Lines that can be told apart in one panel; of more, a panel is made for each method, and panels for so many rows each.
MOST = 6


@dataclass(frozen=True)
class Line:
    """One line of a curve, or one kind of dot.

    Attributes:
        label: what the legend calls it; the same label looks the same in every panel.
        x: positions, or the indices of the categories of a dot plot.
        y: values, as many as x; NaN is a missing point, at which a line breaks.
        spread: half width of the band or error bar around each value (a standard deviation, half a confidence interval), as many
            as x or none; NaN is no band.

    Raises: ValueError when the lengths differ.
    """

    label: str
    x: tuple[float, ...]
    y: tuple[float, ...]
    spread: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if len(self.y) != len(self.x) or len(self.spread) not in (0, len(self.x)):
            lengths = f"{len(self.x)} x, {len(self.y)} y and {len(self.spread)} spread"
            raise ValueError(f"line {self.label!r}: {lengths}; give as many of each, or no spread")


@dataclass(frozen=True)
class Panel:
    """One pair of axes.

    Attributes:
        front: of points, those that no other is better than in both x and y, drawn as steps through all lines.
    """

    title: str
    lines: tuple[Line, ...]
    front: Line | None = None


@dataclass(frozen=True)
class Figure:
    """Panels that share their axes, a title above and a legend below.

    Attributes:
        name: stem of its files: lower-case letters, digits and single hyphens (`slug`).
        title, x_label, y_label: plain text; labels of axes hold the unit.
        panels: one or more, in rows of up to three.
        x_scale: of the horizontal axis, which is that of the values in a dot plot.
        x_ticks: (position, text) of the ticks there; empty for the usual ones.
        caption: Markdown, under the figure in a leaderboard.
        kind: "curve" draws lines with a band of ± spread, "dots" a row of dots with error bars for each category, "points" each
            point alone, and the front of them.
        categories: the rows of a dot plot, from top to bottom.
        zero: whether a thin line marks the value 0.

    Raises: ValueError when it could not be drawn so.
    """

    name: str
    title: str
    panels: tuple[Panel, ...]
    x_label: str
    y_label: str
    x_scale: Literal["linear", "log"] = "linear"
    x_ticks: tuple[tuple[float, str], ...] = ()
    caption: str = ""
    kind: Literal["curve", "dots", "points"] = "curve"
    categories: tuple[str, ...] = ()
    zero: bool = False

    def __post_init__(self) -> None:
        for wrong, remedy in self._faults():
            if wrong:
                raise ValueError(f"figure {self.name!r}: {remedy}")

    def _faults(self) -> Iterator[tuple[bool, str]]:
        lines = [line for panel in self.panels for line in (*panel.lines, *filter(None, [panel.front]))]
        dots = self.kind == "dots"
        across = [value for line in lines for value in (line.y if dots else line.x)] + [at for at, _ in self.x_ticks]
        yield not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", self.name), "name it by lower-case letters, digits and single hyphens"
        yield not self.panels, "it has no panel"
        yield self.kind not in ("curve", "dots", "points"), f"kind {self.kind!r} is none of 'curve', 'dots' and 'points'"
        yield self.x_scale not in ("linear", "log"), f"x_scale {self.x_scale!r} is neither 'linear' nor 'log'"
        yield self.x_scale == "log" and any(value <= 0 for value in across), "a log axis has no place for values of 0 or less"
        places = {x for line in lines for x in line.x} if dots else set()
        yield not places <= set(range(len(self.categories))), "x of a dot is the index of its category, from 0"
        yield not all(isinstance(y, (int, float)) for line in lines for y in (*line.y, *line.spread)), "values must be numbers"


def slug(text: str) -> str:
    """Return `text` in lower-case letters, digits and single hyphens, at most 80 characters; a cut one ends in a digest."""
    plain = unicodedata.normalize("NFKD", without_paths(text)).encode("ascii", "ignore").decode().lower()
    hyphened = re.sub(r"[^a-z0-9]+", "-", plain).strip("-")
    if len(hyphened) <= LONGEST:
        return hyphened
    return f"{hyphened[: LONGEST - 9].rstrip('-')}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def unused(names: Iterable[str], taken: Iterable[str]) -> str:
    """Return the first of `names` that is not taken, else the last one with the first free number, from 2."""
    names, taken = list(names), set(taken)
    free = (name for name in names if name not in taken)
    return next(free, None) or next(f"{names[-1]}-{i}" for i in range(2, len(taken) + 3) if f"{names[-1]}-{i}" not in taken)


# -- from tables ---------------------------------------------------------------------------------------------------------


class _Point(NamedTuple):
    """One cell's mean; `interval` is half the width of its interval of confidence, where a table has one."""

    method: str
    row: str
    ipc: str
    column: str
    mean: float
    std: float
    interval: float


class _Subject(NamedTuple):
    """What one figure is of: the pieces into which a wide table was cut by IPC are one subject."""

    name: str
    title: str
    points: list[_Point]
    shows: Callable[[str], str]


def curves(
    tables: Sequence[Table],
    *,
    name: str,
    title: str = "",
    x_label: str,
    y_label: str = "",
    x: Callable[[str], float | None] = float,
    x_scale: Literal["linear", "log"] = "linear",
    x_ticks: tuple[tuple[float, str], ...] = (),
    panels: Literal["ipc", "method"] = "ipc",
) -> list[Figure]:
    """Return a figure of each table: means over its columns, and how far they spread. One without a number gives none.

    Tables of one setting that were cut by IPC make one figure. What all lines have in common is not in their labels.

    Args:
        tables: their cells need `mean`; `std`, or `low` and `high`, are optional.
        name, title: what the figures' own begin with; what tells the tables apart follows.
        y_label: what the tables show unless it is said.
        x: the position of a column, from its label; None leaves the column out.
        panels: "ipc" gives a panel an IPC with a line for each method and row, "method" a panel a method with a line a row.
    Raises: ValueError when cells have no `mean`, or a label has no position.
    """
    panel, line = (("ipc",), ("method", "row")) if panels == "ipc" else (("method", "ipc"), ("row",))
    figures = []
    for subject in _subjects(tables, name, title):
        where = {column: x(column) for column in dict.fromkeys(point.column for point in subject.points)}
        places = {column: float(at) for column, at in where.items() if at is not None}
        points = [point for point in subject.points if point.column in places]
        at = [places[point.column] for point in points]
        panels_of, caption = _panels(points, panel, line, at, "Bands")
        if any(len(drawn.lines) > MOST for drawn in panels_of):
            panels_of, caption = _panels(points, ("ipc", "method"), ("row",), at, "Bands")
        if panels_of:
            few = tuple(part for drawn in panels_of for part in _split(drawn))
            what = y_label or subject.shows(points[0].column)
            figures.append(Figure(subject.name, subject.title, few, x_label, what, x_scale, x_ticks, caption))
    return figures


def dots(
    tables: Sequence[Table],
    *,
    name: str,
    title: str = "",
    x_label: str = "",
    column: str | None = None,
    zero: bool = False,
    panels: Literal["ipc", "column"] = "ipc",
    intervals: bool = False,
) -> list[Figure]:
    """Return a dot plot of each table: a category a row, a colour a method (and column, where several), a panel an IPC.

    Args:
        tables, name, title: as for `curves`; `x_label` as `y_label` there.
        column: use the cells under this label only.
        zero: mark the value 0.
        panels: "column" gives a panel a column and IPC, with a colour a method.
        intervals: let the bars be Student's 95 % intervals of the means, where a table has no intervals of its own.
    Raises: ValueError when cells have no `mean`.
    """
    figures = []
    panel, line = (("ipc", "column"), ("method",)) if panels == "column" else (("ipc",), ("method", "column"))
    for subject in _subjects(tables, name, title, intervals):
        points = [point for point in subject.points if column in (None, point.column)]
        known = {point.row for point in points if math.isfinite(point.mean)}
        rows = [row for row in dict.fromkeys(point.row for point in subject.points) if row in known]
        points = [point for point in points if point.row in known]
        panels_of, caption = _panels(points, panel, line, [rows.index(point.row) for point in points], "Bars")
        if panels_of:
            how: dict[str, Any] = {"caption": caption, "kind": "dots", "categories": tuple(rows), "zero": zero}
            what = x_label or subject.shows(points[0].column)
            figures.append(Figure(subject.name, subject.title, panels_of, what, "", **how))
    return figures


def _split(panel: Panel) -> list[Panel]:
    """Return a panel in parts of about as many lines each, `MOST` at most."""
    count = math.ceil(len(panel.lines) / MOST)
    if count < 2:
        return [panel]
    ends = [round(i * len(panel.lines) / count) for i in range(count + 1)]
    titles = [f"{panel.title}, {i} of {count}".removeprefix(", ") for i in range(1, count + 1)]
    return [Panel(title, panel.lines[ends[i] : ends[i + 1]]) for i, title in enumerate(titles)]


def _subjects(tables: Sequence[Table], name: str, title: str, intervals: bool = False) -> Iterator[_Subject]:
    """Yield what figures are to be made of, under names that rest on a table's own title where they can."""
    parts: dict[tuple[str, str, int], list[_Point]] = {}
    first: dict[tuple[str, str, int], Table] = {}
    for table in tables:
        front, _, heading = re.sub(r"\\(.)", r"\1", table.title).partition(" — ")  # a title is Markdown
        front = re.sub(r"(^|, )IPC \S+$", "", front)
        points = _points(table, intervals)
        ipcs = {point.ipc for point in points}
        # a piece cut out by IPC shares no IPC with the pieces before it; a table that does is another one of the same title
        piece = next(i for i in range(len(tables)) if not ipcs & {point.ipc for point in parts.get((front, heading, i), [])})
        parts.setdefault((front, heading, piece), []).extend(points)
        first.setdefault((front, heading, piece), table)
    datasets = {front for front, _, _ in parts}
    taken: list[str] = []
    for key, points in parts.items():
        front, heading, _ = key
        stem = slug(" ".join([name, front if len(datasets) > 1 else "", heading])) or "figure"
        taken.append(unused([stem], taken))
        about = ", ".join(part for part in (front, heading) if part)
        yield _Subject(taken[-1], " — ".join(part for part in (title, about) if part), points, first[key].shows)


def _points(table: Table, intervals: bool) -> list[_Point]:
    """Return the cells that the table shows, row by row."""
    cells = table.cells
    if "mean" not in cells:
        raise ValueError(f"table {table.title!r}: its cells have no column 'mean', which figures are made of")
    numbers = cells.reindex(columns=["mean", "std", "low", "high", "n"]).apply(pandas.to_numeric, errors="coerce")
    interval = (numbers["high"] - numbers["low"]) / 2
    if intervals:
        sizes = numbers["n"].fillna(0).astype("int64")
        students = [half_width(Summary(*sample)) for sample in zip(sizes, numbers["mean"], numbers["std"], strict=True)]
        interval = interval.fillna(pandas.Series(students, index=numbers.index, dtype="float64"))
    measured = replace(table, cells=cells.assign(mean=numbers["mean"], std=numbers["std"], interval=interval))
    return [_Point(*place, *values) for place, values in measured.shown("mean", "std", "interval").items()]


def _panels(
    points: Sequence[_Point], panel: Sequence[str], line: Sequence[str], x: Sequence[float], marks: str
) -> tuple[tuple[Panel, ...], str]:
    """Return the panels, without lines that have no number, and a caption that says what `marks`, the spreads, are.

    Args:
        panel, line: the fields of a point that make one.
        x: the position of each point.
    """
    grouped: dict[tuple[str, ...], dict[tuple[str, ...], list[tuple[float, _Point]]]] = {}
    for at, point in zip(x, points, strict=True):
        lines = grouped.setdefault(tuple(getattr(point, field) for field in panel), {})
        lines.setdefault(tuple(getattr(point, field) for field in line), []).append((at, point))
    for lines in grouped.values():
        for key in [key for key, members in lines.items() if not any(math.isfinite(point.mean) for _, point in members)]:
            del lines[key]
    grouped = {key: lines for key, lines in grouped.items() if lines}
    kept = [point for lines in grouped.values() for members in lines.values() for _, point in members]
    several = {field for field in (*panel, *line) if len({getattr(point, field) for point in kept}) > 1}
    several |= {"ipc"} & {*panel[:1]}  # a panel that begins with its IPC says so where there is no other, too
    intervals = any(math.isfinite(point.interval) for point in kept)
    intervals &= not any(math.isfinite(point.std) and not math.isfinite(point.interval) for point in kept)

    def label(fields: Sequence[str], values: Sequence[str]) -> str:
        texts = {field: f"IPC {value}" if field == "ipc" else value for field, value in zip(fields, values, strict=True) if value}
        return ", ".join(text for field, text in texts.items() if field in several) or next(iter(texts.values()), "")

    def made(key: tuple[str, ...], members: list[tuple[float, _Point]]) -> Line:
        members = sorted(members, key=lambda member: member[0])
        spread = tuple(point.interval if intervals else point.std for _, point in members)
        known = any(map(math.isfinite, spread))
        return Line(label(line, key), tuple(at for at, _ in members), tuple(p.mean for _, p in members), spread if known else ())

    panels = tuple(Panel(label(panel, key), tuple(made(*each) for each in lines.items())) for key, lines in grouped.items())
    caption = f"{marks}: {'95 % intervals' if intervals else '± standard deviation over the seeds (ddof 1)'}."
    return panels, caption if any(line.spread for panel in panels for line in panel.lines) else ""
