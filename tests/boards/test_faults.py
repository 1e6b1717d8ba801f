"""What is wrong with records, as they themselves tell."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from harness.boards import faults, seals
from harness.boards.records import Environment, Record, RecordStore
from harness.boards.trial import Trial
from tests.boards.test_records import trial

HISTORY = [
    {"epoch": 1.0, "accuracy": 60.0, "top5_accuracy": 90.0},
    {"epoch": 2.0, "accuracy": 50.0, "top5_accuracy": 92.0},
]
METRICS = {"accuracy": 50.0, "best_accuracy": 60.0, "top5_accuracy": 92.0, "epochs": 2.0}


def record(seed: int = 0, status: Any = "done", one: Trial | None = None, **rest: Any) -> Record:
    content: dict[str, Any] = {"metrics": METRICS, "history": HISTORY, "timing": {"train": 1.5 + seed, "evaluate": 0.5}}
    return Record.of(one or trial(seed), status, **content | rest)


def test_what_a_scenario_gives_contradicts_nothing() -> None:
    assert [*faults.contradictions(record(), 50)] == []
    failed = record(status="failed", metrics={}, history=[], error="out of memory")
    assert [*faults.contradictions(failed, 50)] == []


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"metrics": METRICS | {"accuracy": 52.0}}, "metrics.accuracy: 52.0, and its history says 50"),
        ({"metrics": METRICS | {"top5_accuracy": 94.0}}, "metrics.top5_accuracy: 94.0, and its history says 92"),
        ({"metrics": METRICS | {"best_accuracy": 58.0}}, "metrics.best_accuracy: 58.0, and its history says 60"),
        ({"metrics": METRICS | {"best_accuracy": 48.0}}, "metrics.best_accuracy: 48 is below the accuracy after the last epoch"),
        ({"metrics": METRICS | {"top5_accuracy": 40.0}}, "metrics.top5_accuracy: 40 is below the accuracy, 50"),
        ({"metrics": METRICS | {"epochs": 3.0}}, "metrics.epochs: 3.0, and its history says 2"),
        ({"metrics": {"best_accuracy": 60.0}}, "a trial that is done has an accuracy and no error"),
        ({"history": []}, "history: empty"),
        (
            {"history": [HISTORY[0], HISTORY[1] | {"ema_accuracy": 52.0}], "metrics": METRICS | {"ema_accuracy": 54.0}},
            "metrics.ema_accuracy: 54.0, and its history says 52",
        ),
        (
            {"metrics": METRICS | {"raw_accuracy": 51.0}},
            "metrics.raw_accuracy: 51.0 percent is no whole number of 50 test images",
        ),
        ({"history": HISTORY[::-1], "metrics": METRICS | {"accuracy": 60.0}}, "history: its epochs do not ascend: 2, 1"),
        ({"history": HISTORY[:1]}, "history: ends after epoch 1, and the trial has 2"),
        ({"history": [HISTORY[0] | {"top5_accuracy": 50.0}, HISTORY[1]]}, "history[0].top5_accuracy: 50 is below the accuracy"),
        ({"metrics": METRICS | {"top5_accuracy": 91.0}}, "91.0 percent is no whole number of 50 test images; 46 are 92.0"),
        ({"timing": {"train": -1.0}}, "timing.train: -1 seconds are less than none"),
        ({"error": "odd"}, "a trial that is done has an accuracy and no error"),
        ({"status": "failed", "error": "out of memory"}, "a trial that failed has an error and no metrics"),
        ({"environment": Environment(precision="bf16")}, "environment.precision: bf16, and the trial's is float32"),
        ({"environment": Environment(trained_with=("a",))}, "environment.trained_with: does not name the record itself"),
    ],
)
def test_what_cannot_be_is_a_line_that_names_the_field(changes: dict[str, Any], words: str) -> None:
    lines = [str(fault) for fault in faults.contradictions(record(**changes), 50)]
    assert any(words in line for line in lines), lines
    assert all(line.startswith(f"records/{trial(0).id}.json: ") and faults.RESTORE in line for line in lines)


def test_what_a_plugin_measures_is_its_own() -> None:
    plugin = {"scenario cross-optimizer": {"source": "mine.py", "digest": "f" * 64}}
    one = record(one=trial(0).model_copy(update={"plugins": plugin}), metrics={"accuracy": 12.3456}, history=[])
    assert [*faults.contradictions(one, 50)] == []


def test_two_trainings_never_took_the_same_seconds() -> None:
    assert [*faults.copies([record(0), record(1)])] == []
    (fault,) = faults.copies([record(0), record(1, timing=record(0).timing)])
    assert fault.id == trial(1).id
    assert f"took the same seconds as records/{trial(0).id}.json" in fault.what


def test_reading_moves_nothing_and_says_what_is_broken(tmp_path: Path) -> None:
    store = RecordStore(tmp_path)
    good, seeded, odd, other = (store.write(record(seed)) for seed in range(4))
    seeded.write_text(seeded.read_text().replace('"seed": 1', '"seed": 7'))
    odd.write_text(odd.read_text().replace("92.0", "192.0"))
    other.write_text("{}")
    (tmp_path / "newer.json").write_text('{"schema": "giftbench.record/2"}')
    reading = faults.read(tmp_path)
    assert [each.id for each in reading.records] == [good.stem]
    lines = {fault.id: str(fault) for fault in reading.faults}
    assert lines.keys() == {seeded.stem, odd.stem, other.stem, "newer"}
    assert "its id is not the hash of its trial" in lines[seeded.stem]
    assert f"the trial that it states has the id {trial(7).id}" in lines[seeded.stem]
    assert "192 is outside of 0 to 100 percent" in lines[odd.stem]
    assert "no record of a trial" in lines[other.stem]
    assert "made by a newer giftbench (giftbench.record/2)" in lines["newer"]
    assert len([*tmp_path.iterdir()]) == 5


def test_a_seal_tells_of_any_byte_and_of_what_is_gone_and_nothing_of_what_is_new(tmp_path: Path) -> None:
    store = RecordStore(tmp_path / "records")
    paths = [store.write(record(seed)) for seed in range(3)]
    seal = seals.made(tmp_path)
    store.write(record(3))
    assert [*faults.broken_seal(tmp_path, seal, "COMMAND")] == []
    paths[0].write_text(paths[0].read_text().replace("50.0", "51.0"))
    paths[1].unlink()
    lines = {fault.id: str(fault) for fault in faults.broken_seal(tmp_path, seal, "COMMAND")}
    assert lines.keys() == {paths[0].stem, paths[1].stem}
    assert "does not have the SHA-256 of records.sha256; restore it; COMMAND" in lines[paths[0].stem]
    assert "named in records.sha256, and not there" in lines[paths[1].stem]
