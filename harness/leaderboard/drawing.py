"""Figures on paper: SVG and PNG by matplotlib, which loads when there is one to draw. The same figure gives the same bytes."""

from __future__ import annotations

import itertools
import math
import textwrap
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.files.atomic import make_folder, update
from harness.leaderboard.cores import on_cores
from harness.leaderboard.figures import Figure, Panel
from harness.leaderboard.text import without_paths

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Drawing
    from matplotlib.legend import Legend

#: Okabe and Ito's colours (Color Universal Design, 2008) without yellow, which is too pale for lines on white.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
#: With the dashes, 36 looks before marker and dash come back together: they must tell lines apart in black and white.
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">")
DASHES: tuple[Any, ...] = ("-", (0, (5, 1.5)), (0, (1.2, 1.2)), (0, (6, 1.5, 1.2, 1.5)))
#: DejaVu Sans comes with matplotlib, so that text is the same on every machine.
STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "axes.titlesize": 11,
    "figure.titlesize": 12,
    "legend.fontsize": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": "#dddddd",
    "grid.linewidth": 0.7,
    "figure.constrained_layout.h_pad": 0.06,
    "figure.constrained_layout.w_pad": 0.06,
    "figure.dpi": 150,
    "savefig.dpi": 150,
    "svg.hashsalt": "giftbench",
    "svg.fonttype": "none",  # text stays text: it can be searched, read aloud and copied
}
#: What would make bytes differ from day to day and from one matplotlib to the next is left out.
METADATA: dict[str, dict[str, Any]] = {"svg": {"Date": None, "Creator": None}, "png": {"Software": None}}
ACROSS = 3  # panels side by side
#: How far an axis of percentages reaches beyond them, so that what stands at their ends is whole.
BEYOND = 4.0
#: How the front of points looks: rings, through which they are seen, and the steps between them.
FRONT: dict[str, Any] = {
    "color": "#222222",
    "linestyle": "-",
    "linewidth": 1.1,
    "marker": "o",
    "markersize": 10,
    "markerfacecolor": "none",
    "markeredgewidth": 1.2,
}
#: What a viewer without DejaVu Sans takes for an SVG's text: Verdana's letters are as wide.
FAMILIES = (b"'DejaVu Sans'", b"'DejaVu Sans', Verdana, sans-serif")


def draw(figure: Figure, folder: Path) -> list[Path]:
    """Write NAME.svg and NAME.png into a folder, which is made, and return their paths. Files that hold this are not touched."""
    import matplotlib

    with matplotlib.rc_context():
        # nobody's own settings; `rcdefaults` would give them too, and load all styles that there are
        usual: dict[Any, Any] = {name: value for name, value in matplotlib.rcParamsDefault.items() if name != "backend"}
        matplotlib.rcParams.update({**usual, **STYLE})
        drawing = _drawing(figure)
        contents: dict[str, bytes] = {}
        engine = drawing.get_layout_engine()
        for kind, metadata in METADATA.items():
            drawing.set_layout_engine(engine)
            _lay_out(drawing, kind)
            drawing.set_layout_engine(None)  # with one, savefig draws everything once more to lay it out
            stream = BytesIO()
            drawing.savefig(stream, format=kind, metadata=metadata)
            contents[kind] = stream.getvalue().replace(*FAMILIES) if kind == "svg" else stream.getvalue()
    make_folder(folder)
    for kind, content in contents.items():
        update(folder / f"{figure.name}.{kind}", content)
    return [folder / f"{figure.name}.{kind}" for kind in contents]


def draw_all(figures: Sequence[Figure], folder: Path) -> list[Path]:
    """Draw figures as `draw` does, on all cores where that can be."""
    if len(figures) > 1:  # what is loaded before the fork need not be loaded after
        from matplotlib.backends import backend_agg, backend_svg  # noqa: F401
        from PIL import Image

        from harness.leaderboard import panels  # noqa: F401

        Image.preinit()
    return [path for paths in on_cores([partial(draw, figure, folder) for figure in figures]) for path in paths]


def _drawing(figure: Figure) -> Drawing:
    """Return the drawing: panels of one size, to which legend and title add height."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure as Drawing

    from harness.leaderboard.panels import gather, panels, share

    count = len(figure.panels)
    rows = math.ceil(count / ACROSS)
    across = math.ceil(count / rows)
    lines = [line for panel in figure.panels for line in panel.lines if any(map(math.isfinite, line.y))]
    labels = list(dict.fromkeys(line.label for line in lines))
    width, height = _panel_size(figure, len(labels))
    names = [_text(category, 30) for category in figure.categories]
    margin = 0.6 + 0.08 * max((len(part) for name in names for part in name.split("\n")), default=0)
    drawing = Drawing(figsize=(margin + across * width, rows * height), layout="constrained", facecolor="white")
    FigureCanvasAgg(drawing)
    places = panels(drawing, rows, across)
    looks = {label: _look(i, figure.kind) for i, label in enumerate(labels)}
    looks |= {panel.front.label: FRONT for panel in figure.panels if panel.front is not None}
    for i, (panel, place) in enumerate(zip(figure.panels, places, strict=False)):
        place.set_title(_text(panel.title, int(width * 11)))
        {"dots": _dots, "points": _points, "curve": _curve}[figure.kind](place, panel, looks)
        if i % across == 0:
            place.set_ylabel(_text(figure.y_label, 40))
        if i + across >= count:  # the lowest of its column
            place.set_xlabel(_text(figure.x_label, int(width * 12)))
            place.tick_params(labelbottom=True)
    for place in places[count:]:
        place.set_visible(False)
    gather(places[:count])
    _bound(places[0], figure)
    for place in places[:count]:
        _ground(place, figure)
        _scales(figure, place, names)
    share(places[:count])
    if figure.title:
        title = _text(figure.title, int((margin + across * width) * 10))
        drawing.suptitle(title, fontweight="bold")
        drawing.set_figheight(drawing.get_figheight() + 0.22 * (title.count("\n") + 1))
    _legend(drawing, looks)
    _turn(drawing, places[:count])
    return drawing


def _bound(place: Axes, figure: Figure) -> None:
    """Let an axis of percentages reach no further than these do: an interval that goes on beyond leaves the panel there."""
    dots = figure.kind == "dots"
    if not (figure.x_label if dots else figure.y_label).endswith("in %"):
        return
    low, high = place.get_xlim() if dots else place.get_ylim()
    (place.set_xlim if dots else place.set_ylim)(max(low, -BEYOND), min(high, 100 + BEYOND))


def _lay_out(drawing: Drawing, kind: str = "png") -> None:
    """Give the panels their places in a file of this kind, as drawing would; nothing is drawn."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.backends.backend_svg import FigureCanvasSVG

    engine, dpi = drawing.get_layout_engine(), drawing.dpi
    assert engine is not None
    (FigureCanvasSVG if kind == "svg" else FigureCanvasAgg)(drawing)  # which measures text in its own way
    try:
        drawing.dpi = FigureCanvasSVG.fixed_dpi if kind == "svg" else dpi
        with suppress(ValueError):  # as drawing does
            engine.execute(drawing)
    finally:
        FigureCanvasAgg(drawing)
        drawing.dpi = dpi


def _panel_size(figure: Figure, lines: int) -> tuple[float, float]:
    """Return width and height of one panel in inches."""
    width = 5.4 if len(figure.panels) == 1 else 3.6
    if figure.kind == "dots":
        return width, 0.9 + len(figure.categories) * max(0.3, 0.14 * lines + 0.12)
    return width, 3.6 if len(figure.panels) == 1 else 3.0


def _look(i: int, kind: str) -> dict[str, Any]:
    dash = DASHES[i % len(DASHES)] if kind == "curve" else "none"
    look = {"color": COLORS[i % len(COLORS)], "marker": MARKERS[i % len(MARKERS)], "linestyle": dash}
    return {**look, "linewidth": 1.6, "markersize": 6, "markeredgecolor": "white", "markeredgewidth": 0.5}


def _curve(place: Axes, panel: Panel, looks: dict[str, dict[str, Any]]) -> None:
    """Draw lines, each with its band. A point whose neighbours have none gets an error bar, for a band needs two."""
    alpha = 0.18 if len(panel.lines) <= 4 else 0.09
    for line in panel.lines:
        look = looks.get(line.label, {"color": "none"})  # the rest have no number in any panel
        place.plot(line.x, line.y, zorder=3, **look)
        if not line.spread:
            continue
        low = [y - s for y, s in zip(line.y, line.spread, strict=True)]
        high = [y + s for y, s in zip(line.y, line.spread, strict=True)]
        known = [math.isfinite(value) for value in low]
        place.fill_between(line.x, low, high, where=known, color=look["color"], alpha=alpha, linewidth=0, zorder=2)
        alone = [i for i in range(len(known)) if known[i] and not any(known[j] for j in (i - 1, i + 1) if 0 <= j < len(known))]
        where, middle, half = ([values[i] for i in alone] for values in (line.x, line.y, line.spread))
        place.errorbar(where, middle, yerr=half, fmt="none", ecolor=look["color"], elinewidth=1.3, capsize=3, zorder=2)


def _dots(place: Axes, panel: Panel, looks: dict[str, dict[str, Any]]) -> None:
    """Draw the dots of each line a little below those of the line before: where it stands is the same in every panel."""
    step = min(0.22, 0.7 / len(looks))
    for i, (label, look) in enumerate(looks.items()):
        shift = (i - (len(looks) - 1) / 2) * step
        for line in panel.lines:
            if line.label == label:
                y = [index + shift for index in line.x]
                place.errorbar(line.y, y, xerr=line.spread or None, elinewidth=1.3, capsize=2.5, zorder=3, **look)


def _points(place: Axes, panel: Panel, looks: dict[str, dict[str, Any]]) -> None:
    """Draw points one by one, and over them the front: a step at each of its points, ringed and with its error bar."""
    for line in panel.lines:
        place.plot(line.x, line.y, zorder=2.5, alpha=0.75, **looks.get(line.label, {"color": "none"}) | {"markersize": 5})
    if panel.front is not None:
        front = panel.front
        place.plot(front.x, front.y, drawstyle="steps-post", zorder=3, **FRONT)
        place.errorbar(front.x, front.y, yerr=front.spread or None, fmt="none", ecolor=FRONT["color"], elinewidth=1, zorder=2.9)


def _ground(place: Axes, figure: Figure) -> None:
    """Draw what lies behind the data: the value 0, and a shade on every other category."""
    dots = figure.kind == "dots"
    if figure.zero:
        (place.axvline if dots else place.axhline)(0, color="#333333", linewidth=1, zorder=1.5)
    if dots:
        place.grid(visible=False, axis="y")
        place.tick_params(axis="y", length=0)
        for i in range(1, len(figure.categories), 2):
            place.axhspan(i - 0.5, i + 0.5, color="#f4f4f4", linewidth=0, zorder=0)


def _legend(drawing: Drawing, looks: dict[str, dict[str, Any]]) -> None:
    """Put a legend below everything, in as few rows as the width holds, and add its height to the drawing's."""
    from matplotlib.lines import Line2D

    handles = [Line2D([], [], label=_text(label, 60), **look) for label, look in looks.items() if label]
    if not handles:
        return
    length = 1.4 if handles[0].get_linestyle() == "None" else 3.4  # room for a dash pattern to show
    across, room = len(handles), 0.98 * drawing.bbox.width
    while True:
        how: dict[str, Any] = {"ncols": across, "handlelength": length, "columnspacing": 1.4}
        legend = drawing.legend(handles=handles, loc="outside lower center", frameon=False, **how)
        extent = legend.get_window_extent()
        if extent.width <= room or across == 1:
            break
        across = _fewer_columns(legend, across, extent.width, room)
        legend.remove()
    inches = extent.height / drawing.dpi
    drawing.set_figheight(drawing.get_figheight() + inches)
    drawing.set_figwidth(max(drawing.get_figwidth(), extent.width / drawing.dpi + 0.1))


def _fewer_columns(legend: Legend, across: int, width: float, room: float) -> int:
    """Return how many columns to try next: the most, in one row more or in several, that may fit by the texts' own widths.

    Making a legend takes as long as drawing its lines, and one of many labels would be made for every count of rows.

    Args:
        across, width: the legend's columns and its width in pixels; nothing that is as wide fits.
        room: the width there is, in pixels.
    """
    texts = [text.get_window_extent().width for text in legend.texts]
    count = len(texts)

    def wide(columns: int) -> float:
        per, more = divmod(count, columns)  # as matplotlib fills them: the first ones have one more
        ends = [0, *itertools.accumulate([per + 1] * more + [per] * (columns - more))]
        return sum(max(texts[start:end]) for start, end in itertools.pairwise(ends))

    each = (width - wide(across)) / across  # of a column, beside its texts: handle and gaps
    fewer = dict.fromkeys(math.ceil(count / rows) for rows in range(1, count + 1))
    slack = legend.columnspacing * legend.prop.get_size_in_points() * legend.figure.dpi / 72  # columns have one gap less
    return next((columns for columns in fewer if columns < across and wide(columns) + each * columns <= room + slack), 1)


def _turn(drawing: Drawing, places: Sequence[Axes]) -> None:
    """Turn the horizontal axis's tick labels where they would overlap."""
    _lay_out(drawing)
    for place in places:
        boxes = [label.get_window_extent() for label in place.get_xticklabels() if label.get_text() and label.get_visible()]
        boxes = sorted((box for box in boxes if box.width), key=lambda box: box.x0)
        if any(left.x1 + 2 > right.x0 for left, right in itertools.pairwise(boxes)):
            for each in places:
                each.tick_params(axis="x", labelrotation=40)
                for label in each.get_xticklabels():
                    label.set(ha="right", rotation_mode="anchor")
            return


def _scales(figure: Figure, place: Axes, names: Sequence[str]) -> None:
    """Set the scales and ticks that all panels share, on one of them."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator, NullLocator

    values = [x for panel in figure.panels for line in panel.lines for x in line.x]
    if figure.x_scale == "log":
        place.set_xscale("log")
        place.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    elif figure.kind == "curve":
        # no ticks between whole numbers, such as steps and classes; 2.5 is no step there
        whole = all(float(value).is_integer() for value in values)
        place.xaxis.set_major_locator(MaxNLocator("auto", integer=whole, steps=[1, 2, 5, 10]))
        if len(set(values)) == 1:
            place.set_xticks(values[:1])
    if figure.x_ticks:
        place.set_xticks([at for at, _ in figure.x_ticks], [_text(text, 40) for _, text in figure.x_ticks])
        place.xaxis.set_minor_locator(NullLocator())
    if figure.kind == "dots":
        place.set_yticks(range(len(names)), names)
        place.set_ylim(len(names) - 0.5, -0.5)


def _text(text: str, width: int) -> str:
    """Return text as it is drawn: no paths, no formulas, in lines of so many characters."""
    plain = without_paths(" ".join(text.split())).replace("$", r"\$")
    return "\n".join(textwrap.wrap(plain, max(width, 12), break_on_hyphens=False))
