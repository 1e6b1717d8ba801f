"""`giftbench run`: the missing trials, then the leaderboard; `--retry` is named where trials failed."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import pytest

from harness.boards.records import Record, RecordStore
from harness.files import atomic
from tests.conftest import Giftbench, board_text


def test_missing_trials_run_once_and_the_leaderboard_is_printed(giftbench: Giftbench, board: Path) -> None:
    first = giftbench("run", board, "--device", "cpu", "--jobs", 1).out
    assert str(board.parent / "README.md") in first.splitlines()
    (record,) = (board.parent / "records").glob("*.json")
    content = record.read_bytes()
    giftbench("run", board, "--device", "cpu", "--jobs", 1)
    assert record.read_bytes() == content
    giftbench("run", board, "--device", "cpu", "--jobs", 1, "--seeds", 2)
    assert len(list((board.parent / "records").glob("*.json"))) == 2


def test_trials_whose_records_a_newer_giftbench_made_are_not_repeated(giftbench: Giftbench, board: Path) -> None:
    giftbench("run", board, "--device", "cpu", "--jobs", 1)
    (path,) = (board.parent / "records").glob("*.json")
    known = path.read_bytes()
    newer = json.dumps(json.loads(known) | {"schema": "giftbench.record/2", "verdict": "fine"}).encode()
    other = path.with_name(f"{'a' * 20}.json")
    other.write_bytes(newer)
    said = giftbench("run", board, "--device", "cpu", "--jobs", 1).err  # none of this run's trials is among them
    assert said.count("1 record made by a newer giftbench (giftbench.record/2; ") == 1
    assert "Not shown: 1 record made by a newer giftbench." in (board.parent / "README.md").read_text("utf-8")
    path.write_bytes(newer)
    for words in ([], ["--rerun"]):
        error = giftbench("run", board, "--device", "cpu", "--jobs", 1, *words, status=2).err
        assert error.splitlines()[-1].startswith(f"giftbench: {path.parent}: 2 records made by a newer giftbench")
        assert "; 1 of them are trials of this run, which does not repeat them: update giftbench, or move" in error
        assert error.count("newer giftbench (") == 1
    assert path.read_bytes() == other.read_bytes() == newer
    assert not (path.parent / "broken").exists()


def test_a_cache_that_is_a_file_is_one_line_and_leaves_nothing_half_done(
    giftbench: Giftbench, board: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "plain").write_text("a file")
    monkeypatch.setenv("GIFTBENCH_HOME", str(tmp_path / "plain"))
    board.write_text(board_text(protocol="quick"))  # which needs a teacher, and the cache would keep that
    error = giftbench("run", board, "--device", "cpu", "--jobs", 1, status=2).err
    line = error.splitlines()[-1]
    assert line.startswith("giftbench: ")
    assert f"{tmp_path / 'plain'}" in line
    assert ": cannot be written: " in line
    assert line.endswith("GIFTBENCH_HOME names another cache folder")
    assert not [*board.parent.rglob("*.tmp")]


def test_a_record_that_cannot_be_written_ends_the_run_in_a_line_and_keeps_the_others(
    giftbench: Giftbench, board: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, written = RecordStore.write, []

    def once(store: RecordStore, record: Record) -> Path:
        if written:
            with atomic.told(store.folder / f"{record.id}.json"):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        written.append(record)
        return write(store, record)

    with monkeypatch.context() as patch:
        patch.setattr(RecordStore, "write", once)
        error = giftbench("run", board, "--device", "cpu", "--jobs", 1, "--seeds", 3, status=2).err
    assert error.splitlines()[-1].endswith("no space left on device; free some space, and the same command goes on")
    store = RecordStore(board.parent / "records")
    assert store.read() == written
    giftbench("run", board, "--device", "cpu", "--jobs", 1, "--seeds", 3)
    assert len(store.read()) == 3


def test_soft_labels_are_published_beside_the_board_and_one_that_cannot_be_is_refused_before_a_trial_runs(
    giftbench: Giftbench, tmp_path: Path
) -> None:
    board = tmp_path / "board.toml"
    words = ("run", board, "--device", "cpu", "--jobs", 1, "--keep-labels", "true")
    board.write_text(board_text(losses=["kl"], scenarios=["loss-comparison"]))
    error = giftbench(*words, status=2).err
    assert len(error.splitlines()[-1:]) == 1
    assert "cannot be said in FKD's format" in error
    assert not (tmp_path / "records").exists() or not [*(tmp_path / "records").glob("*.json")]
    protocol = {"name": "smoke", "epochs": 2, "augmentation": "random-resized-crop+flip"}
    board.write_text(board_text(losses=["kl"], scenarios=["loss-comparison"], protocol=protocol))
    folder = giftbench(*words).out.splitlines()[-1]
    assert Path(folder).parent.parent == tmp_path / "labels"
    assert giftbench(*words).out.splitlines()[-1] == folder  # of a board that is done, too
    form = "fkd(images=images, images_format=parquet)"
    giftbench("import", form, folder, "--dataset", "digits", "-o", tmp_path / "set.safetensors", "--no-check")
    assert "of 2 epochs of stored augmentations" in giftbench("inspect", tmp_path / "set.safetensors").out
