"""The records' frame made uniform: labels are text, metrics are numbers, rows are in plan order."""

from __future__ import annotations

import math

import pandas
import pytest

from harness.leaderboard.columns import ascending, device_kind, each, follows_an_axis, follows_own_axis, labels, uniform


def frame(*records: dict[str, object]) -> pandas.DataFrame:
    return pandas.DataFrame([{"order": place, "id": str(place), **record} for place, record in enumerate(records)])


def test_records_stand_in_plan_order_whatever_order_they_came_in():
    records = frame({"loss": "kl"}, {"loss": "gift"}, {"loss": "ce"})
    found = uniform(records.iloc[[2, 0, 1]], "loss", "")
    assert found["row"].tolist() == ["kl", "gift", "ce"]


def test_labels_are_text_and_those_that_are_missing_are_empty():
    found = uniform(frame({"ipc": 10, "learning_rate": 0.001}, {"ipc": None, "learning_rate": 1.0}), "loss", "model")
    assert found["ipc"].tolist() == ["10", ""]
    assert found["learning_rate"].tolist() == ["0.001", "1"]
    assert found["teacher"].tolist() == found["row"].tolist() == ["", ""]


def test_metrics_are_numbers_and_those_of_a_failed_trial_are_none():
    found = uniform(frame({"accuracy": "80.5"}, {"accuracy": "often"}, {"accuracy": 70.0, "status": "failed"}), "loss", "")
    assert found["accuracy"].iloc[0] == 80.5
    assert found["accuracy"].iloc[1:].isna().all()
    assert found["top5_accuracy"].isna().all()


def test_a_plugins_labels_keep_their_names_and_its_metrics_are_left_out():
    found = uniform(frame({"shape": "round", "weight": 1.5}), "loss", "")
    assert found["label shape"].tolist() == ["round"]
    assert not any("weight" in str(name) for name in found.columns)


def test_options_that_an_axis_shows_are_not_said_again():
    records = frame({"options": {"gamma": 0.1, "norm": "none"}, "gamma": 0.1}, {"options": {"gamma": 0.5}, "gamma": 0.5})
    assert uniform(records, "loss", "")["options"].tolist() == ["gamma=0.1, norm=none", "gamma=0.5"]
    assert uniform(records, "loss", "gamma")["options"].tolist() == ["", ""]


def test_only_an_axis_of_the_scenarios_own_carries_values():
    made = pandas.DataFrame({"row": ["kl", "kl", "gift"], "column": ["a", "b", "a"]})
    by_row, by_column, by_none = (pandas.Series(list(values)) for values in ("xxy", "xyx", "xyz"))
    assert follows_own_axis(by_column, made, "loss", "part")
    assert not follows_own_axis(by_row, made, "loss", "part")
    assert follows_own_axis(by_row, made, "part", "optimizer")
    assert follows_an_axis(by_row, made)
    assert follows_an_axis(by_column, made)
    assert not follows_an_axis(by_none, made)


def test_labels_of_lists_and_mappings_are_text_too():
    assert labels(pandas.DataFrame({"a": [{"b": 1}, [2]]}), ["a", "c"]).to_dict("list") == {
        "a": ['{"b": 1}', "[2]"],
        "c": ["", ""],
    }


@pytest.mark.parametrize(
    ("device", "kind"), [("", ""), ("CPU Xeon", "CPU"), ("cpu", "CPU"), ("NVIDIA H200", "GPU"), ("Apple M2 (mps)", "GPU")]
)
def test_a_device_is_a_cpu_or_a_gpu_or_not_said(device, kind):
    assert device_kind(device) == kind


def test_rows_are_given_one_by_one():
    rows = [*each(pandas.DataFrame({"a": [1, 2], "b": [0.0, math.nan], "c": ["x", "y"]}), "c", "b")]
    assert [(c, math.isnan(b)) for c, b in rows] == [("x", False), ("y", True)]


def test_keys_are_numbered_from_the_smallest():
    assert ascending([(2, "b"), (1, "z"), (2, "a"), (1, "z")]) == ([2, 0, 1, 0], [(1, "z"), (2, "a"), (2, "b")])
