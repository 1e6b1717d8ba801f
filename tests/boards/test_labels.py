"""Labels: typed where every scenario has them, by name where one adds them; JSON holds what was stated."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import ValidationError

from harness.boards.labels import Labels
from harness.core.errors import BadOption


def test_what_was_not_stated_is_not_written() -> None:
    assert Labels().model_dump_json() == "{}"
    assert json.loads(Labels(method="RDED", ipc=10).model_dump_json()) == {"method": "RDED", "ipc": 10}
    assert Labels(teacher_accuracy=None).stated() == {"teacher_accuracy": None}


@pytest.mark.parametrize(
    "text",
    [
        '{"ipc":10}',
        '{"ipc":10.5}',
        '{"ipc":10.0}',
        '{"learning_rate":1}',
        '{"learning_rate":0.1,"teacher_accuracy":null}',
        '{"gamma":0.0,"steps":5,"flag":true,"nothing":null,"multiplier":"1/400","class order":"seed"}',
        '{"copy":1,"json":2,"own":3,"model_fields":"x"}',
    ],
)
def test_labels_are_written_as_they_were_read(text: str) -> None:
    assert Labels.model_validate_json(text).model_dump_json() == text


def test_a_scenarios_own_labels_stand_beside_the_fields_by_name() -> None:
    labels = Labels.of({"order": 3, "loss": "gift", "gamma": 0.1, "loss and optimizer": "gift, sgd"})
    assert (labels.order, labels.loss) == (3, "gift")
    assert labels.own == {"gamma": 0.1, "loss and optimizer": "gift, sgd"}
    assert Labels().own == {}


def test_changed_labels_leave_the_first_ones() -> None:
    labels = Labels.of({"loss": "gift", "gamma": 0.1})
    assert labels.changed({"loss": "kl", "gamma": 0.2, "row": "a"}).stated() == {"loss": "kl", "gamma": 0.2, "row": "a"}
    assert labels.numbered(4).stated() == {"order": 4, "loss": "gift", "gamma": 0.1}
    assert labels.stated() == {"loss": "gift", "gamma": 0.1}
    with pytest.raises(ValidationError):
        labels.loss = "kl"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("name", "value", "wanted"),
    [
        ("loss", 3, "text"),
        ("loss", None, "text"),
        ("order", 1.0, "a whole number"),
        ("images", "10", "a whole number"),
        ("ipc", True, "a finite number"),
        ("ipc", "10", "a finite number"),
        ("learning_rate", float("inf"), "a finite number"),
        ("gamma", float("nan"), "text, a finite number, true, false or none"),
        ("size", [1], "text, a finite number, true, false or none"),
        ("size", {"a": 1}, "text, a finite number, true, false or none"),
    ],
)
def test_what_no_label_can_be_is_one_line(name: str, value: Any, wanted: str) -> None:
    with pytest.raises(BadOption) as error:
        Labels.of({"method": "RDED", name: value})
    assert str(error.value) == f"label {name!r} must be {wanted}, not {value!r}"
