"""What records cost, counted by hand."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from harness.boards.records import Record
from harness.boards.trial import Trial
from harness.leaderboard.prices import COLUMNS
from harness.running import prices as module
from harness.running.prices import prices
from tests.boards.trials import TRIAL

#: convnet1(width=8) on digits: a convolution of 8 filters 3x3 on 16x16 places, and 10 rows of 8 x 8 x 8 weights.
FORWARD = 2 * (8 * 9 * 256 + 10 * 8 * 64)


@pytest.fixture(autouse=True)
def counted_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIFTBENCH_HOME", str(tmp_path))
    module._counted.cache_clear()


def record(
    teacher: str = "convnet1(width=8)", labels: str = "auto", provenance: dict[str, Any] | None = None, **changes: Any
) -> Record:
    content = TRIAL | {
        "teacher": ["a" * 64] * len(teacher.split(" + ")) if teacher else [],
        "protocol": TRIAL["protocol"] | {"labels": labels, "epochs": 3, "batch_size": 10},
        "labels": {"method": "random", "images": 25, "teacher": teacher},
        **changes,
    }
    made = Record.of(Trial.model_validate(content), "done", metrics={"accuracy": 50.0}, timing={"total": 2.5})
    return made.stating(**(provenance or {}))


def price(made: Record) -> dict[str, float]:
    (row,) = prices([made]).itertuples(index=False)
    return dict(zip(COLUMNS, row, strict=True))


def test_a_trial_under_a_teacher() -> None:
    assert price(record()) == {
        "image_bytes": 25 * 256,
        "pixel_bytes": 25 * 256,
        "label_bytes": 25,
        "needed_label_bytes": 25 + 3 * 25 * 10 * 2,
        "steps": 3 * 3,
        "teacher_passes": 75,
        "operations": 3 * 75 * FORWARD + 75 * FORWARD,
        "worker_seconds": 2.5,
    }


def test_a_loss_on_hard_labels_takes_none_of_a_teacher() -> None:
    found = price(record(teacher=""))
    assert (found["teacher_passes"], found["needed_label_bytes"], found["operations"]) == (0, 25, 3 * 75 * FORWARD)


def test_labels_that_are_given_once_cost_one_pass_an_image_and_each_network_counts() -> None:
    found = price(record(teacher="convnet1(width=8) + convnet1(width=8)", labels="fixed"))
    assert (found["teacher_passes"], found["needed_label_bytes"]) == (50, 25 + 25 * 10 * 2)
    assert found["operations"] == 3 * 75 * FORWARD + 50 * FORWARD


def test_a_set_that_is_stored_otherwise_says_so_in_its_record() -> None:
    found = price(record(teacher="", provenance={"image_bytes": 25_600, "label_bytes": 1025}))
    assert (found["image_bytes"], found["label_bytes"], found["needed_label_bytes"]) == (25_600, 1025, 1025)
    assert found["pixel_bytes"] == 25 * 256, "of a record that says nothing of them, those of the images that it trained on"


def test_a_record_says_what_its_images_are_as_pixels_where_they_were_made_of_fewer_or_their_shape_is_not_known() -> None:
    stated = {"image_bytes": 900, "pixel_bytes": 6 * 256, "label_bytes": 25}
    assert price(record(provenance=stated))["pixel_bytes"] == 6 * 256
    found = price(record(dataset={"name": "folder(path=pets)", "digest": "d" * 64}, provenance=stated))
    assert (found["image_bytes"], found["pixel_bytes"], found["label_bytes"]) == (900, 6 * 256, 25)


def test_steps_of_stored_batches_are_those_that_were_made() -> None:
    """25 images in batches of 10: LPQLD makes an epoch of two of the stored batches."""
    stored = {"epochs": 3, "batch_size": 10, "augmentation": "stored", "mixing": "stored"}
    made = record(teacher="", protocol=TRIAL["protocol"] | stored)
    assert price(made)["steps"] == 9
    assert price(made.model_copy(update={"metrics": {"accuracy": 50.0, "steps": 6.0}}))["steps"] == 6


def test_a_stream_of_classes_trains_once_a_step_on_what_its_strategy_keeps() -> None:
    options = {"steps": 5, "strategy": {"name": "GDumb", "options": {}}}
    found = price(record(scenario="class-incremental", options=options))
    parts = [5, 10, 15, 20, 25]
    assert found["steps"] == sum(3 * math.ceil(images / 10) for images in parts)
    assert found["teacher_passes"] == 3 * sum(parts)


def test_of_a_dataset_that_does_not_ship_and_a_teacher_that_is_no_model_what_needs_them_is_not_known() -> None:
    found = price(record(dataset={"name": "folder(path=pets)", "digest": "d" * 64}))
    assert all(math.isnan(found[name]) for name in ("image_bytes", "label_bytes", "needed_label_bytes", "operations"))
    assert (found["steps"], found["teacher_passes"]) == (9, 75)
    assert math.isnan(price(record(teacher="somebody's"))["operations"])


def test_operations_are_counted_once_for_all_and_a_damaged_count_is_counted_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = price(record())
    (kept,) = (tmp_path / "operations").glob("*.json")
    module._counted.cache_clear()
    with monkeypatch.context() as patched:
        patched.setattr(module, "forward_operations", lambda *facts: pytest.fail("counted again"))
        assert price(record()) == first
    kept.write_text("{")
    module._counted.cache_clear()
    assert price(record()) == first
