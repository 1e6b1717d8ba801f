"""`giftbench rerun`: one record's trial, trained again."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from harness.running import students
from tests.committed import copied, spoil
from tests.conftest import Giftbench

ALONE = "ddb38fe1a869ed5941c8"


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    return copied("rded-choices", tmp_path)


def test_a_record_is_named_by_how_its_id_begins_and_its_student_is_kept(
    giftbench: Giftbench, mine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(mine)
    said = giftbench("rerun", "ddb3", "--save", "student.safetensors").out
    assert said.startswith(f"{ALONE}: same: 57.00 % in the record, ")
    assert "student.safetensors: the student, sha " in said
    assert sum(weight.numel() for weight in students.load(mine / "student.safetensors").parameters()) > 1000
    spoil(mine / "records" / f"{ALONE}.json", lambda content: content["metrics"].update(accuracy=99.0))
    said = giftbench("rerun", ALONE, mine, status=1).out
    assert said.startswith(f"{ALONE}: DIFFERS: 99.00 % in the record, ")


def test_an_id_that_is_none_or_several_is_a_line(giftbench: Giftbench, mine: Path) -> None:
    assert (
        "no record 'ddb38fe1a869ed5941c9'; did you mean 'ddb38fe1a869ed5941c8'"
        in giftbench("rerun", "ddb38fe1a869ed5941c9", mine, status=2).err
    )
    shutil.copy(mine / "records" / f"{ALONE}.json", mine / "records" / "ddb4.json")
    assert (
        "2 records begin with 'ddb': ddb38fe1a869ed5941c8, ddb4; give more of it" in giftbench("rerun", "ddb", mine, status=2).err
    )
