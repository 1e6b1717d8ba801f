"""How far a number is to be believed, and how long."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.boards import evidence, seals
from harness.boards.evidence import Verified
from harness.boards.records import Environment, RecordStore
from harness.core.errors import BoardError
from tests.boards.test_records import record


def test_a_record_is_verified_as_long_as_it_is_what_it_was(tmp_path: Path) -> None:
    paths = [RecordStore(tmp_path / "records").write(record(seed)) for seed in range(2)]
    assert evidence.evidence(tmp_path) == {}
    environment = Environment(device="CPU", threads=1)
    entries = {
        path.stem: Verified(record=seals.digest(path), rule="equal to the digit", accuracy=50.0, environment=environment)
        for path in paths
    }
    file = evidence.write(tmp_path, entries)
    before = file.read_bytes()
    assert evidence.read(tmp_path) == entries
    assert evidence.write(tmp_path, dict(reversed(entries.items()))).read_bytes() == before
    assert evidence.evidence(tmp_path) == {path.stem: "verified" for path in paths}
    paths[0].write_text(paths[0].read_text().replace("50.0", "51.0"))
    assert evidence.evidence(tmp_path) == {paths[1].stem: "verified"}
    paths[1].unlink()
    assert evidence.evidence(tmp_path) == {}


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"format": "giftbench.verified/1", "records": {"a": {"record": 1}}}'])
def test_what_is_no_such_file_is_a_mistake(tmp_path: Path, text: str) -> None:
    (tmp_path / evidence.NAME).write_text(text)
    with pytest.raises(BoardError, match=r"verified\.json: not what giftbench verify --rerun writes"):
        evidence.read(tmp_path)
