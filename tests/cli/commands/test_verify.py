"""`giftbench verify`: faults a line each, and a second training of some records."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.boards import evidence, seals
from tests.committed import copied, spoil
from tests.conftest import Giftbench


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    """A committed board, sealed."""
    folder = copied("rded-choices", tmp_path)
    seals.write(folder, seals.made(folder))
    return folder


def test_a_sound_board_has_no_fault_and_a_changed_record_is_a_line(giftbench: Giftbench, mine: Path) -> None:
    assert giftbench("verify", mine).out == "72 records: 0 faults, 72 sealed; 0 verified, 72 claimed\n"
    path = sorted((mine / "records").glob("*.json"))[0]
    spoil(path, lambda content: content["trial"].update(seed=17))
    said = giftbench("verify", mine, status=1).out.splitlines()
    assert said[-1].startswith("71 records: 2 faults")
    assert all(line.startswith(f"records/{path.name}: ") for line in said[:-1])
    assert not giftbench("verify", mine, "--rerun", "2", status=1).out.count("trained again")


def test_records_that_are_trained_again_are_compared_and_kept(giftbench: Giftbench, mine: Path) -> None:
    said = giftbench("verify", mine, "--rerun", "1", "--draw", "5").out
    assert "drawn with --draw 5: 1 of 72 records are trained again" in said
    assert "1 of 1 came out the same" in said
    known = evidence.evidence(mine)
    assert len(known) == 1
    assert giftbench("verify", mine).out == "72 records: 0 faults, 72 sealed; 1 verified, 71 claimed\n"
    name = next(iter(known))

    def forge(content: dict) -> None:  # type: ignore[type-arg]
        for entry in (*content["history"], content["metrics"]):
            entry["accuracy"] = 99.8
            entry["top5_accuracy"] = 99.8
        content["metrics"]["best_accuracy"] = 99.8

    spoil(mine / "records" / f"{name}.json", forge)
    seals.write(mine, seals.made(mine))
    assert (
        giftbench("verify", mine).out == "72 records: 0 faults, 72 sealed; 0 verified, 72 claimed\n"
    )  # a forger who remakes all
    # of a forger who makes all anew, only a second training tells
    said = giftbench("verify", mine, "--rerun", "1", "--draw", "5", status=1).out
    assert f"{name}: DIFFERS: 99.80 % in the record" in said
    assert "0 of 1 came out the same" in said


def test_a_seal_is_written_where_nothing_else_is_wrong(giftbench: Giftbench, mine: Path) -> None:
    (mine / seals.NAME).unlink()
    said = giftbench("verify", mine, "--seal").out
    assert f"{mine / seals.NAME}: the SHA-256 of 72 records" in said
    assert giftbench("verify", mine).out.startswith("72 records: 0 faults, 72 sealed")
