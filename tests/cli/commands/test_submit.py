"""`giftbench submit`: what verifies lands and is shown, what does not is refused."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from harness.boards import evidence, seals
from tests.boards.test_submissions import TEXT
from tests.committed import copied, spoil
from tests.conftest import Giftbench

#: Made alone, in under a second, as the others of their stack are: ce at one image a class.
BROUGHT = "ddb38fe1a869ed5941c8"


@pytest.fixture
def board(tmp_path: Path) -> Path:
    """A committed board, sealed, that lacks a record which a contributor brings."""
    folder = copied("rded-choices", tmp_path)
    mine = folder / "submissions" / "ada"
    (mine / "records").mkdir(parents=True)
    (mine / "submission.toml").write_text(TEXT)
    (folder / "records" / f"{BROUGHT}.json").rename(mine / "records" / f"{BROUGHT}.json")
    seals.write(folder, seals.made(folder))
    return folder


def test_a_submission_by_the_documented_steps_lands_and_a_forged_one_does_not(giftbench: Giftbench, board: Path) -> None:
    mine, ranks = board / "submissions" / "ada", board / "ranks.md"
    path = mine / "records" / f"{BROUGHT}.json"
    sound = path.read_bytes()
    assert "1 records of Ada: 1 new, 0 known, 0 in conflict, 0 faults" in giftbench("submit", mine, board, "--check").out
    assert path.exists()

    def better(content: dict[str, Any]) -> None:
        """Likely numbers, wherever they stand: only a second training tells."""
        for entry in (*content["history"], content["metrics"]):
            entry["accuracy"] = 90.0
        content["metrics"]["best_accuracy"] = 90.0

    spoil(path, better)
    said = giftbench("submit", mine, board, "--rerun", "1", status=1).out
    told = re.search(r"DIFFERS: 90\.00 % in the record, (\d+\.\d\d) % again", said)
    assert told, said
    assert abs(float(told[1]) - json.loads(sound)["metrics"]["accuracy"]) < 5, "another processor's float noise tells these apart"
    spoil(path, lambda content: content["trial"].update(seed=11))
    assert "its id is not the hash of its trial" in giftbench("submit", mine, board, status=1).out
    assert not (board / "records" / f"{BROUGHT}.json").exists()
    assert not (board / "README.md").exists()

    path.write_bytes(sound)
    said = giftbench("submit", mine, board, "--rerun", "1", "--ranks", ranks).out
    assert "1 of 1 came out the same" in said
    assert (board / "records" / f"{BROUGHT}.json").read_bytes() == sound
    assert evidence.evidence(board) == {BROUGHT: "verified"}
    page = (board / "README.md").read_text("utf-8")
    assert "## Submissions" in page
    assert "EPYC 9354, 2026-01-31: 1 records, 1 verified." in page
    assert "crops, random kept" in ranks.read_text("utf-8")
    assert "(n = 2) → " in ranks.read_text("utf-8")
    assert "verified 1 of 3" in (board / "table.csv").read_text("utf-8")
    assert giftbench("verify", board).out == "72 records: 0 faults, 72 sealed; 1 verified, 71 claimed\n"
