"""Records trained again, and held against what they hold."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from harness.boards import evidence, faults
from harness.boards.records import Environment, Record, RecordStore
from harness.boards.trial import Trial
from harness.core.spec import Spec
from harness.planning.artefacts import Artefacts
from harness.running import reruns, students
from harness.running.executors.work import run_bundle
from harness.running.reruns import EQUAL, Repeat, drawn, keep, likely, repeats, spread
from harness.running.workbench import Workbench
from tests.boards.test_records import record
from tests.committed import spoil
from tests.conftest import Planner, board_text


@pytest.fixture
def trials(plan: Planner) -> list[Trial]:
    return plan(losses=["ce"], seeds=3, scenarios=["loss-comparison"], model="convnet1(width=8)")


@pytest.fixture
def board(tmp_path: Path, trials: list[Trial], artefacts: Artefacts) -> Path:
    """A board of three trials that were made in one stack, its artefacts beside it."""
    (tmp_path / "board.toml").write_text(board_text(losses=["ce"], seeds=3, scenarios=["loss-comparison"]))
    for made in run_bundle(trials, Workbench("cpu", artefacts, stack=3)):
        RecordStore(tmp_path / "records").write(made)
    return tmp_path / "board.toml"


def records(board: Path) -> Sequence[Record]:
    return faults.read(board.parent / "records").records


def test_what_is_drawn_is_the_same_of_the_same_records(board: Path) -> None:
    known = records(board)
    assert drawn(known, 2, 0) == drawn(known[::-1], 2, 0)
    assert len({tuple(each.id for each in drawn(known, 1, seed)) for seed in range(20)}) > 1
    assert drawn(known, 9, 0) == [*known]


def test_a_record_comes_out_equal_and_is_verified_and_a_forged_one_is_not(board: Path) -> None:
    known = records(board)
    assert all("loss" in entry for entry in known[0].history)
    before = [{name: value for name, value in entry.items() if name != "loss"} for entry in known[0].history]
    unlossy = known[0].model_copy(update={"history": before})  # as records were before losses were noted
    (repeat,) = repeats([unlossy], board)
    assert (repeat.same, repeat.equal, repeat.rule) == (True, True, EQUAL)
    (repeat,) = repeats(known[:1], board, keep=True)
    assert (repeat.same, repeat.equal, repeat.rule, repeat.difference) == (True, True, EQUAL, 0.0)
    assert keep(board.parent, [repeat]) == board.parent / evidence.NAME
    assert evidence.evidence(board.parent) == {known[0].id: "verified"}
    assert keep(board.parent, [repeat]) is None  # nothing is new
    # the student is that of the record: tested again, it has its accuracy
    assert repeat.student is not None
    place = board.parent / "student.safetensors"
    students.save(repeat.student, repeat.new, place)
    tested = Workbench("cpu", Artefacts(board.parent / "artefacts")).evaluate(students.load(place), known[0].trial)
    assert tested["accuracy"] == pytest.approx(known[0].metrics["accuracy"], abs=0.3)  # channels-last or not is float noise

    def forge(content: dict) -> None:  # type: ignore[type-arg]
        number = content["metrics"]["accuracy"] + 0.2
        content["metrics"]["accuracy"] = content["history"][-1]["accuracy"] = number
        content["metrics"]["best_accuracy"] = max(entry["accuracy"] for entry in content["history"])

    spoil(board.parent / "records" / f"{known[0].id}.json", forge)
    assert evidence.evidence(board.parent) == {}
    (repeat,) = repeats(records(board)[:1], board)
    assert (repeat.same, repeat.rule) == (False, EQUAL)
    assert repeat.difference == pytest.approx(-0.2)
    keep(board.parent, [repeat])
    assert json.loads((board.parent / evidence.NAME).read_text())["records"] == {}


def test_a_record_of_another_processor_is_compared_within_what_seeds_differ_by(board: Path) -> None:
    known = records(board)
    elsewhere = known[0].model_copy(update={"environment": known[0].environment.model_copy(update={"device": "CPU of another"})})
    (repeat,) = repeats([elsewhere], board)
    assert repeat.same
    assert repeat.why.startswith("it is of CPU of another, and here is CPU ")
    far = Repeat(elsewhere, changed(repeat.new, 99.0), repeat.why, reruns.Spread(2.0, "words"))
    assert (far.same, far.rule.startswith("within 2.00 points (words), for it is of CPU of another")) == (False, True)
    assert Repeat(elsewhere, changed(repeat.new, elsewhere.metrics["accuracy"] + 1.9), repeat.why, reruns.Spread(2.0, "")).same
    assert not Repeat(elsewhere, changed(repeat.new, 99.0), repeat.why, None).same
    assert not Repeat(elsewhere, repeat.new.model_copy(update={"status": "diverged"}), repeat.why, reruns.Spread(90.0, "")).same


def changed(one: Record, accuracy: float) -> Record:
    return one.model_copy(update={"metrics": {**one.metrics, "accuracy": accuracy}})


def test_a_stack_that_records_do_not_name_is_the_one_that_the_plan_was_cut_into(trials: list[Trial]) -> None:
    def made(sizes: Sequence[int]) -> list[Record]:
        return [
            Record.of(trial, "done", metrics={"accuracy": 1.0}, environment=Environment(together=size))
            for trial, size in zip(trials, sizes, strict=True)
        ]

    two_and_one = made([2, 2, 1])
    way = likely(two_and_one[1], two_and_one)
    assert way is not None
    assert ([trial.id for trial in way.trials], way.stack) == ([trial.id for trial in trials[:2]], 2)
    assert likely(two_and_one[2], two_and_one) == reruns.Way((trials[2],), 1)
    assert likely(made([3, 2, 3])[0], made([3, 2, 3])) is None


def test_a_spread_is_that_of_its_setups_pooled(trials: list[Trial]) -> None:
    accuracies = [[50.0, 52.0, 54.0], [60.0, 60.0, 60.0], [70.0, 71.0, 72.0]]
    cells = [
        Record.of(trial.model_copy(update={"loss": Spec(name="ce", options={"n": number})}), "done", metrics={"accuracy": each})
        for number, row in enumerate(accuracies)
        for trial, each in zip(trials, row, strict=True)
    ]
    # variances 4, 0 and 1, of two degrees of freedom but for one of the second: s = sqrt(10 / 5); t(0.995, 5) = 4.0321
    pooled = spread(cells[3], cells)
    assert pooled is not None
    assert pooled.bound == pytest.approx(4.032143 * 2**0.5 * 2**0.5, rel=1e-6)
    assert pooled.words == "seeds of 3 setups with its set, student and optimizer differ by s = 1.41"
    wild = changed(cells[3], 0.0)
    assert spread(wild, [*cells[:3], wild, *cells[4:]]) == pooled  # its own number widens nothing
    # of its own setup 50 and 54 are left, whose variance is 8: more than (8 + 0 + 2) / 5
    wide = spread(cells[1], cells)
    assert wide is not None
    assert wide.bound == pytest.approx(4.032143 * 2**0.5 * 8**0.5, rel=1e-6)
    assert spread(record(), [record()]) is None
