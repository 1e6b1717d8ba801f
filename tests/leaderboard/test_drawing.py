"""How much work a figure takes, and that sparing it changes no byte: legends are not tried in vain, nothing is drawn twice."""

from __future__ import annotations

import math
from io import BytesIO
from pathlib import Path
from typing import Any

import matplotlib
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Drawing
from matplotlib.legend import Legend
from matplotlib.lines import Line2D

from harness.leaderboard import drawing
from harness.leaderboard.drawing import FAMILIES, METADATA, STYLE, draw
from harness.leaderboard.figures import Figure
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

    def count(self: Axes, *words: Any, **how: Any) -> None:
        asked.append(self.get_autoscale_on())
        kept(self, *words, **how)

    monkeypatch.setattr(Axes, "autoscale_view", count)
    times = []
    for lines in (5, 20):
        asked.clear()
        panel = figure(lines, panels=1).panels[0]
        place = Drawing().subplots()
        drawing._curve(place, panel, {line.label: drawing._look(0, "curve") for line in panel.lines})
        times.append(sum(asked))
        low, high = place.get_ylim()
        ends = [y + sign * s for line in panel.lines for y, s in zip(line.y, line.spread, strict=True) for sign in (-1, 1)]
        assert low < min(ends) < max(ends) < high
    assert times[0] == times[1]
