"""A board's seal: the SHA-256 of each record's file."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from harness.boards import evidence, seals
from harness.boards.records import RecordStore
from harness.core.errors import BoardError
from tests.boards.test_records import record
from tests.committed import BOARDS


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for seed in range(3):
        RecordStore(tmp_path / "records").write(record(seed))
    return tmp_path


def test_a_seal_reads_back_and_is_the_same_bytes_each_time(folder: Path) -> None:
    assert seals.read(folder) is None
    seal = seals.made(folder)
    path = seals.write(folder, seal)
    before = path.read_bytes()
    assert seals.read(folder) == seal
    assert len(seal) == 3
    assert seals.write(folder, dict(reversed(seal.items()))).read_bytes() == before


@pytest.mark.skipif(shutil.which("sha256sum") is None, reason="coreutils are not here")
def test_sha256sum_checks_it(folder: Path) -> None:
    seals.write(folder, seals.made(folder))
    command = ["sha256sum", "--check", "--quiet", seals.NAME]
    assert subprocess.run(command, cwd=folder, check=False).returncode == 0
    path = next(seals.files(folder / "records"))
    path.write_text(path.read_text().replace("50.0", "51.0"))
    assert subprocess.run(command, cwd=folder, check=False, capture_output=True).returncode == 1


@pytest.mark.parametrize("line", ["nothing", "0" * 64 + "  records/../a.json", "0" * 64 + " records/a.json"])
def test_what_is_no_seal_is_named_by_its_line(folder: Path, line: str) -> None:
    (folder / seals.NAME).write_text(f"{'0' * 64}  records/a.json\n{line}\n")
    with pytest.raises(BoardError, match=r"records\.sha256: line 2: expected a SHA-256, two spaces and records/ID\.json"):
        seals.read(folder)


@pytest.mark.parametrize("board", sorted(path.parent.name for path in BOARDS.glob("*/records")))
def test_every_committed_board_has_a_seal_that_holds(board: str) -> None:
    assert seals.read(BOARDS / board) == seals.made(BOARDS / board)
    assert {"verified"} == {*evidence.evidence(BOARDS / board).values()}
    assert len(evidence.read(BOARDS / board)) == len(evidence.evidence(BOARDS / board)) >= 3
