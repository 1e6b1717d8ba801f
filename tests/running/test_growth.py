"""What a board of thousands of trials costs a trial: no more than one of hundreds. Work is counted, not timed."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.boards.records import Record, RecordStore
from harness.boards.setup import Setup
from harness.boards.trial import Trial
from harness.leaderboard import render as rendering
from harness.running.scenario import named
from tests.large_boards import fill, large_board, parts_of, planned, records_for

SIZES = (400, 800, 1200)


class Calls(Counter[str]):
    """Counts the functions that are called inside a `with`: `total()` of them all, and C functions by name."""

    def __enter__(self) -> Calls:
        sys.setprofile(self._count)
        return self

    def __exit__(self, *error: object) -> None:
        sys.setprofile(None)

    def _count(self, frame: Any, event: str, function: Any) -> None:
        if event == "call":
            self["Python"] += 1
        elif event == "c_call":
            self[function.__name__] += 1


@pytest.fixture(scope="module")
def boards(tmp_path_factory: pytest.TempPathFactory) -> dict[int, tuple[Path, list[Trial]]]:
    """Boards of each size with all that their trials rest on, and a record of every trial."""
    made = {}
    for size in SIZES:
        file = large_board(tmp_path_factory.mktemp("large") / str(size), size, seeds=2)
        made[size] = (file, planned(file))
        fill(*made[size])
    return made


def totals(boards: dict[int, tuple[Path, list[Trial]]], work: Callable[[Path], object]) -> list[int]:
    """Return how many calls `work` makes on each board, smallest first; caches are warm."""
    found = []
    work(boards[SIZES[0]][0])
    for file, _ in boards.values():
        with Calls() as calls:
            work(file)
        found.append(calls.total())
    return found


def test_the_generator_makes_boards_of_the_size_that_is_asked_for(boards: dict[int, tuple[Path, list[Trial]]]) -> None:
    assert {size: len({trial.id for trial in trials}) for size, (_, trials) in boards.items()} == {size: size for size in SIZES}
    _, trials = boards[400]
    assert len({trial.scenario for trial in trials}) == 5
    assert {record.status for record in records_for(trials)} == {"done", "diverged", "failed"}


def test_a_trial_of_a_large_board_is_planned_with_no_more_work(boards: dict[int, tuple[Path, list[Trial]]]) -> None:
    def plan(file: Path) -> object:
        parts = parts_of(file)
        parts.rehearse()
        return parts.plan()

    small, middle, large = totals(boards, plan)
    assert large - middle == pytest.approx(middle - small, rel=0.03)


def test_a_record_among_many_is_read_with_no_more_work(boards: dict[int, tuple[Path, list[Trial]]]) -> None:
    small, middle, large = totals(boards, lambda file: RecordStore(file.parent / "records").read())
    assert large - middle == pytest.approx(middle - small, rel=0.03)


@pytest.mark.slow
def test_a_record_of_a_large_board_is_rendered_with_no_more_work(
    boards: dict[int, tuple[Path, list[Trial]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rendering, "_figures", lambda scenario, tables: ([], ""))  # a figure's work is that of its lines
    small, middle, large = totals(boards, lambda file: rendering.render(file, named))
    assert large - middle <= 1.03 * (middle - small)


def test_writing_a_record_looks_at_no_other(boards: dict[int, tuple[Path, list[Trial]]]) -> None:
    written = []
    for size in (400, 1200):
        file, trials = boards[size]
        store, (record,) = RecordStore(file.parent / "records"), records_for(trials[:1])
        with Calls() as calls:
            store.write(record)
        written.append(calls)
    assert written[0] == written[1]
    assert written[0]["fsync"] == 1
    assert not written[0].keys() & {"listdir", "scandir"}


def test_reading_lists_the_folder_once_and_opens_every_file_once(boards: dict[int, tuple[Path, list[Trial]]]) -> None:
    file, _ = boards[1200]
    store = RecordStore(file.parent / "records")
    with Calls() as calls:
        assert len(store.read()) == 1200
    assert (calls["scandir"], calls["listdir"], calls["open"], calls["stat"]) == (1, 0, 1200, 0)


def test_what_records_share_is_checked_once(boards: dict[int, tuple[Path, list[Trial]]], monkeypatch: pytest.MonkeyPatch) -> None:
    file, trials = boards[400]
    checked: list[str] = []
    validate = Setup.model_validate

    def count(content: Any) -> Setup:
        checked.append(validate(content).hash)
        return validate(content)

    monkeypatch.setattr(Setup, "model_validate", count)
    found = RecordStore(file.parent / "records").read()
    assert sorted(checked) == sorted({trial.setup.hash for trial in trials})
    assert len({id(record.trial.setup) for record in found}) == len(checked)
    monkeypatch.undo()
    assert found == [Record.model_validate_json(path.read_bytes()) for path in sorted((file.parent / "records").glob("*.json"))]
    assert {record.trial.id for record in found} == {trial.id for trial in trials}


def test_seeds_that_are_planned_together_share_one_setup(boards: dict[int, tuple[Path, list[Trial]]]) -> None:
    _, trials = boards[400]
    assert len({id(trial.setup) for trial in trials}) == len({trial.setup.hash for trial in trials}) == 200
