"""What a worker trains with: a trial's images, and what its teacher sees of them."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from harness import datasets, teachers
from harness.boards.native import STATISTICS
from harness.datasets.base import Dataset, normalise
from harness.datasets.split import Split
from harness.distilled.set import DistilledSet
from harness.running.workbench import Workbench
from harness.teachers.teacher import Teacher
from tests.boards.trials import changed

OWN = (0.5, 0.4, 0.3), (0.2, 0.3, 0.25)


def split(count: int, seed: int) -> Split:
    pixels = torch.randint(0, 256, (count, 3, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))
    return Split(pixels, torch.arange(count) % 3)


@pytest.fixture
def colours(monkeypatch: pytest.MonkeyPatch) -> Dataset:
    """A dataset of three channels with statistics of its own, known as `colours`."""
    dataset = Dataset("colours", split(6, 0), split(9, 1), ("a", "b", "c"), *OWN)
    monkeypatch.setattr(datasets, "load", lambda name, data_dir: dataset)
    return dataset


@pytest.mark.parametrize("normalisation", ["dataset", "imagenet", "sre2l"])
@pytest.mark.parametrize("labels", ["teacher", "fixed"])
def test_student_and_test_split_are_normalised_as_the_protocol_says_and_the_teacher_as_its_own(
    colours: Dataset, monkeypatch: pytest.MonkeyPatch, normalisation: str, labels: str
) -> None:
    pixels = split(3, 2)
    distilled = DistilledSet(pixels.images, pixels.labels, dataset="colours", method="random", classes=3)
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 8 * 8, 3))
    teacher = Teacher("linear", (network,), ("a",), (90.0,), *OWN)
    bench = Workbench("cpu", sets={distilled.digest: distilled})
    monkeypatch.setattr(bench, "teacher", lambda trial: teacher)
    trial = changed("protocol.labels", labels).model_copy(
        update={"dataset": {"name": "colours", "digest": colours.digest}, "distilled": distilled.digest, "teacher": ("a",)}
    )
    protocol = trial.protocol.model_copy(update={"normalisation": normalisation})
    trial = trial.model_copy(update={"protocol": protocol})

    statistics: Any = STATISTICS.get(normalisation, OWN)
    for material, images in ((bench.material(trial), pixels.images), (bench.test_material(trial), colours.test.images)):
        assert torch.allclose(material.images, normalise(images, *statistics), atol=1e-6)
    expected = teacher.logits(normalise(pixels.images, *OWN))
    material, taught = bench.material(trial), bench.soft_labels(trial)
    found = material.soft if taught is None else taught(material.images)
    assert (taught is None) == (labels == "fixed")
    assert found is not None and torch.allclose(found, expected, atol=1e-5)
    other = trial.model_copy(update={"protocol": trial.protocol.model_copy(update={"normalisation": "dataset"})})
    assert (bench.material(other) is bench.material(trial)) == (normalisation == "dataset")


def test_a_teacher_that_is_trained_here_may_have_statistics_of_its_own(colours: Dataset, tmp_path: Any) -> None:
    from harness.boards.board import TeacherSpec

    said = {"model": "convnet1(width=4)", "epochs": 1, "batch_size": 3}
    mean, std = STATISTICS["imagenet"]
    plain, own = (
        teachers.recipes(TeacherSpec.model_validate(said | more), colours)[0] for more in ({}, {"mean": mean, "std": std})
    )
    assert plain == {name: value for name, value in own.items() if name not in ("mean", "std")}
    files = [teachers.train(recipe, colours, tmp_path, "cpu") for recipe in (plain, own)]
    assert files[0].digest != files[1].digest
    assert files[1].statistics(colours) == STATISTICS["imagenet"]
    images = colours.test.images
    network = teachers.load(files[1:], colours, "cpu").networks[0]
    inner = getattr(network, "model")  # noqa: B009
    expected = inner(normalise(images, mean, std))
    assert torch.allclose(network(normalise(images, *OWN)), expected, atol=1e-4)
