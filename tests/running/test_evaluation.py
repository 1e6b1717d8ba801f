"""What `evaluate` returns, of planted records: a line, a table and the curve, a frame."""

from __future__ import annotations

import base64

import pytest

from harness.boards.records import Record
from harness.boards.trial import Trial
from harness.running.evaluation import Evaluation
from tests.boards.trials import TRIAL


def record(seed: int, accuracy: float | None) -> Record:
    trial = Trial.model_validate({**TRIAL, "seed": seed, "labels": {"method": "random", "order": seed}})
    if accuracy is None:
        return Record.of(trial, "failed", error="<b>no</b>")
    history = [{"epoch": 1, "accuracy": accuracy - 5}, {"epoch": 2, "accuracy": accuracy}]
    return Record.of(trial, "done", metrics={"accuracy": accuracy, "best_accuracy": accuracy + 1}, history=history)


def test_what_it_comes_to_is_a_line_and_in_a_notebook_a_table_and_the_curve() -> None:
    result = Evaluation((record(0, 70.0), record(1, 72.0), record(2, None)))
    assert repr(result) == str(result) == "71.0 ± 1.4 (n = 2)"
    page = result._repr_html_()
    assert page.count("<tr>") == 4
    assert "<td>72.0</td><td>73.0</td>" in page
    assert "<td>failed</td><td></td><td></td>" in page
    assert b"<svg" in base64.b64decode(page.split("base64,")[1].split('"')[0])


def test_one_of_which_every_trial_failed_is_shown_too() -> None:
    result = Evaluation((record(0, None),))
    assert repr(result) == "no accuracy: every trial failed"
    assert "<td>failed</td>" in result._repr_html_()


def test_losses_are_shown_where_records_hold_them() -> None:
    plain = record(0, 70.0)
    losses = [entry | {"loss": value} for entry, value in zip(plain.history, (2.0, 0.5), strict=True)]
    result = Evaluation((plain, record(1, 72.0).model_copy(update={"history": losses})))
    assert result.frame["training_loss"].isna().tolist() == [True, False]
    assert result.frame["training_loss"].iloc[1] == 0.5
    (line,) = result.plot(quantity="loss").get_lines()
    assert (line.get_label(), [*line.get_ydata()]) == ("seed 1", [2.0, 0.5])
    assert result._repr_html_().count("<img ") == 2
    assert Evaluation((plain,))._repr_html_().count("<img ") == 1


def test_its_values_are_a_frame_and_a_plot() -> None:
    result = Evaluation((record(0, 70.0), record(1, 72.0)))
    assert result.frame["accuracy"].tolist() == [70.0, 72.0]
    axes = result.plot()
    assert [line.get_label() for line in axes.get_lines()] == ["seed 0", "seed 1"]
    assert list(axes.get_lines()[1].get_ydata()) == [67.0, 72.0]
    assert result.plot(axes) is axes
    assert len(axes.get_lines()) == 4
    with pytest.raises(AttributeError):
        result.records = ()  # type: ignore[misc]
