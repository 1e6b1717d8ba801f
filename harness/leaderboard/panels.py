"""The panels of a drawing: axes that reach equally far, and look for their ticks once whenever they are measured or drawn."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backend_bases import RendererBase
from matplotlib.figure import Figure as Drawing
from matplotlib.transforms import Bbox


class PanelAxes(Axes):
    """Axes that are measured and drawn in a third of the time: each axis looks for its ticks once, where it would nine times."""

    def get_tightbbox(self, renderer: RendererBase | None = None, **how: Any) -> Bbox | None:
        """Return the box around the axes and all that stands beside them, in pixels; None where they are not visible."""
        with _ticks_kept(self):
            return super().get_tightbbox(renderer, **how)

    def draw(self, renderer: RendererBase) -> None:
        """Draw the axes and all that stands in and beside them."""
        with _ticks_kept(self):
            super().draw(renderer)


@contextmanager
def _ticks_kept(place: Axes) -> Iterator[None]:
    """Keep what an axis's ticks were found to be: neither size nor reach change while axes are measured or drawn.

    matplotlib has no public name for it. Where it calls the method otherwise some day, nothing is kept, and nothing else changes.
    """
    axes: list[Any] = [place.xaxis, place.yaxis]
    for axis in axes:
        axis._update_ticks = cache(axis._update_ticks)
    try:
        yield
    finally:
        for axis in axes:
            del axis._update_ticks


def panels(drawing: Drawing, rows: int, across: int) -> list[Axes]:
    """Return the axes of a grid of panels, row by row; inner ones have no labels at their ticks."""
    places = [*drawing.subplots(rows, across, squeeze=False, subplot_kw={"axes_class": PanelAxes}).flat]
    for place in places:
        place.set_autoscale_on(False)  # or every artist asks all those before it how far the axes must reach
        place.label_outer()
    return places


def gather(places: Sequence[Axes]) -> None:
    """Let the first of some panels reach as far as what is drawn in any of them asks for, and as what it is yet to be given."""
    lead = places[0]
    for place in places[1:]:
        lead.update_datalim(place.dataLim.get_points())
    lead.set_autoscale_on(True)
    if any(place.has_data() for place in places):  # without, the limits stay what they are
        lead.autoscale_view()


def share(places: Sequence[Axes]) -> None:
    """Let all panels reach as far as the first one.

    Axes that matplotlib itself shares ask all others about their reach whenever one is asked for its own, which for forty panels
    takes as long as drawing them.
    """
    for place in places[1:]:
        place.set_xlim(places[0].get_xlim())
        place.set_ylim(places[0].get_ylim())
