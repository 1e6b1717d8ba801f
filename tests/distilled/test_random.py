"""Random real images, the baseline."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from harness import DistilledSet, datasets
from harness.core.errors import BadOption, DataError
from harness.datasets.base import Dataset
from harness.datasets.split import Split
from harness.distilled import distillers
from harness.distilled.source import Source


def chosen(dataset: Dataset, ipc: int, seed: int = 0) -> DistilledSet:
    made: DistilledSet = distillers.create("random")(Source(dataset, ipc, seed))
    return made


def test_every_class_has_the_same_number_of_real_train_images() -> None:
    digits = datasets.load("digits")
    distilled = chosen(digits, 7)
    assert distilled.labels.bincount().tolist() == [7] * 10
    assert distilled.images.dtype == torch.uint8
    real = {(int(label), image.numpy().tobytes()) for image, label in zip(digits.train.images, digits.train.labels, strict=True)}
    for image, label in zip(distilled.images, distilled.labels, strict=True):
        assert (int(label), image.numpy().tobytes()) in real


def test_no_image_is_taken_twice(toy: Dataset) -> None:
    distilled = chosen(toy, 6)
    assert sorted(distilled.images[:, 0, 0, 0].tolist()) == sorted(toy.train.images[:, 0, 0, 0].tolist())


def test_test_images_are_never_taken(toy: Dataset) -> None:
    marked = replace(toy, test=Split(toy.test.images + 1, toy.test.labels))
    assert all(value % 20 == 0 for value in chosen(marked, 6).images.view(-1).tolist())


def test_a_smaller_set_is_the_beginning_of_each_class_of_a_larger_one() -> None:
    digits = datasets.load("digits")
    one, three, five = (chosen(digits, ipc).images.view(10, ipc, 1, 16, 16) for ipc in (1, 3, 5))
    assert torch.equal(one, five[:, :1])
    assert torch.equal(three, five[:, :3])


def test_same_seed_same_set_and_another_seed_another() -> None:
    digits = datasets.load("digits")
    assert chosen(digits, 2, 4).digest == chosen(digits, 2, 4).digest
    assert len({chosen(digits, 2, seed).digest for seed in range(5)}) == 5


def test_the_global_random_stream_plays_no_part(toy: Dataset) -> None:
    torch.manual_seed(0)
    first = chosen(toy, 2).digest
    torch.manual_seed(1)
    assert chosen(toy, 2).digest == first


def test_a_set_says_where_it_comes_from(toy: Dataset) -> None:
    distilled = chosen(toy, 2, 5)
    assert (distilled.dataset, distilled.method, distilled.classes, distilled.factor) == ("toy", "random", 2, 1)
    assert distilled.provenance == {"seed": 5, "ipc": 2, "dataset_digest": toy.digest}
    distilled.check_fits("toy", toy.shape, 2)


def test_more_images_than_a_class_has_are_refused(toy: Dataset, refused) -> None:
    with refused(DataError, "toy", "6 training images", "ipc 7"):
        chosen(toy, 7)
    alone = replace(toy, train=Split(toy.train.images, torch.zeros(12, dtype=torch.int64)))
    with refused(DataError, "0 training images"):
        chosen(alone, 1)


@pytest.mark.parametrize("ipc", [0, -1])
def test_less_than_one_image_a_class_is_refused(toy: Dataset, ipc: int, refused) -> None:
    with refused(DataError, "ipc", str(ipc)):
        chosen(toy, ipc)


def test_no_teacher_is_made(toy: Dataset) -> None:
    distillers.create("random")(Source(toy, 1, make_teacher=lambda: pytest.fail("made a teacher that nobody needs")))


def test_options_it_does_not_take_are_refused(refused) -> None:
    with refused(BadOption, "random", "factor"):
        distillers.create("random(factor=2)")
