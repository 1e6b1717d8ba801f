"""Records of a board that was made again are paired with those of the same training, and with no other."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.compared import accuracies


def record(accuracy: float, dataset: str = "digits", **labels: Any) -> bytes:
    trial = {
        "scenario": "cross-optimizer",
        "dataset": {"name": dataset},
        "labels": {"method": "random", "ipc": 1, "loss": "kl", "precision": "float32"} | labels,
        "options": {},
        "seed": 0,
    }
    return json.dumps({"status": "done", "trial": trial, "metrics": {"accuracy": accuracy}}).encode()


@pytest.mark.parametrize("other", [{"precision": "bf16"}, {"dataset": "fashion-mnist"}, {"loss": "ce"}, {"ipc": 10}], ids=str)
def test_trainings_that_differ_are_told_apart(other: dict[str, Any]) -> None:
    assert sorted(accuracies([record(50.0), record(60.0, **other)]).values()) == [50.0, 60.0]


def test_two_that_cannot_be_told_apart_are_refused() -> None:
    with pytest.raises(ValueError, match="two records of cross-optimizer, random, 1, kl, float32, digits"):
        accuracies([record(50.0), record(60.0)])
