"""A teacher's blueprint: every choice is in it, filled in; it is made without torch or the data where these are not needed."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from typing import Any

import pytest

from harness import teachers
from harness.boards.board import TeacherSpec
from harness.datasets.base import Dataset
from tests.teachers.training import MODEL, blueprint, split


def test_a_blueprint_is_resolved_and_can_be_written_as_json(quarters: Dataset) -> None:
    found = teachers.blueprints(TeacherSpec.model_validate(MODEL), quarters)[0]
    assert json.loads(json.dumps(found)) == found
    assert found["epochs"] == quarters.teacher_epochs
    assert found["dataset_digest"] == quarters.digest
    assert found["model"]["options"] == {"width": 8, "norm": "batch"}
    assert found["optimizer"]["options"]["weight_decay"] == 0.01
    assert "lr" in found["optimizer"]["options"]


@pytest.mark.parametrize(
    "changes",
    [
        {"model": "convnet1(width=4)"},
        {"epochs": 3},
        {"batch_size": 20},
        {"optimizer": "sgd"},
        {"schedule": "constant"},
        {"augmentation": "flip"},
        {"cutout": "inner"},
        {"precision": "bf16"},
        {"seed": 1},
    ],
)
def test_every_choice_makes_another_blueprint(quarters: Dataset, changes: dict[str, Any]) -> None:
    assert blueprint(quarters, **changes) != blueprint(quarters)


def test_a_blueprint_says_how_squares_are_drawn_unless_they_are_those_of_the_first_teachers_or_none(quarters: Dataset) -> None:
    assert blueprint(quarters)["cutout"] == "border"
    assert "cutout" not in blueprint(quarters, cutout="inner")
    assert blueprint(quarters, augmentation="flip") == blueprint(quarters, augmentation="flip", cutout="inner")


def test_another_dataset_of_the_same_name_makes_another_blueprint(quarters: Dataset) -> None:
    assert blueprint(replace(quarters, train=split(60, 5))) != blueprint(quarters)


def test_an_ensemble_has_a_blueprint_a_network(quarters: Dataset) -> None:
    spec = TeacherSpec.model_validate({"models": [MODEL, "convnet2(width=4)"], "epochs": 1})
    assert [r["model"]["name"] for r in teachers.blueprints(spec, quarters)] == ["convnet1", "convnet2"]


def test_the_sources_alone_give_the_same_blueprint_and_nothing_is_loaded_for_it(quarters: Dataset) -> None:
    program = """
import json, sys
from types import SimpleNamespace
from harness.boards.board import TeacherSpec
from harness.teachers.blueprint import blueprints
dataset = SimpleNamespace(name=sys.argv[1], digest=sys.argv[2], teacher_epochs=2)
made = blueprints(TeacherSpec.model_validate(sys.argv[3]), dataset, lambda registry, spec: registry.as_written(spec))
print(json.dumps([made, sorted({"torch", "timm", "numpy"} & set(sys.modules))]))
"""
    words = [sys.executable, "-c", program, quarters.name, quarters.digest, MODEL]
    made, loaded = json.loads(subprocess.run(words, capture_output=True, text=True, check=True).stdout)
    assert made == teachers.blueprints(TeacherSpec.model_validate(MODEL), quarters)
    assert loaded == []
