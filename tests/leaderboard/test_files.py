"""The CSV files of a leaderboard."""

from __future__ import annotations

import csv
import io
import shutil

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.leaderboard.files import table_csv
from harness.leaderboard.page.rows import long_table
from harness.leaderboard.render import render
from harness.leaderboard.tables import pivot
from harness.running.scenario import named
from tests.leaderboard.looking import a_few, contents, table

pytestmark = pytest.mark.usefixtures("planted")


def test_table_csv_is_long_form_with_four_decimals(planter, tmp_path):
    planter.cell(80.0, 82.0, loss="kl")
    planter.cell(85.12346, loss="gift")
    planter.plant(None, loss="gift", seed=1, status="failed", error="boom")
    planter.plant(None, loss="ce", status="failed", error="boom")
    planter.cell(70.0, loss="kl", optimizer="sgd")
    render(planter.board(tmp_path), named)
    header, first, *rest = (tmp_path / "table.csv").read_text("utf-8").splitlines()
    assert header.split(",") == [
        *("scenario", "table", "dataset", "method", "ipc", "loss", "optimizer", "model"),
        *("n", "mean", "std", "low", "high", "best_on_test_mean", "top5_mean"),
        *("gain", "gain_low", "gain_high", "gain_p", "gain_pairs"),
        *("best_gap", "best_gap_low", "best_gap_high", "best_gap_p", "best_gap_pairs", "rank", "tied"),
        *("diverged", "failed", "distilled"),
        *("image_bytes", "label_bytes", "needed_label_bytes", "steps", "teacher_passes", "operations", "evidence"),
        "quantity",
    ]
    digest = planter.records[0].trial.distilled
    mean = "2,81.0000,1.4142,68.2938,93.7062,82.0000,99.0000"  # 81 ± 12.7062, Student's t of one degree of freedom, times 1
    gap, end = "-5.1235,,,,1,0,1", "claimed,accuracy in %"
    assert first == f'planted,"digits, IPC 10",digits,RDED,10,kl,adamw,convnet3,{mean},,,,,,{gap},0,0,{digest},,,,,,,{end}'
    assert len(rest) == 5
    found = table(tmp_path).set_index(["loss", "optimizer"])
    assert found.loc[("gift", "adamw"), ["n", "mean", "gain", "failed"]].tolist() == [1, 85.1235, 5.1235, 1]
    assert found.loc[("ce", "sgd"), ["n", "failed"]].tolist() == [0, 0]
    assert found.loc[("ce", "adamw"), ["n", "failed"]].tolist() == [0, 1]
    assert np.isnan(found.loc[("ce", "adamw"), "mean"])


def test_an_axis_of_the_scenarios_own_is_a_column_of_its_own(planter, planted, tmp_path):
    planted.columns = "stream"
    for stream in ("a", "b"):
        planter.cell(80.0, stream=stream, options={"stream": stream})
    render(planter.board(tmp_path), named)
    assert table(tmp_path)["stream"].tolist() == ["a", "b"]


def test_times_are_in_timing_csv_alone(planter, tmp_path):
    a_few(planter)
    file = planter.board(tmp_path)
    render(file, named)
    before = contents(tmp_path)
    for i, record in enumerate(planter.records):
        planter.records[i] = record.model_copy(update={"timing": {"total": 7.5 + i}, "created": "2031-01-01T00:00:00+00:00"})
    planter.board(tmp_path)
    render(file, named)
    after = contents(tmp_path)
    assert before["README.md"] == after["README.md"]
    assert before["table.csv"] == after["table.csv"]
    assert before["timing.csv"].decode().splitlines()[:2] == [
        "scenario,model,loss,optimizer,ipc,trials,total_seconds,mean_seconds",
        "planted,convnet3,gift,sgd,10,3,6.0000,2.0000",
    ]
    assert after["timing.csv"].decode().splitlines()[1] == "planted,convnet3,gift,sgd,10,3,25.5000,8.5000"


@settings(max_examples=15, deadline=None)
@given(
    st.dictionaries(
        st.tuples(st.sampled_from(["kl", "gift", "ce"]), st.sampled_from(["sgd", "adamw"]), st.sampled_from([1, 10])),
        st.lists(st.floats(0, 99), min_size=1, max_size=4),  # the best on test is planted a point above
        min_size=1,
        max_size=6,
    )
)
def test_table_csv_holds_numpys_figures(new_planter, tmp_path_factory, cells):
    planter = new_planter()
    for (loss, optimizer, ipc), values in cells.items():
        planter.cell(*values, loss=loss, optimizer=optimizer, ipc=ipc)
    folder = tmp_path_factory.mktemp("board")
    render(planter.board(folder), named)
    found = table(folder)
    shutil.rmtree(folder)
    found = found[found["n"] > 0].set_index(["loss", "optimizer", "ipc"])
    assert len(found) == len(cells)
    for key, values in cells.items():
        row = found.loc[key]
        assert row["n"] == len(values)
        assert row["mean"] == pytest.approx(np.mean(values), abs=5.1e-5)
        assert row["best_on_test_mean"] == pytest.approx(np.mean(values) + 1, abs=5.1e-5)
        assert np.isnan(row["std"]) if len(values) == 1 else row["std"] == pytest.approx(np.std(values, ddof=1), abs=5.1e-5)
        native = cells.get(("kl", *key[1:]))
        if key[0] == "kl" or native is None:
            assert np.isnan(row["gain"])
        else:
            assert row["gain"] == pytest.approx(
                np.mean([mine - its for mine, its in zip(values, native, strict=False)]), abs=5.1e-5
            )


def test_a_column_that_was_added_to_those_of_ipcs_is_told_from_them(planter):
    """Else a gain over random images is a row like an accuracy, and sorted among them."""
    planter.cell(80.0, 81.0, loss="kl")
    (table,) = pivot(planter.frame, columns="")
    assert "shows" not in table_csv([("planted", table)])
    added = table.with_column("gain over random", {("RDED", "kl", "10"): {"value": "+1.5", "mean": 1.5}})
    rows = [*csv.DictReader(io.StringIO(table_csv([("planted", added)])))]
    assert [(row["shows"], row["mean"]) for row in rows] == [("", "80.5000"), ("gain over random", "1.5000")]
    shown = long_table("planted", [added], {})
    assert "shows" in shown.columns
    assert [row.labels["shows"] for row in shown.rows] == ["", "gain over random"]
