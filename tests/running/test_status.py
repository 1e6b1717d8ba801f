"""Where a board stands, and watching it, from its records and claims: nothing is trained, and what was planned is taken up."""

from __future__ import annotations

import sys
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest

from harness.boards.records import Record, RecordStore
from harness.boards.trial import Trial
from harness.core import plugins
from harness.core.errors import BoardError
from harness.files.claims import Claims
from harness.running import status as module
from harness.running.options import Named, Options, Silent
from harness.running.overrides import Overrides
from harness.running.queue import PLAN, forget, note, noted
from harness.running.run import run_board
from harness.running.status import status, watch
from tests.conftest import Refused, board_text
from tests.large_boards import fill, planned

BOARD = board_text(losses=["ce"], seeds=8, scenarios=[{"name": "cross-optimizer", "optimizers": ["sgd"]}])
OPTIONS = Options(jobs=1)


@pytest.fixture
def planned_board(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, list[Trial]]:
    """A board of eight trials that a run has planned, all with a record."""
    monkeypatch.setattr(sys.modules["__main__"], "__file__", pytest.__file__, raising=False)  # no notebook, nor xdist's worker
    monkeypatch.setattr(plugins, "failures", {})
    file = tmp_path / "board.toml"
    file.write_text(BOARD)
    trials = planned(file)
    fill(file, trials)
    run_board(file, Overrides(), OPTIONS)
    return file, trials


class Telling(Silent):
    def __init__(self) -> None:
        self.planned_as: tuple[int, int] | None = None
        self.begun: list[str] = []
        self.over: list[str] = []
        self.lines: list[str] = []

    def say(self, line: str) -> None:
        self.lines.append(line)

    def planned(self, count: int, missing: Sequence[Named]) -> None:
        self.planned_as = count, len(missing)

    def started(self, trial: Named) -> None:
        self.begun.append(trial.id)

    def ended(self, trial: Trial, record: Record) -> None:
        self.over.append(record.id)


def test_every_trial_is_done_running_left_or_failed(planned_board: tuple[Path, list[Trial]]) -> None:
    file, trials = planned_board
    store = RecordStore(file.parent / "records")
    for trial in trials:
        store.write(Record.of(trial, "done"))
    now = status(file)
    assert (now.planned, now.done, now.left, now.failed, now.running) == (8, 8, 0, [], {})
    for trial in trials[:4]:
        (store.folder / f"{trial.id}.json").unlink()
    store.write(Record.of(trials[0], "failed", error="once"))
    with Claims(file.parent / "claims") as claims:
        assert claims.take([trials[0].id, trials[1].id, PLAN])
        now = status(file)
        assert (now.planned, now.done, now.left) == (8, 4, 2)
        assert [record.id for record in now.failed] == [trials[0].id]
        assert now.running.keys() == {trials[1].id}, "what has a record is not running"
        assert now.planning is not None


def test_what_those_at_work_have_planned_counts_and_without_any_plan_there_is_no_number_of_what_is_left(
    planned_board: tuple[Path, list[Trial]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file, trials = planned_board
    note(file.parent, [trial.id for trial in trials[:3]])
    now = status(file)
    assert (now.planned, now.done, now.left) == (3, 3, 0)
    for odd in ("", "{}", "[1]", "nul"):
        (file.parent / "claims" / "planned.json").write_text(odd)
        assert status(file).planned == 8
    forget(file.parent, {trial.id for trial in trials})
    monkeypatch.setenv("GIFTBENCH_HOME", str(tmp_path / "other home"))
    now = status(file)
    assert (now.planned, now.left, now.done) == (None, None, 8)


def test_a_run_notes_its_plan_until_all_is_done(tmp_path: Path, cache: Path) -> None:
    file = tmp_path / "board.toml"
    file.write_text(BOARD)
    seen: list[int | None] = []

    class Looking(Silent):
        def ended(self, trial: Trial, record: Record) -> None:
            seen.append(status(file).left)

    run_board(file, Overrides(), Options(device="cpu", jobs=1, shard=(0, 2), wait=False), Looking())
    assert seen
    assert noted(tmp_path) is not None
    run_board(file, Overrides(), Options(device="cpu", jobs=1), Looking())
    assert seen[-1] == 0
    assert noted(tmp_path) is None
    assert not (tmp_path / "claims").exists()


def test_who_watches_sees_others_begin_and_end_trials_until_all_are_done(
    planned_board: tuple[Path, list[Trial]], monkeypatch: pytest.MonkeyPatch
) -> None:
    file, trials = planned_board
    store, watcher = RecordStore(file.parent / "records"), Telling()
    monkeypatch.setattr(module, "POLL", 0.02)
    for trial in trials:
        store.write(Record.of(trial, "done"))
    for trial in trials[:3]:
        (store.folder / f"{trial.id}.json").unlink()
    with Claims(file.parent / "claims") as claims:
        assert claims.take([trial.id for trial in trials[:3]])

        def work() -> None:
            for trial in trials[:3]:
                store.write(Record.of(trial, "failed", error="so"))
                claims.release([trial.id])

        threading.Timer(0.3, work).start()
        summary = watch(file, watcher)
    assert watcher.planned_as == (8, 3)
    ids = {trial.id for trial in trials[:3]}
    assert set(watcher.begun) == set(watcher.over) == ids
    assert (summary.planned, summary.ran, summary.failed) == (8, 8, dict.fromkeys(ids, "so"))
    assert watcher.lines == []


def test_watching_ends_when_nobody_is_at_work(planned_board: tuple[Path, list[Trial]], monkeypatch: pytest.MonkeyPatch) -> None:
    file, trials = planned_board
    watcher = Telling()
    monkeypatch.setattr(module, "POLL", 0.01)
    (file.parent / "records" / f"{trials[0].id}.json").unlink()
    assert watch(file, watcher).ran == 7
    (line,) = watcher.lines
    assert "nobody is at work on it, and 1 of 8 trials are left" in line


def test_a_board_that_was_never_planned_here_cannot_be_watched(tmp_path: Path, cache: Path, refused: Refused) -> None:
    file = tmp_path / "board.toml"
    file.write_text(BOARD)
    with refused(BoardError, file, "nobody has planned it", "giftbench run"):
        watch(file)
