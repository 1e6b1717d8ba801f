"""`whole.py`: its boards can be planned, and both versions run each from nothing, in turn."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from harness import datasets
from tests.benchmarks import whole
from tests.benchmarks.startup import Cost
from tests.large_boards import parts_of


@pytest.mark.parametrize("name", whole.JOBS)
def test_a_board_has_six_losses_three_optimizers_and_three_seeds(name: str, tmp_path: Path) -> None:
    job = whole.JOBS[name]
    text = whole.BOARD.format(student=job.student, teacher=job.teacher, seeds=3, epochs=10)
    (tmp_path / "board.toml").write_text(text)
    board = parts_of(tmp_path / "board.toml").board
    assert (len(board.losses), len(board.seeds), str(board.model)) == (6, 3, job.student)


def test_the_dataset_has_the_side_and_the_images_that_are_said(tmp_path: Path) -> None:
    whole.draw(tmp_path, 8)
    data = datasets.load("folder/data", tmp_path)
    assert (data.shape, len(data.train), len(data.test)) == ((3, 8, 8), whole.CLASSES * whole.TRAIN, whole.CLASSES * whole.TEST)


@pytest.mark.skipif(sys.platform != "linux", reason="CPU seconds of what a command leaves behind are counted by Linux alone")
def test_versions_take_turns_on_boards_that_hold_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    calls: list[str] = []

    def cost(command: list[str], home: Path) -> Cost:
        assert [path.name for path in home.parent.iterdir()] == ["board.toml"]
        (home.parent / "records").mkdir()
        calls.append(command[0])
        return Cost(2.0 * len(calls), 1.0)

    monkeypatch.setattr(whole, "cost", cost)
    monkeypatch.setattr(whole, "draw", lambda folder, side: None)
    sides = {"this": "ours", "other": "theirs"}
    (tmp_path / "own" / "board.toml").parent.mkdir()
    (tmp_path / "own" / "board.toml").write_text("", "utf-8")
    for number, job in enumerate((whole.JOBS["narrow"], whole.Own(tmp_path / "own" / "board.toml"))):
        measured = [*whole.costs(tmp_path, job, sides, 2, 3, 1, tmp_path / f"kept-{number}")]
        assert calls == ["ours", "theirs"] * 2
        assert {path.name for path in (tmp_path / f"kept-{number}").iterdir()} == {"this-1", "other-1", "this-2", "other-2"}
        assert (tmp_path / f"kept-{number}" / "this-2" / "records").is_dir()
        calls.clear()
    cells = whole.row(whole.JOBS["taught"], measured, [4.0, 8.0])
    taught = "convnet3(width=64), 32 px, teacher resnet18"
    assert cells == [taught, "4.0, 1", "6.0, 1", "0.62, 1.00", "6.0", "0.62", "0.00, 0.00", "2"]
    assert whole.row(job, measured, [])[:1] == ["own"]
    assert whole.row(job, measured, [])[4:6] == ["", ""]


def test_bare_steps_are_those_of_all_trainings(monkeypatch: pytest.MonkeyPatch) -> None:
    job, programs = whole.Job("convnet1(width=2)", "convnet1(width=2)", 4), []

    class Process:
        def __init__(self, command: list[str], **_: object) -> None:
            programs.append(command[-1])

        def communicate(self) -> tuple[str, None]:
            return "1.5\n", None

    monkeypatch.setattr(whole.subprocess, "Popen", Process)
    assert whole.bare(job, 5, 1) == 3.0
    assert [program.splitlines()[-1] for program in programs] == [f"print(steps({job!r}, {share}, 1))" for share in (2, 3)]
    assert whole.steps(job, 2, 1) > 0


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["--board", "nowhere.toml"], "--board nowhere.toml: neither one of wide, narrow, taught nor a file"),
        (["--board", "narrow", "--keep", "full"], "--keep takes a folder that holds nothing"),
        (["--board", "narrow", "--board", "wide", "--keep", "new"], "what one --board becomes"),
    ],
    ids=str,
)
def test_what_cannot_be_run_or_kept_is_said_before_anything_runs(
    words: list[str], why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "full" / "this-1").mkdir(parents=True)
    monkeypatch.setattr(sys, "argv", ["whole", "--against", "other", *words])
    with pytest.raises(SystemExit) as end:
        whole.main()
    assert end.value.code == 2
    assert why in capsys.readouterr().err
