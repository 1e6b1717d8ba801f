"""How much work a figure takes, and that sparing it changes no byte: legends are not tried in vain, nothing is drawn twice."""

from __future__ import annotations

import math
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any, Literal

import matplotlib
import pytest
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure as Drawing
from matplotlib.legend import Legend
from matplotlib.lines import Line2D

from harness.leaderboard import drawing, panels
from harness.leaderboard.drawing import FAMILIES, METADATA, STYLE, draw
from harness.leaderboard.figures import Figure, Line, Panel
from tests.leaderboard.looking import figure


@pytest.fixture
def legends(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return the list that the columns of every legend that is made are added to."""
    made: list[int] = []
    start = Legend.__init__

    def count(self: Legend, *words: Any, **how: Any) -> None:
        made.append(how["ncols"])
        start(self, *words, **how)

    monkeypatch.setattr(Legend, "__init__", count)
    return made


def columns_by_trying(shown: Figure) -> int:
    """Return how many columns the legend gets when one after the other is tried, from one row on."""
    labels = list(dict.fromkeys(line.label for panel in shown.panels for line in panel.lines))
    looks = {label: drawing._look(i, shown.kind) for i, label in enumerate(labels)}
    with matplotlib.rc_context(STYLE):
        page = Drawing(figsize=(0.6 + 2 * 3.6, 3.0), layout="constrained")
        handles = [Line2D([], [], label=label, **look) for label, look in looks.items()]
        for rows in range(1, len(handles) + 1):
            how: dict[str, Any] = {"ncols": math.ceil(len(handles) / rows), "handlelength": 3.4, "columnspacing": 1.4}
            legend = page.legend(handles=handles, loc="outside lower center", frameon=False, **how)
            if legend.get_window_extent().width <= 0.98 * page.bbox.width:
                break
            legend.remove()
        return int(how["ncols"])


@pytest.mark.parametrize(("unit", "bounded"), [("accuracy in %", True), ("training loss", False)])
@pytest.mark.parametrize("kind", ["curve", "dots"])
def test_an_axis_of_percentages_ends_with_them_however_wide_an_interval_is(
    unit: str, bounded: bool, kind: Literal["curve", "dots"]
) -> None:
    panel = Panel("", (Line("kl", (0.0, 1.0), (10.0, 95.0), (60.0, 60.0)),))
    dots = kind == "dots"
    labels = {"x_label": unit, "y_label": ""} if dots else {"x_label": "epoch", "y_label": unit}
    place = drawing._drawing(Figure("a", "", (panel,), **labels, kind=kind, categories=("a", "b") if dots else ())).axes[0]
    low, high = place.get_xlim() if dots else place.get_ylim()
    assert (-5 < low < 0 and 100 < high < 105) == bounded
    assert (low < -50 and high > 155) == (not bounded)


@pytest.mark.parametrize("lines", [1, 2, 5, 9, 17, 30])
@pytest.mark.parametrize("words", [1, 4, 11])
def test_a_legend_has_as_few_rows_as_fit_and_is_made_a_few_times_only(
    tmp_path: Path, legends: list[int], lines: int, words: int
) -> None:
    shown = figure(lines, words=words, seed=lines + words)
    draw(shown, tmp_path)
    made = list(legends)
    assert made[-1] == columns_by_trying(shown)
    assert len(made) <= 4


def test_a_figure_is_drawn_once_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[str] = []
    kept = Drawing.draw

    def count(self: Drawing, renderer: Any) -> None:
        drawn.append(type(renderer).__name__)
        kept(self, renderer)

    monkeypatch.setattr(Drawing, "draw", count)
    draw(figure(3), tmp_path)
    assert len(drawn) == len(METADATA) == 2


@pytest.mark.parametrize(
    "shown", [figure(3), figure(30, panels=4, words=6), figure(2, points=1, panels=1)], ids=["few", "many", "points"]
)
def test_a_file_has_the_bytes_that_matplotlibs_own_layout_gives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shown: Figure
) -> None:
    ours = {path.suffix[1:]: path.read_bytes() for path in draw(shown, tmp_path)}
    monkeypatch.setattr(drawing, "_lay_out", lambda page, kind="png": page.draw_without_rendering())
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(STYLE)
        page = drawing._drawing(shown)
        for kind, metadata in METADATA.items():
            stream = BytesIO()
            page.savefig(stream, format=kind, metadata=metadata)
            assert stream.getvalue().replace(*FAMILIES) == ours[kind], kind


def test_how_far_the_axes_reach_is_not_asked_again_for_every_line(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[bool] = []
    kept = Axes.autoscale_view

    def note(self: Axes, *words: Any, **how: Any) -> None:
        asked.append(self.get_autoscale_on())
        kept(self, *words, **how)

    monkeypatch.setattr(Axes, "autoscale_view", note)
    times = []
    for lines, count in ((5, 1), (20, 1), (5, 3)):
        asked.clear()
        shown = figure(lines, panels=count)
        places = drawing._drawing(shown).axes
        times.append(sum(asked))
        drawn = [line for panel in shown.panels for line in panel.lines]
        ends = [y + sign * s for line in drawn for y, s in zip(line.y, line.spread, strict=True) for sign in (-1, 1)]
        assert len({place.get_ylim() for place in places}) == len({place.get_xlim() for place in places}) == 1
        low, high = places[-1].get_ylim()
        assert low < min(ends) < max(ends) < high
    assert times[0] == times[1] == times[2]


@pytest.mark.parametrize(
    ("kind", "shown"),
    [("curve", figure(2, panels=4)), ("dots", figure(2, points=2, panels=2)), ("points", figure(2, points=1, panels=1))],
)
def test_panels_have_the_bytes_that_axes_shared_by_matplotlib_have(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: Literal["curve", "dots", "points"], shown: Figure
) -> None:
    places = tuple("012")
    shown = replace(shown, kind=kind, categories=places if kind == "dots" else (), zero=kind == "dots")
    ours = [path.read_bytes() for path in draw(shown, tmp_path)]

    def shared(page: Drawing, rows: int, across: int) -> list[Axes]:
        return [*page.subplots(rows, across, sharex=True, sharey=True, squeeze=False).flat]

    monkeypatch.setattr(panels, "panels", shared)
    monkeypatch.setattr(panels, "gather", lambda places: None)
    monkeypatch.setattr(panels, "share", lambda places: None)
    assert [path.read_bytes() for path in draw(shown, tmp_path)] == ours


def test_an_axis_looks_for_its_ticks_once_whenever_a_panel_is_measured_or_drawn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[Axis] = []
    kept: Any = vars(Axis)["_update_ticks"]

    def count(self: Axis) -> Any:
        looked.append(self)
        return kept(self)

    monkeypatch.setattr(Axis, "_update_ticks", count)
    draw(figure(2, panels=3), tmp_path)
    measured = 3 * 2  # layouts, each of which measures twice
    assert max(Counter(map(id, looked)).values()) <= measured + len(METADATA) + 1  # and once for labels that overlap


def test_no_panel_asks_the_others_how_far_they_reach() -> None:
    for place in drawing._drawing(figure(1, points=2, panels=4)).axes:
        assert place.get_shared_x_axes().get_siblings(place) == place.get_shared_y_axes().get_siblings(place) == [place]


def test_what_drawing_loads_is_loaded_once_for_all_processes(tmp_path: Path) -> None:
    script = """
import sys
from pathlib import Path
from harness.leaderboard import drawing
from tests.leaderboard.looking import figure

def one_by_one(work):
    before = {*sys.modules}
    paths = [draw() for draw in work]
    late = {name for name in {*sys.modules} - before if name.partition(".")[0] in {"matplotlib", "PIL", "numpy", "harness"}}
    assert not late, late
    return paths

drawing.on_cores = one_by_one
assert len(drawing.draw_all([figure(1, points=2, panels=1)] * 2, Path(sys.argv[1]))) == 4
assert "matplotlib.style" not in sys.modules, "it reads the files of all styles"
"""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script, str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
