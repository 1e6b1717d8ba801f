"""A board's soft labels published: a folder for each stream, none twice, and refused before anything is trained."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from harness.boards.trial import Trial
from harness.core.errors import BoardError, DataError
from harness.core.spec import Spec
from harness.datasets.cards import Card
from harness.planning.artefacts import Artefacts
from harness.planning.published_sets import read
from harness.running import label_streams
from harness.running.workbench import Workbench
from tests.conftest import Planner

PROTOCOL = {"name": "smoke", "epochs": 2, "batch_size": 8, "augmentation": "random-resized-crop+flip", "mixing": "cutmix"}
SETS = [{"method": "random", "ipc": 1}, {"method": "random", "title": "More", "ipc": 2}]


def test_each_set_protocol_and_seed_has_one_stream_whatever_losses_optimizers_and_scenarios_there_are(
    plan: Planner, artefacts: Artefacts
) -> None:
    keys: dict[str, Any] = {"losses": ["gift", "kl", "ce"], "seeds": 2, "sets": SETS, "protocol": PROTOCOL}
    trials = plan(**keys, scenarios=["cross-optimizer", "loss-comparison", {"name": "class-incremental", "steps": 2}])
    streams = label_streams.streams(trials, artefacts)
    assert sorted((trial.labels.ipc, trial.seed) for trial in streams) == [(1, 0), (1, 1), (2, 0), (2, 1)]
    assert all(trial.teacher and trial.scenario != "class-incremental" for trial in streams)


def test_streams_are_published_with_their_images_once_and_are_read_by_the_formats_reader(
    plan: Planner, artefacts: Artefacts, tmp_path: Path
) -> None:
    streams = label_streams.streams(plan(seeds=2, sets=SETS[1:], protocol=PROTOCOL), artefacts)

    def publish(trials: list[Trial]) -> list[Path]:
        return [*label_streams.publish(trials, tmp_path / "labels", Workbench("cpu", artefacts))]

    first = publish(streams[:1])
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "labels").rglob("*") if path.is_file()}
    assert publish(streams) == [*first, first[0].with_name("seed-1")]
    assert all(path.stat().st_mtime_ns == time for path, time in times.items())
    for folder in publish(streams):
        form = Spec.model_validate("fkd(images=images, images_format=parquet)")
        distilled = read(form, folder, Card("digits", (1, 16, 16), 10), None, lambda line: None)
        assert distilled.replay is not None
        assert (distilled.replay.epochs, distilled.replay.batch, len(distilled)) == (2, 8, 20)
        assert distilled.images.equal(Workbench("cpu", artefacts).distilled(streams[0]).images)


@pytest.mark.parametrize(
    ("keys", "error", "words"),
    [
        ({"losses": ["ce"]}, BoardError, "--keep-labels: no training here asks a teacher"),
        ({"protocol": {**PROTOCOL, "labels": "fixed"}}, BoardError, "--keep-labels: no training here asks a teacher"),
        (
            {"protocol": {**PROTOCOL, "augmentation": "color_crop"}},
            DataError,
            "--keep-labels: cross-optimizer, .*: augmentation 'color_crop.*' cannot be said in FKD's format.*",
        ),
        ({"protocol": {**PROTOCOL, "batch_size": 9}}, DataError, "10 images in batches of 9 leave a last one of one image"),
    ],
)
def test_what_cannot_be_published_is_one_line(
    plan: Planner, artefacts: Artefacts, keys: dict[str, Any], error: type[Exception], words: str
) -> None:
    trials = plan(**{"protocol": PROTOCOL, **keys})
    with pytest.raises(error, match=words) as caught:
        label_streams.streams(trials, artefacts)
    assert "\n" not in str(caught.value)
