"""Records as a DataFrame: one row a record, in the board's order."""

from __future__ import annotations

from pathlib import Path

import pytest

import harness
from harness.boards.frames import FACTS, REST, to_frame
from harness.boards.records import Record, RecordStore
from harness.core.errors import BoardError
from tests.boards.test_records import METRICS, record, trial


@pytest.fixture
def store(tmp_path: Path) -> RecordStore:
    return RecordStore(tmp_path / "records")


def test_what_the_checks_warn_of_is_one_column() -> None:
    assert to_frame([record().warned(("odd", "very odd"))])["warnings"].tolist() == ["odd; very odd"]


def test_a_frame_has_a_row_a_record_with_labels_metrics_and_provenance() -> None:
    environment = {"device": "CPU", "versions": {"Python": "3.11", "torch": "2.9"}}
    frame = to_frame([record(3, environment=environment)])
    assert frame.columns.tolist() == ["order", "method", "ipc", *FACTS, *REST, *METRICS]
    row = frame.iloc[0]
    assert (row["method"], row["ipc"], row["scenario"], row["seed"], row["status"]) == ("random", 1, "cross-optimizer", 3, "done")
    assert (row["accuracy"], row["seconds"], row["device"], row["versions"]) == (50.0, 1.5, "CPU", "Python 3.11, torch 2.9")
    assert row["id"] == trial(3).id
    assert (row["dataset_digest"], row["distilled"], row["teacher_digest"]) == ("d" * 64, "e" * 64, "a+b")
    assert row["setup"] == trial(0).setup.hash


def test_a_record_that_nobody_has_verified_is_claimed() -> None:
    frame = to_frame([record(0), record(1)], {trial(1).id: "verified"})
    assert frame["evidence"].tolist() == ["claimed", "verified"]


def test_a_frame_is_in_the_order_of_the_board_whatever_order_the_records_come_in() -> None:
    records = [record(seed) for seed in (2, 0, 3, 1)]
    frame = to_frame(records)
    assert frame["seed"].tolist() == [0, 1, 2, 3]
    assert frame.index.tolist() == [0, 1, 2, 3]
    assert to_frame(records[::-1]).equals(frame)


def test_records_of_one_order_are_sorted_by_id() -> None:
    records = [Record.of(trial(seed, order=0), "done", metrics=METRICS) for seed in range(5)]
    assert to_frame(records)["id"].tolist() == sorted(r.id for r in records)


def test_a_failed_record_has_no_metrics_and_keeps_its_error() -> None:
    frame = to_frame([record(0), record(1, "failed", metrics={}, error="out of memory")])
    assert frame["error"].tolist() == ["", "out of memory"]
    assert frame["accuracy"].isna().tolist() == [False, True]


def test_the_records_of_a_board_are_a_frame_by_its_folder_or_its_file(store: RecordStore, tmp_path: Path) -> None:
    (tmp_path / "board.toml").write_text("")
    assert harness.records(tmp_path).empty  # nothing has run yet
    store.write(record())
    for board in (tmp_path, str(tmp_path), tmp_path / "board.toml"):
        assert harness.records(board)["accuracy"].tolist() == [50.0]


def test_a_folder_without_a_board_is_a_mistake_and_no_empty_frame(tmp_path: Path) -> None:
    (tmp_path / "records").mkdir()
    for folder in (tmp_path, tmp_path / "records", tmp_path / "absent"):
        with pytest.raises(BoardError, match=r"no board here; expected a folder with board\.toml"):
            harness.records(folder)
