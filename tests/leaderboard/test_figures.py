"""From tables to figures, and from figures to files beside a board."""

from __future__ import annotations

import math
import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas
import pytest
from PIL import Image
from scipy import stats

from harness.leaderboard.drawing import draw
from harness.leaderboard.figures import Figure, Line, Panel, curves, dots, slug
from harness.leaderboard.render import insert, render
from harness.leaderboard.tables import Table, pivot
from harness.running.scenario import Scenario, named
from harness.running.scenario import registry as scenarios
from tests.leaderboard.looking import FILES

NAN = math.nan
GAMMAS = ("0.1", "0.5", "0.9")


@pytest.fixture(autouse=True)
def planted():
    """Register the scenario that planted records belong to: accuracy against gamma, one figure a table."""

    @scenarios.register("planted")
    class Planted(Scenario):
        columns = "gamma"

        def figures(self, tables):
            return curves(tables, name="accuracy", title="Accuracy against gamma", x_label="gamma")

    yield Planted
    scenarios.remove("planted")


def sweep(planter, gammas=GAMMAS, ipcs=(10,), **changes):
    """Plant two seeds of KL and GIFT at each gamma: KL 80 ± √2/2 and 10 more a step, GIFT five points above."""
    for ipc in ipcs:
        for loss, base in (("kl", 0.0), ("gift", 5.0)):
            for i, gamma in enumerate(gammas):
                low = 30.0 + base + 10 * i + ipc / 10
                planter.cell(low, low + 1, loss=loss, ipc=ipc, gamma=gamma, options={"gamma": gamma}, **changes)


def figure(**changes) -> Figure:
    line = Line("kl", (1.0, 2.0, 3.0), (50.0, 60.0, 65.0), (1.0, 2.0, 1.0))
    made = Figure("accuracy", "Accuracy", (Panel("IPC 10", (line,)),), "steps", "accuracy in %")
    return replace(made, **changes)


def lines(figure: Figure) -> dict[tuple[str, str], Line]:
    return {(panel.title, line.label): line for panel in figure.panels for line in panel.lines}


def drawn(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((folder / "figures").iterdir())}


# -- from tables ---------------------------------------------------------------------------------------------------------


def test_a_curve_holds_the_means_and_deviations_of_its_rows_cells(planter):
    sweep(planter, ipcs=(1, 10))
    [found] = curves(pivot(planter.frame, columns="gamma"), name="sweep", title="Accuracy", x_label="gamma")
    assert (found.name, found.title, found.x_label, found.y_label) == ("sweep", "Accuracy — digits", "gamma", "accuracy in %")
    assert list(lines(found)) == [("IPC 1", "kl"), ("IPC 1", "gift"), ("IPC 10", "kl"), ("IPC 10", "gift")]
    assert lines(found)["IPC 1", "kl"].y == pytest.approx((30.6, 40.6, 50.6))
    assert lines(found)["IPC 10", "gift"].x == (0.1, 0.5, 0.9)
    assert lines(found)["IPC 10", "gift"].y == pytest.approx((36.5, 46.5, 56.5))
    assert lines(found)["IPC 10", "gift"].spread == pytest.approx([np.std([0, 1], ddof=1)] * 3)
    assert found.caption == "Bands: ± standard deviation over the seeds (ddof 1)."


def test_more_than_six_lines_are_split_by_method_and_then_into_parts(planter):
    losses = tuple(f"loss{i}" for i in range(8))
    for method in ("RDED", "random"):
        for loss in losses:
            for gamma in ("0.1", "0.9"):
                planter.cell(30.0, 31.0, gamma=gamma, loss=loss, method=method, native="kl")
    tables = pivot(planter.frame, columns="gamma")
    [split] = curves(tables, name="sweep", x_label="gamma")
    titles = [f"IPC 10, {method}, {part} of 2" for method in ("RDED", "random") for part in (1, 2)]
    assert [panel.title for panel in split.panels] == titles
    assert [len(panel.lines) for panel in split.panels] == [4] * 4
    assert list(lines(split)) == [
        (title, loss) for i, title in enumerate(titles) for loss in losses[4 * (i % 2) : 4 * (i % 2) + 4]
    ]
    planter.records[:] = [record for record in planter.records if record.trial.labels.loss in losses[:3]]
    [whole] = curves(pivot(planter.frame, columns="gamma"), name="sweep", x_label="gamma")
    assert [len(panel.lines) for panel in whole.panels] == [6]


def test_dots_may_have_a_panel_a_column_and_students_intervals(planter):
    for optimizer, accuracy in (("sgd", 50.0), ("adamw", 60.0)):
        for method in ("RDED", "random"):
            for ipc in (1, 10):
                planter.cell(accuracy, accuracy + 1, accuracy + 3, optimizer=optimizer, method=method, ipc=ipc)
    tables = pivot(planter.frame)
    [found] = dots(tables, name="cross", panels="column", intervals=True)
    panels = ["IPC 1, sgd", "IPC 1, adamw", "IPC 10, sgd", "IPC 10, adamw"]
    assert list(lines(found)) == [(panel, method) for panel in panels for method in ("RDED", "random")]
    assert found.categories == ("kl",)
    values = [50.0, 51.0, 53.0]
    low, high = stats.t.interval(0.95, 2, loc=np.mean(values), scale=stats.sem(values))
    assert lines(found)["IPC 1, sgd", "RDED"].spread == pytest.approx([(high - low) / 2])
    assert found.caption == "Bars: 95 % intervals."
    [plain] = dots(tables, name="cross")
    assert plain.caption.startswith("Bars: ± standard deviation")


def test_points_stand_in_the_order_of_their_positions(planter):
    sweep(planter, gammas=("0.9", "0.1", "0.5"))
    [found] = curves(pivot(planter.frame, columns="gamma"), name="sweep", x_label="gamma")
    assert lines(found)["IPC 10", "kl"].x == (0.1, 0.5, 0.9)
    assert lines(found)["IPC 10", "kl"].y == pytest.approx((41.5, 51.5, 31.5))


def test_a_column_without_a_position_is_left_out(planter):
    sweep(planter, gammas=("0.1", "best", "0.9"))
    tables = pivot(planter.frame, columns="gamma")
    [found] = curves(tables, name="sweep", x_label="gamma", x=lambda label: None if label == "best" else float(label))
    assert lines(found)["IPC 10", "kl"].x == (0.1, 0.9)
    assert lines(found)["IPC 10", "kl"].y == pytest.approx((31.5, 51.5))
    with pytest.raises(ValueError, match="best"):
        curves(tables, name="sweep", x_label="gamma")


def test_a_line_is_named_by_what_tells_it_from_the_others(planter):
    sweep(planter, method="RDED")
    [alone] = curves(pivot(planter.frame, columns="gamma"), name="sweep", x_label="gamma")
    sweep(planter, method="random")
    tables = pivot(planter.frame, columns="gamma")
    [both] = curves(tables, name="sweep", x_label="gamma")
    [apart] = curves(tables, name="sweep", x_label="gamma", panels="method")
    assert [label for _, label in lines(alone)] == ["kl", "gift"]
    assert [label for _, label in lines(both)] == ["RDED, kl", "RDED, gift", "random, kl", "random, gift"]
    assert list(lines(apart)) == [("RDED", "kl"), ("RDED", "gift"), ("random", "kl"), ("random", "gift")]
    kept = [record for record in planter.records if record.trial.labels.loss == "kl"]
    planter.records[:] = kept
    [sets] = curves(pivot(planter.frame, columns="gamma"), name="sweep", x_label="gamma")
    assert [label for _, label in lines(sets)] == ["RDED", "random"]


def test_a_panel_of_a_method_is_one_of_an_ipc_too_where_there_are_several(planter):
    sweep(planter, ipcs=(1, 10))
    sweep(planter, ipcs=(1, 10), method="random")
    tables = pivot(planter.frame, columns="gamma")
    found = [panel.title for f in curves(tables, name="s", x_label="gamma", panels="method") for panel in f.panels]
    assert found == ["RDED, IPC 1", "RDED, IPC 10", "random, IPC 1", "random, IPC 10"]


def test_a_cell_without_a_number_is_a_missing_point_and_a_row_without_any_no_line(planter):
    sweep(planter)
    for gamma in GAMMAS:
        planter.plant(None, loss="ce", gamma=gamma, options={"gamma": gamma}, status="failed", error="boom")
    planter.cell(70.0, loss="mse", gamma="0.9", options={"gamma": "0.9"})
    [found] = curves(pivot(planter.frame, columns="gamma"), name="sweep", x_label="gamma")
    assert [label for _, label in lines(found)] == ["kl", "gift", "mse"]
    assert lines(found)["IPC 10", "mse"].y == pytest.approx((NAN, NAN, 70.0), nan_ok=True)
    assert lines(found)["IPC 10", "mse"].spread == ()


def test_tables_without_a_number_make_no_figure(planter):
    planter.plant(None, gamma="0.1", status="failed", error="boom")
    tables = pivot(planter.frame, columns="gamma")
    assert tables
    assert curves(tables, name="sweep", x_label="gamma") == []
    assert dots(tables, name="sweep") == []
    assert curves([], name="sweep", x_label="gamma") == []


def test_a_table_cut_by_ipc_because_it_is_wide_makes_one_figure(planter):
    gammas = [f"0.{i}" for i in range(1, 9)]
    sweep(planter, gammas=gammas, ipcs=(1, 10))
    tables = pivot(planter.frame, columns="gamma")
    assert len(tables) == 2
    [found] = curves(tables, name="sweep", x_label="gamma")
    assert (found.name, found.title) == ("sweep", "digits")
    assert [panel.title for panel in found.panels] == ["IPC 1", "IPC 10"]


def test_figures_of_several_tables_are_named_by_what_their_headings_say(planter):
    sweep(planter, epochs=150)
    sweep(planter, epochs=300)
    tables = pivot(planter.frame, columns="gamma")
    found = curves(tables, name="sweep", title="Accuracy", x_label="gamma")
    assert [f.name for f in found] == ["sweep-150-epochs", "sweep-300-epochs"]
    assert [f.title for f in found] == ["Accuracy — digits, 150 epochs", "Accuracy — digits, 300 epochs"]
    other = [replace(table, title=table.title.replace("digits", "fashion")) for table in tables]
    assert [f.name for f in dots([*tables, *other], name="sweep")] == [
        "sweep-digits-150-epochs",
        "sweep-digits-300-epochs",
        "sweep-fashion-150-epochs",
        "sweep-fashion-300-epochs",
    ]


def test_names_are_unique_even_where_titles_are_not(planter):
    sweep(planter)
    [table] = pivot(planter.frame, columns="gamma")
    same = [table, table, replace(table, title="digits — a/b"), replace(table, title="digits — a b")]
    names = [f.name for f in curves(same, name="sweep", x_label="gamma")]
    assert names == ["sweep", "sweep-2", "sweep-a-b", "sweep-a-b-2"]


def test_titles_are_plain_text(planter):
    sweep(planter, dataset="my_*set*")
    [found] = curves(pivot(planter.frame, columns="gamma"), name="sweep", x_label="gamma")
    assert found.title == "my_*set*"


def test_a_dot_plot_has_a_category_a_row_and_a_line_a_method(planter):
    for method, gain in (("RDED", 0.0), ("random", -20.0)):
        for loss, accuracy in (("kl", 80.0), ("gift", 85.0), ("ce", 60.0)):
            if (method, loss) != ("random", "ce"):
                planter.cell(accuracy + gain, accuracy + gain + 2, method=method, loss=loss)
    [found] = dots(pivot(planter.frame), name="losses", title="By loss", zero=True)
    assert (found.kind, found.zero, found.x_label, found.categories) == ("dots", True, "accuracy in %", ("kl", "gift", "ce"))
    assert list(lines(found)) == [("IPC 10", "RDED"), ("IPC 10", "random")]
    assert lines(found)["IPC 10", "RDED"].x == (0, 1, 2)
    assert lines(found)["IPC 10", "RDED"].y == pytest.approx((81, 86, 61))
    assert lines(found)["IPC 10", "random"].y == pytest.approx((61, 66, NAN), nan_ok=True)
    assert lines(found)["IPC 10", "RDED"].spread == pytest.approx([math.sqrt(2)] * 3)


def test_a_dot_plot_of_one_column_leaves_the_others_out(planter):
    sweep(planter)
    tables = pivot(planter.frame, columns="gamma")
    [one] = dots(tables, name="losses", column="0.5")
    [every] = dots(tables, name="losses")
    assert {label: line.y for (_, label), line in lines(one).items()} == {"RDED": pytest.approx((41.5, 46.5))}
    assert [label for _, label in lines(every)] == list(GAMMAS)
    assert lines(every)["IPC 10", "0.9"].y == pytest.approx((51.5, 56.5))
    assert dots(tables, name="losses", column="0.7") == []


def test_a_rows_place_among_the_categories_does_not_hang_on_which_method_has_it(planter):
    planter.cell(80.0, method="RDED", loss="kl")
    planter.cell(70.0, method="random", loss="gift", native="gift")
    planter.plant(None, method="RDED", loss="ce", status="failed", error="boom")
    [found] = dots(pivot(planter.frame), name="losses")
    points = [(label, x, y) for (_, label), line in lines(found).items() for x, y in zip(line.x, line.y, strict=True)]
    shown = {(label, found.categories[int(x)]): y for label, x, y in points if not math.isnan(y)}
    assert shown == {("RDED", "kl"): 80, ("random", "gift"): 70}
    assert set(found.categories) == {"kl", "gift"}


def test_where_cells_have_an_interval_it_is_what_bars_show():
    cells = pandas.DataFrame(
        {"method": "RDED", "row": ["kl", "gift"], "ipc": 10, "column": "gain", "value": "", "mean": [1.0, 2.0], "std": 5.0}
    ).assign(low=[0.0, 1.5], high=[2.0, 2.5])
    table = Table("digits", cells, "loss", "", (("RDED", "kl"), ("RDED", "gift")), (("10", "gain"),))
    [found] = dots([table], name="gains", column="gain")
    [line] = lines(found).values()
    assert line.spread == (1.0, 0.5)
    assert found.caption == "Bars: 95 % intervals."
    [hidden] = dots([replace(table, row_labels=(("RDED", "gift"),))], name="gains")
    assert hidden.categories == ("gift",)


def test_cells_without_means_are_refused_by_name():
    cells = pandas.DataFrame({"method": "RDED", "row": ["kl"], "ipc": 10, "column": "1", "value": "3.1"})
    table = Table("Forgetting", cells, "loss", "metric", (("RDED", "kl"),), (("10", "1"),))
    with pytest.raises(ValueError, match=r"'Forgetting'.*'mean'"):
        curves([table], name="x", x_label="x")


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"name": "Ünsafe/../name"}, "lower-case letters"),
        ({"panels": ()}, "no panel"),
        ({"kind": "pie"}, "'pie'"),
        ({"x_scale": "square"}, "'square'"),
        ({"x_scale": "log", "panels": (Panel("", (Line("a", (0.0,), (1.0,)),)),)}, "log axis"),
        ({"kind": "dots", "categories": ("one",)}, "index of its category"),
        ({"panels": (Panel("", (Line("a", (0.0,), ("1.0",)),)),)}, "must be numbers"),
    ],
)
def test_a_figure_that_could_not_be_drawn_is_refused_where_it_is_made(changes, complaint):
    with pytest.raises(ValueError, match=complaint):
        figure(**changes)


@pytest.mark.parametrize("spread", [(), (1.0,), (1.0, 2.0, 3.0)])
def test_a_line_has_as_many_values_as_positions(spread):
    with pytest.raises(ValueError, match="line 'kl'"):
        Line("kl", (1.0, 2.0), (3.0,) if not spread else (3.0, 4.0), spread)


def test_a_slug_is_a_safe_file_name_and_a_cut_one_stays_its_own():
    assert slug("Ärger — IPC 10, a/b_c (γ=0.5)") == "arger-ipc-10-a-b-c-0-5"
    assert slug("…") == ""
    long = [slug(f"{'word ' * 40}{i}") for i in range(2)]
    assert long[0] != long[1]
    assert all(len(name) <= 80 and re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", name) for name in long)


# -- on paper ------------------------------------------------------------------------------------------------------------


def test_a_figure_is_drawn_as_svg_and_png(tmp_path):
    paths = draw(figure(), tmp_path / "new" / "figures")
    assert [path.name for path in paths] == ["accuracy.svg", "accuracy.png"]
    assert ElementTree.parse(paths[0]).getroot().tag == "{http://www.w3.org/2000/svg}svg"
    with Image.open(paths[1]) as image:
        assert image.format == "PNG"
        assert image.width > 600
        assert image.convert("L").getextrema()[0] < 100 < 255 == image.convert("L").getextrema()[1]
    assert sorted(path.name for path in paths[0].parent.iterdir()) == ["accuracy.png", "accuracy.svg"]


def test_the_same_figure_gives_the_same_bytes_whatever_the_users_settings(tmp_path):
    import matplotlib

    one = [path.read_bytes() for path in draw(figure(), tmp_path / "one")]
    with matplotlib.rc_context({"font.size": 30, "svg.hashsalt": None, "lines.linewidth": 9, "axes.facecolor": "red"}):
        two = [path.read_bytes() for path in draw(figure(), tmp_path / "two")]
        assert matplotlib.rcParams["font.size"] == 30
    assert one == two
    assert [path.read_bytes() for path in draw(figure(title="Other"), tmp_path / "two")] != one


def test_files_tell_neither_date_nor_program(tmp_path):
    svg, png = draw(figure(), tmp_path)
    text = svg.read_text("utf-8")
    assert "<dc:date>" not in text
    assert "<dc:creator>" not in text
    assert not re.search(r"\b20\d\d-\d\d-\d\d", text)
    with Image.open(png) as image:
        assert not {"Software", "Creation Time", "date:create"} & {*image.info}


def test_files_that_hold_the_same_are_not_touched(tmp_path):
    paths = draw(figure(), tmp_path)
    before = [(path.stat().st_mtime_ns, path.stat().st_ino) for path in paths]
    draw(figure(), tmp_path)
    assert [(path.stat().st_mtime_ns, path.stat().st_ino) for path in paths] == before
    draw(figure(title="Other"), tmp_path)
    assert all(path.stat().st_ino != inode for path, (_, inode) in zip(paths, before, strict=True))


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    "changes",
    [
        {"panels": (Panel("", (Line("gap", (1.0, 2.0, 3.0), (1.0, NAN, 3.0), (NAN, 1.0, 1.0)),)),)},
        {"panels": (Panel("", (Line("point", (1.0,), (1.0,), (0.5,)),)),)},
        {"panels": (Panel("", (Line("nothing", (1.0, 2.0), (NAN, NAN)),)), Panel("", ()))},
        {"x_scale": "log", "x_ticks": ((1 / 400, "1/400"), (1, "1"), (400, "400"))},
        {"panels": tuple(Panel(f"IPC {i}", (Line(f"$x_{i}$", (0.0, 0.5), (1.0, 2.0)),)) for i in range(7)), "zero": True},
        {"x_ticks": tuple((i, "a very long label of a tick") for i in range(1, 4))},
        {"panels": (Panel("", tuple(Line(f"a line with a rather long name {i}", (1.0,), (i,)) for i in range(40))),)},
    ],
)
def test_figures_with_little_or_much_in_them_are_drawn(tmp_path, changes):
    svg, png = draw(figure(**changes), tmp_path)
    ElementTree.parse(svg)
    with Image.open(png) as image:
        image.load()


@pytest.mark.filterwarnings("error")
def test_dots_of_one_row_do_not_lie_upon_each_other(tmp_path):
    import matplotlib

    from harness.leaderboard import drawing

    panel = Panel("", (Line("a", (0.0, 1.0), (5.0, NAN), (1.0, NAN)), Line("b", (0.0, 1.0), (5.0, 6.0))))
    made = figure(kind="dots", categories=("first", "second"), panels=(panel,), zero=True)
    draw(made, tmp_path)
    with matplotlib.rc_context():
        axes = drawing._drawing(made).axes[0]
    first, second = zip(*(bars[0].get_ydata() for bars in axes.containers), strict=True)
    assert len(set(first)) == 2
    assert all(abs(y) < 0.5 for y in first)
    assert all(abs(y - 1) < 0.5 for y in second)
    bottom, top = axes.get_ylim()
    assert top < 0 < 1 < bottom  # the first category is at the top
    assert [label.get_text() for label in axes.get_yticklabels()] == ["first", "second"]


@pytest.mark.parametrize("count", [2, 15])
def test_no_legend_lies_on_data_or_leaves_the_figure(count):
    import matplotlib

    from harness.leaderboard import drawing

    panel = Panel("IPC 10", tuple(Line(f"method {i}, loss {i % 3}", (1.0, 2.0), (50.0 + i, 60.0 + i)) for i in range(count)))
    with matplotlib.rc_context():
        drawn = drawing._drawing(figure(panels=(panel,)))
        drawn.draw_without_rendering()
        [legend] = drawn.legends
        box, axes = legend.get_window_extent(), drawn.axes[0].get_tightbbox()
    assert len(legend.get_texts()) == count
    assert box.y1 <= axes.y0 + 1
    assert box.x0 >= 0 <= box.y0
    assert box.x1 <= drawn.bbox.width
    assert drawn.axes[0].get_window_extent().height > 200
    looks = {(line.get_marker(), str(line.get_linestyle()), str(line._unscaled_dash_pattern)) for line in legend.get_lines()}
    assert len(looks) == count  # told apart without colour


# -- beside a board ------------------------------------------------------------------------------------------------------


def test_a_boards_figures_are_drawn_and_shown_after_their_tables(planter, tmp_path):
    sweep(planter)
    paths = render(planter.board(tmp_path), named)
    assert [path.relative_to(tmp_path).as_posix() for path in paths] == [
        *FILES,
        *("figures/accuracy.svg", "figures/accuracy.png"),
    ]
    assert all(path.is_file() for path in paths)
    text = (tmp_path / "README.md").read_text("utf-8")
    link = "![Accuracy against gamma — digits](figures/accuracy.svg)\n\nBands: ± standard deviation over the seeds (ddof 1).\n"
    assert text.endswith("\n\n" + link)
    assert text.index("### digits, IPC 10") < text.index("![Accuracy")


def test_rendering_figures_again_changes_no_byte(planter, tmp_path):
    sweep(planter)
    for place in ("one", "two"):
        render(planter.board(tmp_path / place), named)
    assert drawn(tmp_path / "one") == drawn(tmp_path / "two")
    stamps = [path.stat().st_mtime_ns for path in render(tmp_path / "one", named)]
    assert [path.stat().st_mtime_ns for path in render(tmp_path / "one", named)] == stamps


def test_figures_that_no_section_names_any_more_are_removed_and_nothing_else(planter, planted, tmp_path):
    sweep(planter)
    file = planter.board(tmp_path)
    render(file, named)
    (tmp_path / "figures" / "notes.txt").write_text("mine")
    (tmp_path / "figures" / "old.svg").write_text("old")
    planted.figures = lambda self, tables: curves(tables, name="renamed", x_label="gamma")
    render(file, named)
    assert list(drawn(tmp_path)) == ["notes.txt", "renamed.png", "renamed.svg"]
    planted.figures = Scenario.figures
    (tmp_path / "figures" / "notes.txt").unlink()
    assert [path.name for path in render(file, named)] == FILES
    assert not (tmp_path / "figures").exists()
    assert "figures/" not in (tmp_path / "README.md").read_text("utf-8")


@pytest.mark.parametrize("made", ["raise", "wrong", "unsafe"])
def test_a_scenario_whose_figures_fail_keeps_its_tables(planter, planted, tmp_path, made):
    def figures(self, tables):
        return {"raise": lambda: [][0], "wrong": lambda: ["figure"], "unsafe": lambda: [figure(name="../up")]}[made]()

    planted.figures = figures
    sweep(planter)
    assert [path.name for path in render(planter.board(tmp_path), named)] == FILES
    text = (tmp_path / "README.md").read_text("utf-8")
    error = {"raise": "IndexError", "wrong": "TypeError", "unsafe": "ValueError"}[made]
    assert f"The scenario's figures failed (`{error}: " in text
    assert "41.5 ± 0.7" in text
    assert not (tmp_path / "figures").exists()


def test_making_figures_changes_no_table(planter, planted, tmp_path):
    def figures(self, tables):
        tables[0].cells["value"] = "spoilt"
        return []

    planted.figures = figures
    sweep(planter)
    render(planter.board(tmp_path), named)
    assert "spoilt" not in (tmp_path / "README.md").read_text("utf-8")


def test_figures_of_one_name_do_not_overwrite_each_other(planter, planted, tmp_path):
    @scenarios.register("second")
    class Second(planted):
        def figures(self, tables):
            return [figure(title="Second"), figure(title="Third"), figure(title="[Fourth]")]

    try:
        sweep(planter)
        sweep(planter, scenario="second")
        render(planter.board(tmp_path), named)
    finally:
        scenarios.remove("second")
    names = ["accuracy", "second-accuracy", "second-accuracy-2", "second-accuracy-3"]
    assert sorted(drawn(tmp_path)) == sorted(f"{name}.{kind}" for name in names for kind in ("png", "svg"))
    assert len(set(drawn(tmp_path).values())) == 8
    text = (tmp_path / "README.md").read_text("utf-8")
    assert re.findall(r"^!\[(.+)\]\(figures/(.+)\.svg\)$", text, re.MULTILINE) == [
        ("Accuracy against gamma — digits", "accuracy"),
        ("Second", "second-accuracy"),
        ("Third", "second-accuracy-2"),
        (r"\[Fourth\]", "second-accuracy-3"),
    ]


def test_another_readme_gets_the_tables_without_figures(planter, tmp_path):
    sweep(planter)
    file = planter.board(tmp_path / "mine")
    (tmp_path / "page.md").write_text("<!-- giftbench: mine -->\n<!-- /giftbench -->\n")
    assert insert(tmp_path / "page.md", file, named)
    text = (tmp_path / "page.md").read_text("utf-8")
    assert "41.5 ± 0.7" in text
    assert "![" not in text
    assert not (tmp_path / "mine" / "figures").exists()


@pytest.mark.parametrize("shown", [True, False])
def test_matplotlib_is_imported_for_a_figure_and_not_without_one(planter, tmp_path, shown):
    sweep(planter)
    planter.board(tmp_path)
    script = """
import sys
from harness import Scenario, scenarios
from harness.leaderboard.figures import curves
from harness.leaderboard.render import render
from harness.running.scenario import named
figures = lambda self, tables: curves(tables, name="accuracy", x_label="gamma") if sys.argv[2] == "True" else []
scenarios.register("planted")(type("Planted", (Scenario,), {"columns": "gamma", "figures": figures}))
render(sys.argv[1], named)
print("matplotlib" in sys.modules, "matplotlib.pyplot" in sys.modules, "torch" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path), str(shown)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [str(shown), "False", "False"]
