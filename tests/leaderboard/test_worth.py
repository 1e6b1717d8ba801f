"""Figures of accuracy against prices: what stands in them, and what is on the front."""

from __future__ import annotations

import random
from functools import partial
from xml.etree import ElementTree

import pandas
import pytest

from harness.leaderboard import worth as module
from harness.leaderboard.drawing import draw
from harness.leaderboard.prices import COLUMNS, MEASURES, amount, beside
from harness.leaderboard.render import render
from harness.leaderboard.worth import axis, front, worth
from harness.running.scenario import named


def priced(planter, **prices):
    """Return the planted records' frame, each price a function of a row."""
    frame = planter.frame
    columns = {name: frame.apply(prices[name], axis=1) if name in prices else float("nan") for name in COLUMNS}
    return beside(frame, pandas.DataFrame({**columns, "id": frame["id"]}).set_index("id"))


def test_a_front_holds_what_no_other_is_as_good_as_for_less():
    draws = random.Random(0)
    for _ in range(200):
        points = [(draws.randrange(6), draws.randrange(6)) for _ in range(draws.randrange(1, 12))]
        chosen = [points[place] for place in front(points)]
        better = {p for p in points if not any(q != p and q[0] <= p[0] and q[1] >= p[1] for q in points)}
        assert {*chosen} == better and len(chosen) == len(better)
        assert chosen == sorted(chosen)


def test_only_prices_that_differ_have_a_figure_and_a_point_is_a_setup(planter):
    for ipc, accuracy in ((1, 50.0), (10, 80.0)):
        planter.cell(accuracy, accuracy + 2, loss="kl", ipc=ipc)
        planter.cell(accuracy - 5, accuracy - 5, loss="ce", ipc=ipc)
    planter.cell(40.0, 40.0, method="Random", ipc=10)
    frame = priced(
        planter,
        image_bytes=lambda row: 1000.0 * row["ipc"],
        label_bytes=lambda row: 10.0,
        steps=lambda row: 100.0,
        operations=lambda row: 1e9 if row["loss"] == "ce" else 3e9,
    )
    figures = {figure.name: figure for figure in worth(frame)}
    assert [*figures] == ["price-bytes", "price-operations"], "all take 100 steps"
    (panel,) = figures["price-bytes"].panels
    assert {line.label: (line.x, line.y) for line in panel.lines} == {
        "RDED": ((1010, 1010, 10010, 10010), (51, 45, 81, 75)),
        "Random": ((10010,), (40,)),
    }
    assert (panel.front.x, panel.front.y) == ((1010, 10010), (51, 81)) and panel.front.spread[0] == pytest.approx(
        12.706, abs=1e-3
    )
    assert figures["price-operations"].panels[0].front.y == (75, 81)
    caption = figures["price-bytes"].caption
    assert "RDED, IPC 1, kl, adamw, convnet3 (51.0 %, 1.01 kB); RDED, IPC 10, kl, adamw, convnet3 (81.0 %, 10 kB)." in caption


def test_images_as_pixels_have_a_figure_where_some_lie_in_files_and_none_elsewhere(planter):
    for method, ipc in (("Random", 1), ("RDED", 1), ("RDED", 10)):
        planter.cell(50.0 + ipc, 52.0 + ipc, method=method, ipc=ipc)

    def names(files):
        frame = priced(
            planter,
            image_bytes=lambda row: row["ipc"] * (300.0 if row["method"] in files else 2560.0),
            pixel_bytes=lambda row: row["ipc"] * 2560.0,
            label_bytes=lambda row: 10.0,
        )
        return {figure.name: [line.x for line in figure.panels[0].lines] for figure in worth(frame)}

    assert names({"RDED"}) == {"price-bytes": [(2570,), (310, 3010)], "price-pixels": [(2570,), (2570, 25610)]}
    assert [*names(set())] == ["price-bytes"]


def test_failed_trainings_are_no_points_datasets_are_panels_and_a_training_of_two_scenarios_is_one(planter):
    steps = {"steps": lambda row: 10.0 * row["ipc"]}
    for dataset, digest in (("digits", "d" * 64), ("fashion-mnist", "f" * 64)):
        for ipc in (1, 2):
            planter.cell(50.0 + ipc, dataset=dataset, data=digest, ipc=ipc)
            planter.cell(50.0 + ipc, dataset=dataset, data=digest, ipc=ipc, scenario="another")
    planter.plant(seed=0, status="failed", error="boom", ipc=5, loss="ce")
    (figure,) = worth(priced(planter, **steps))
    assert [(panel.title, [line.x for line in panel.lines]) for panel in figure.panels] == [
        ("digits", [(10, 20)]),
        ("fashion-mnist", [(10, 20)]),
    ]


def test_labels_of_a_scenarios_own_name_what_they_tell_apart(planter):
    for ipc in (1, 2):
        planter.cell(50.0 + ipc, ipc=ipc, strategy=f"way {ipc}", gamma=0.1 * ipc, sure=ipc == 1, same="always")
    (figure,) = worth(priced(planter, steps=lambda row: 10.0 * row["ipc"]))
    assert "RDED, IPC 2, kl, adamw, convnet3, way 2 (52.0 %, 20)" in figure.caption
    assert "always" not in figure.caption


def test_of_very_many_setups_the_best_of_each_set_at_each_price_is_shown_and_that_is_said(planter, monkeypatch):
    monkeypatch.setattr(module, "MOST_SETUPS", 4)
    for method in ("RDED", "Random"):
        for ipc in (1, 2):
            for i, loss in enumerate(("kl", "ce")):
                planter.cell(50.0 + i + ipc, method=method, ipc=ipc, loss=loss)
    (figure,) = worth(priced(planter, steps=lambda row: 10.0 * row["ipc"]))
    assert [(line.label, line.y) for line in figure.panels[0].lines] == [("RDED", (52, 53)), ("Random", (52, 53))]
    assert "Of more than 4 setups, the best of each set at each price." in figure.caption


def test_without_prices_or_records_there_is_no_figure(planter):
    assert worth(pandas.DataFrame()) == []
    planter.cell(50.0, ipc=1)
    planter.cell(60.0, ipc=10)
    assert worth(planter.frame) == [] == worth(priced(planter))


STEPS, BYTES = (partial(amount, measure) for name in ("steps", "image_bytes") for measure in MEASURES if measure.column == name)


@pytest.mark.parametrize(
    ("values", "written", "scale", "ticks"),
    [
        ([100, 200], STEPS, "linear", ["100", "120", "140", "160", "180", "200"]),
        ([0, 7], STEPS, "linear", ["0", "2", "4", "6", "8"]),
        ([2570, 25700], BYTES, "log", ["5 kB", "10 kB", "20 kB"]),
        ([10, 1_000_000], STEPS, "log", ["10", "100", "1,000", "10,000", "100,000", "1,000,000"][::2]),
        ([0, 1000], STEPS, "linear", ["0", "200", "400", "600", "800", "1,000"]),
    ],
)
def test_an_axis_is_logarithmic_from_a_decade_on_and_its_ticks_have_units(values, written, scale, ticks):
    found, places = axis([float(value) for value in values], written)
    assert (found, [text for _, text in places]) == (scale, ticks)


def test_a_board_shows_its_figures_of_price_with_the_front_marked_and_the_same_bytes_again(planter, tmp_path):
    for ipc in (1, 10):
        planter.cell(50.0 + ipc, 51.0 + ipc, ipc=ipc)
    board = planter.board(tmp_path)

    def prices(records):
        steps = {record.id: 10.0 * record.trial.labels.ipc for record in records}
        return pandas.DataFrame(float("nan"), index=[*steps], columns=COLUMNS).assign(steps=pandas.Series(steps))

    def files():
        paths = render(board, named, prices=prices)
        return {path.name: path.read_bytes() for path in paths}

    first = files()
    readme, page = (first[name].decode() for name in ("README.md", "index.html"))
    assert "## Price and worth\n\n![Accuracy against steps](figures/price-steps.svg)\n\nRinged, " in readme
    assert page.count('aria-label="Accuracy against steps"') == 1 and '<h2 id="prices">Price and worth</h2>' in page
    texts = [element.text for element in ElementTree.fromstring(first["price-steps.svg"]).iter() if element.tag.endswith("}text")]
    assert {"RDED", "Pareto front", "steps", "100"} <= {*texts}
    for path in (board.parent / "figures").iterdir():
        path.unlink()
    assert files() == first


def test_points_are_drawn_one_by_one_and_the_front_as_steps_through_rings(planter, tmp_path):
    for ipc, accuracy in ((1, 50.0), (2, 60.0), (3, 55.0)):
        planter.cell(accuracy, accuracy + 1, ipc=ipc)
    (figure,) = worth(priced(planter, steps=lambda row: 10.0 * row["ipc"]))
    (svg, png) = draw(figure, tmp_path)
    groups = [group for group in ElementTree.parse(svg).iter() if len([c for c in group if c.tag.endswith("}use")]) > 1]
    counts = sorted(len([c for c in group if c.tag.endswith("}use")]) for group in groups)
    assert counts[:2] == [2, 3], "two on the front, three setups"
    assert png.stat().st_size > 5000


def test_how_often_frames_are_asked_does_not_grow_with_the_setups(new_planter, monkeypatch):
    asked: list[int] = []
    kept = pandas.Series.__getitem__, pandas.DataFrame.__getitem__

    def counting(kept):
        def ask(self, key):
            asked[-1] += 1
            return kept(self, key)

        return ask

    frames = []
    for count in (4, 24):
        planter = new_planter()
        for ipc in range(1, count + 1):
            planter.cell(50.0 + ipc, 51.0 + ipc, ipc=ipc)
        frames.append(priced(planter, steps=lambda row: 10.0 * row["ipc"]))
    for of, method in zip((pandas.Series, pandas.DataFrame), kept, strict=True):
        monkeypatch.setattr(of, "__getitem__", counting(method))
    for frame in frames:
        asked.append(0)
        (figure,) = worth(frame)
        assert len(figure.panels[0].lines[0].x) == len(frame) / 2
    assert 0 < asked[0] == asked[1]
