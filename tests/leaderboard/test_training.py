"""Training curves: which records have one, and what it shows."""

from __future__ import annotations

import math

import pytest

from harness.boards.frames import to_frame
from harness.leaderboard.render import render
from harness.leaderboard.tables import pivot
from harness.leaderboard.training import training_curves
from harness.running.scenario import named


def trained(planter, *accuracies: float, epochs=(50, 100), **changes):
    """Plant a cell whose seeds are tested at each of these epochs, 10 points worse at each one before the last."""
    for seed, accuracy in enumerate(accuracies):
        record = planter.plant(accuracy, seed=seed, **changes)
        history = [{"epoch": epoch, "accuracy": accuracy - 10 * i} for i, epoch in enumerate(reversed(epochs))]
        planter.records[-1] = record.model_copy(update={"history": history[::-1]})


def drawn(planter, **layout):
    frame = planter.frame
    return training_curves("planted", pivot(frame, **layout), frame)


def test_a_line_a_row_has_the_mean_of_its_seeds_at_each_epoch_with_its_interval(planter):
    trained(planter, 80.0, 82.0, loss="kl")
    trained(planter, 70.0, 70.0, loss="ce")
    (figure,) = drawn(planter)
    assert (figure.name, figure.title, figure.x_label, figure.y_label) == (
        *("planted-accuracy-by-epoch", "Accuracy over epochs — digits"),
        *("epoch", "accuracy in %"),
    )
    (panel,) = figure.panels
    assert {line.label: (line.x, line.y) for line in panel.lines} == {"kl": ((50, 100), (71, 81)), "ce": ((50, 100), (60, 70))}
    assert panel.lines[0].spread == pytest.approx((12.706, 12.706), abs=1e-3)
    assert figure.caption == "Bands: 95 % intervals."


def test_a_training_that_was_tested_once_has_none(planter):
    trained(planter, 80.0, epochs=(100,))
    assert drawn(planter) == []
    trained(planter, 70.0, loss="ce")
    (figure,) = drawn(planter)
    assert [line.label for panel in figure.panels for line in panel.lines] == ["ce"]


def test_loss_has_a_figure_where_records_hold_it_and_what_is_not_finite_is_left_out(planter):
    planter.plant(10.0, loss="kl")
    entries = [{"epoch": epoch, "loss": loss} for epoch, loss in ((1, 2.0), (2, 1.0), (3, math.nan))]
    frame = to_frame(planter.records).assign(history=[entries])
    (figure,) = training_curves("planted", pivot(frame), frame)
    assert (figure.title, figure.y_label) == ("Training loss over epochs — digits", "share of the first training loss")
    assert figure.caption.startswith("Mean loss of the steps since the test before, by that of the steps before the first test")
    assert [(line.x, line.y) for line in figure.panels[0].lines] == [((1, 2), (1, 0.5))]


def test_a_loss_that_is_not_above_0_has_no_share(planter):
    planter.plant(10.0, loss="kl")
    frame = to_frame(planter.records).assign(history=[[{"epoch": epoch, "loss": epoch - 1.0} for epoch in (1, 2)]])
    assert training_curves("planted", pivot(frame), frame) == []


def test_sets_and_ipcs_are_panels_and_columns_figures(planter):
    for optimizer in ("sgd", "adamw"):
        for method in ("RDED", "Random"):
            for ipc in (1, 10):
                trained(planter, 80.0, method=method, ipc=ipc, optimizer=optimizer)
    figures = drawn(planter)
    assert [figure.name for figure in figures] == ["planted-accuracy-by-epoch-sgd", "planted-accuracy-by-epoch-adamw"]
    for figure in figures:
        assert [panel.title for panel in figure.panels] == ["RDED, IPC 1", "RDED, IPC 10", "Random, IPC 1", "Random, IPC 10"]


def test_more_than_six_lines_are_split_into_panels(planter):
    for i in range(8):
        trained(planter, 60.0 + i, loss=f"loss{i}")
    (figure,) = drawn(planter)
    assert [len(panel.lines) for panel in figure.panels] == [4, 4]


def test_a_board_shows_them_after_a_scenarios_own_figures(planter, planted, tmp_path):
    trained(planter, 80.0, 81.0)
    render(planter.board(tmp_path), named)
    assert "](figures/planted-accuracy-by-epoch.svg)\n\nBands: 95 % intervals." in (tmp_path / "README.md").read_text("utf-8")
    assert 'aria-label="Accuracy over epochs — digits"' in (tmp_path / "index.html").read_text("utf-8")
