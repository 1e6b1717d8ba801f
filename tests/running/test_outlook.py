"""A board on paper: what is done and left of it, from what is at hand alone; nothing is trained or made."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from harness.boards.records import Record, RecordStore
from harness.boards.trial import Trial
from harness.running.forecast import Machines
from harness.running.options import Options
from harness.running.outlook import outlook
from harness.running.overrides import Overrides
from tests.conftest import board_text
from tests.large_boards import planned

CPU, ONE = Options(device="cpu", jobs=2, stack=1), Overrides()


@pytest.fixture
def file(tmp_path: Path, cache: Path) -> Path:
    """A board of eight trials, four of each loss, whose sets and teacher nobody has made."""
    path = tmp_path / "board.toml"
    path.write_text(board_text(losses=["gift", "ce"], seeds=4, scenarios=[{"name": "cross-optimizer", "optimizers": ["sgd"]}]))
    return path


def write(file: Path, trials: list[Trial], status: str = "done", seconds: float = 36.0, device: str = "CPU Test") -> None:
    for trial in trials:
        record = Record.of(trial, status, timing={"total": seconds}, environment={"device": device})  # type: ignore[arg-type]
        RecordStore(file.parent / "records").write(record)


def test_what_is_not_at_hand_is_named_and_not_made(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.teachers.teacher.train", lambda *a, **k: pytest.fail("trained a teacher"))
    before = sorted(file.parent.rglob("*"))
    known = outlook(file, ONE, CPU)
    assert (known.planned, known.done, known.failed, known.left) == (8, 0, 0, 8)
    assert known.absent == ("random of digits at IPC 1", "teacher convnet1(width=8) of digits")
    (here,) = known.places
    assert (here.machines, here.workers, here.basis.records) == (None, 2, 0)
    assert here.forecast.work > 0
    assert sorted(file.parent.rglob("*")) == before


def test_done_left_and_failed_are_those_of_a_run_and_hours_those_of_its_records(file: Path) -> None:
    trials = planned(file)
    assert [trial.loss.name for trial in trials] == ["gift"] * 4 + ["ce"] * 4
    write(file, [trials[0], trials[4]])
    write(file, [trials[1]], "failed")
    cpu, h200 = Machines.parse(["cpu-test:1x5", "h200:8x2"])
    known = outlook(file, ONE, CPU, [cpu, h200])
    assert (known.planned, known.done, known.failed, known.left, known.absent) == (8, 2, 1, 5, ())
    here, five, gpus = known.places
    assert (here.workers, here.forecast.work, here.forecast.wall, here.basis.same) == (2, 5 * 36.0, 3 * 36.0, False)
    assert (five.workers, five.forecast.wall, five.forecast.bounded, five.basis.same) == (5, 36.0, True, True)
    assert (gpus.workers, gpus.device, gpus.basis.records) == (16, "cuda", 0)
    assert outlook(file, ONE, Options(device="cpu", jobs=1, stack=1, retry=True)).left == 6
    fewer = outlook(file, Overrides(losses=("ce",), seeds=2), CPU)
    assert (fewer.planned, fewer.done + fewer.failed + fewer.left) == (2, 2)


def test_records_whose_teacher_is_gone_still_tell_seconds(file: Path, tmp_path: Path) -> None:
    trials = planned(file)
    write(file, trials)
    for path in (*(tmp_path / "artefacts").iterdir(), *(tmp_path / "home").rglob("*.safetensors")):
        path.unlink()
    known = outlook(file, ONE, CPU)
    assert (known.done, known.left, known.places[0].basis.records) == (8, 0, 8), "records that fit in all but the digests"
    more = outlook(file, Overrides(seeds=8), CPU)
    assert (more.done, more.left) == (8, 8)
    assert more.places[0].forecast.work == pytest.approx(8 * 36.0, abs=4.0)  # 294 where that teacher is left out of the costs


def test_trials_of_a_set_that_is_gone_are_done_where_a_record_fits_in_all_else(file: Path) -> None:
    trials = planned(file)
    write(file, trials[:3])
    write(file, [trials[3]], "failed")
    for made in (file.parent / "artefacts").glob("set-*"):
        made.unlink()
    for path in (file.parent.parent / "cache").rglob("set-*"):
        path.unlink()
    known = outlook(file, ONE, CPU)
    assert "random of digits at IPC 1" in known.absent
    assert (known.planned, known.done, known.failed, known.left) == (8, 3, 1, 4)
    assert outlook(file, ONE, replace(CPU, retry=True)).left == 5
