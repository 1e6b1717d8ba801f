"""Panels beside each other: how far they reach, which of them have labels, how often an axis looks for its ticks."""

from __future__ import annotations

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure as Drawing

from harness.leaderboard.panels import gather, panels, share


def drawing() -> Drawing:
    shown = Drawing()
    FigureCanvasAgg(shown)
    return shown


def test_all_panels_reach_as_far_as_what_any_of_them_shows() -> None:
    places = panels(drawing(), 1, 3)
    places[0].plot([0, 1], [5, 6])
    places[2].plot([3, 9], [-2, 4])
    gather(places)
    share(places)
    reach = {(place.get_xlim(), place.get_ylim()) for place in places}
    ((across, up),) = reach
    assert across[0] <= 0 < 9 <= across[1]
    assert up[0] <= -2 < 6 <= up[1]


def test_panels_that_show_nothing_keep_their_limits() -> None:
    places = panels(drawing(), 1, 2)
    before = [(place.get_xlim(), place.get_ylim()) for place in places]
    gather(places)
    share(places)
    assert [(place.get_xlim(), place.get_ylim()) for place in places] == before


def test_inner_panels_have_no_labels_at_their_ticks() -> None:
    shown = drawing()
    places = panels(shown, 2, 2)
    shown.draw_without_rendering()
    labelled = [tuple(axis.get_major_ticks()[0].label1.get_visible() for axis in (place.xaxis, place.yaxis)) for place in places]
    assert labelled == [(False, True), (False, False), (True, True), (True, False)]


def test_an_axis_looks_for_its_ticks_once_in_a_measuring(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = drawing()
    (place,) = panels(shown, 1, 1)
    looked: list[int] = []
    find = type(place.xaxis)._update_ticks
    monkeypatch.setattr(type(place.xaxis), "_update_ticks", lambda axis: looked.append(1) or find(axis))
    place.get_tightbbox(shown.canvas.get_renderer())
    assert len(looked) == 1
