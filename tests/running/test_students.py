"""Trained students on disk."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from harness import models
from harness.boards.records import Record
from harness.boards.trial import Trial
from harness.core.errors import DataError
from harness.files import safetensors
from harness.running import students
from tests.conftest import Planner, Refused


@pytest.fixture
def trial(plan: Planner, no_teacher: None) -> Trial:
    return plan(losses=["ce"], model="convnet1(width=4)")[0]


def test_a_student_is_read_back_with_what_it_is(trial: Trial, tmp_path: Path, refused: Refused) -> None:
    network = models.build(trial.model, (1, 16, 16), 10).to(memory_format=torch.channels_last)
    record = Record.of(trial, "done", metrics={"accuracy": 12.0})
    path = tmp_path / "student.safetensors"
    sha = students.save(network, record, path)
    loaded = students.load(path)
    assert {name: tensor.tolist() for name, tensor in loaded.state_dict().items()} == {
        name: tensor.tolist() for name, tensor in network.state_dict().items()
    }
    facts = json.loads(safetensors.read_header(path).metadata["student"])
    assert (facts["id"], facts["digest"], facts["accuracy"], facts["model"]["name"]) == (trial.id, sha, 12.0, "convnet1")
    assert Trial.model_validate(facts["trial"]).id == trial.id
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with refused(DataError, path, "its weights do not have the digest it states"):
        students.load(path)
    safetensors.save(path, {"a": torch.zeros(1)}, {"format": "another"})
    with refused(DataError, path, "not a student that giftbench rerun --save writes"):
        students.load(path)
