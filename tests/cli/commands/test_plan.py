"""`giftbench plan`: trials and hours here and elsewhere, where the hours come from, what they cost."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.boards.records import Record, RecordStore
from tests.conftest import Giftbench, board_text
from tests.large_boards import planned


@pytest.fixture
def board(tmp_path: Path, cache: Path) -> Path:
    """A board of twelve trials whose sets and teacher are there: two done, in half an hour each, and one failed."""
    file = tmp_path / "board.toml"
    file.write_text(board_text(losses=["ce"], seeds=12, scenarios=[{"name": "cross-optimizer", "optimizers": ["sgd"]}]))
    trials, store = planned(file), RecordStore(tmp_path / "records")
    for trial in trials[:2]:
        store.write(Record.of(trial, "done", timing={"total": 1800.0}, environment={"device": "CPU Test"}))
    store.write(Record.of(trials[2], "failed", error="out of luck"))
    return file


def test_hours_and_cost_are_said_with_what_they_rest_on(giftbench: Giftbench, board: Path) -> None:
    words = ("--device", "cpu", "--jobs", 1, "--stack", 1, "--machines", "cpu-test:2x2", "--price", "cpu-test=2.5")
    said = giftbench("plan", board, *words, "--machines", "cpu-test:100x1", "--machines", "h200:8x16")
    count, here, four, many, bound, gpus, *rest = said.out.splitlines()
    assert count == "12 trials: 2 done, 9 left, 1 failed (not run again without --retry)"
    assert here == (
        "this machine, 1 worker: 4.50 h of work, 4.50 h to the end; no record is of this machine's kind: by 2 records of CPU Test"
    )
    assert four == (
        "cpu-test:2x2, 4 workers: 4.50 h of work, 1.50 h to the end, 3.00 h of machines, 7.50 at 2.5 an hour; "
        "by 2 records of CPU Test"
    )
    assert many.startswith("cpu-test:100x1, 100 workers: 4.50 h of work, 30.0 min to the end, 30.0 min of machines, 1.25 at 2.5")
    assert bound == "  the longest bundle alone takes 30.0 min: more machines end no sooner"
    assert gpus.startswith("h200:8x16, 128 workers: ")
    assert gpus.endswith(
        "no record is of any GPU: by the operations of the networks alone, which may be wrong several times over"
    )
    assert (
        rest.pop() == "12 seeds: which difference they can tell is not known before two losses of a setting have two seeds each"
    )
    assert rest in ([], [line for line in rest if "longest bundle" in line])
    assert (giftbench("plan", board, "--device", "cpu", "--retry").out.splitlines()[0]) == "12 trials: 2 done, 10 left, 1 failed"


def test_what_a_run_makes_first_is_said_and_records_that_fit_in_all_but_its_digests_count(
    giftbench: Giftbench, board: Path
) -> None:
    for path in (*(board.parent / "artefacts").iterdir(), *(board.parent / "home").rglob("*.safetensors")):
        path.unlink()
    said = giftbench("plan", board, "--device", "cpu", "--seeds", 3).out.splitlines()
    assert said[0] == "3 trials: 2 done, 0 left, 1 failed (not run again without --retry)"
    assert said[1].startswith("not at hand: random of digits at IPC 1; giftbench run makes them first")
    assert "count as done where a record fits in all but the digests" in said[1]
    assert not [*(board.parent / "artefacts").iterdir()]


def test_a_board_that_is_done_takes_no_hours(giftbench: Giftbench, board: Path) -> None:
    said = giftbench("plan", board, "--device", "cpu", "--seeds", 2, "--machines", "h200:8x16")
    assert said.out.splitlines()[0] == "2 trials: 2 done, 0 left, 0 failed"
    assert [line.partition(":")[0] for line in said.out.splitlines()[1:]] == ["2 seeds"]


def test_the_smallest_difference_that_seeds_can_tell_is_said_and_one_seed_tells_none(
    giftbench: Giftbench, tmp_path: Path, cache: Path
) -> None:
    file = tmp_path / "board.toml"
    losses = {"ce": [70.0, 71.0, 72.0], "kl": [71.0, 73.0, 72.0]}
    file.write_text(board_text(losses=[*losses], seeds=3, scenarios=[{"name": "cross-optimizer", "optimizers": ["sgd"]}]))
    store = RecordStore(tmp_path / "records")
    for trial in planned(file):
        store.write(Record.of(trial, "done", metrics={"accuracy": losses[trial.labels.loss][trial.seed]}))
    # differences 1, 2 and 0 vary by 1 point, and of three pairs 3.26 times that is told in four of five boards
    said = giftbench("plan", file, "--device", "cpu").out.splitlines()[-1]
    assert said == (
        "3 seeds can tell a difference of 3.3 points between two losses (paired t test, 5 %, power 80 %), by the spread of 1 "
        "pair of losses in the records, 1.00 points"
    )
    assert (
        giftbench("plan", file, "--device", "cpu", "--seeds", 1)
        .out.splitlines()[-1]
        .startswith("1 seed: no difference can be told")
    )


def test_machines_that_are_none_are_one_line(giftbench: Giftbench, board: Path) -> None:
    said = giftbench("plan", board, "--machines", "h200", status=2)
    assert said.err.startswith("giftbench: --machines: expected NAME:UNITSxCOUNT")
