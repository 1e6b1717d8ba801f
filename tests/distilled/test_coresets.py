"""Herding and k-center: against other implementations, and for what they promise of a set."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from harness import DistilledSet, datasets, models
from harness.core.errors import BadOption, DataError
from harness.datasets.base import Dataset, normalise
from harness.datasets.split import Split
from harness.distilled import distillers
from harness.distilled.source import Source
from harness.teachers.teacher import Teacher

METHODS = ("herding", "k-center")
Floats = NDArray[numpy.float64]


class Pixels:
    """Stands in for a Teacher; its features are the pixels, in [0, 255]."""

    label, digests = "pixels", ("d1", "d2")

    def __init__(self) -> None:
        self.batches: list[int] = []

    def normalise(self, images: Tensor) -> Tensor:
        return images.float()

    def features(self, images: Tensor) -> Tensor:
        self.batches.append(len(images))
        return images.flatten(1)


def made(method: str, dataset: Dataset, ipc: int, teacher: Any = None, seed: int = 0, **options: Any) -> DistilledSet:
    source = Source(dataset, ipc, seed, make_teacher=lambda: teacher or Pixels())
    distilled: DistilledSet = distillers.create({"name": method, **options})(source)
    return distilled


def dataset_of(images: Tensor, labels: Tensor) -> Dataset:
    classes = tuple(f"class {label}" for label in range(int(labels.max()) + 1))
    split = Split(images.to(torch.uint8), labels)
    return Dataset("points", split, split, classes, (0.5,), (0.25,))


def line(*values: int) -> Dataset:
    """One class of images of one pixel."""
    return dataset_of(torch.tensor(values).view(-1, 1, 1, 1), torch.zeros(len(values), dtype=torch.int64))


@pytest.fixture
def points() -> Dataset:
    """Three classes of 20, 25 and 30 images in mixed order, one channel, 3 px, pixels at random."""
    draws = torch.Generator().manual_seed(5)
    labels = torch.arange(3).repeat_interleave(torch.tensor([20, 25, 30]))[torch.randperm(75, generator=draws)]
    return dataset_of(torch.randint(0, 256, (75, 1, 3, 3), generator=draws), labels)


def slow_herding(features: Floats, count: int) -> list[int]:
    """As the papers write it: try every image, compare the means."""
    picked: list[int] = []
    for _ in range(count):
        left = [i for i in range(len(features)) if i not in picked]
        gaps = [numpy.linalg.norm(features.mean(0) - features[[*picked, i]].mean(0)) for i in left]
        picked.append(left[int(numpy.argmin(gaps))])
    return picked


def slow_k_center(features: Floats, count: int) -> list[int]:
    """With the distances of all pairs."""
    between = numpy.linalg.norm(features[:, None] - features[None], axis=2)
    picked = [int(numpy.argmin(numpy.linalg.norm(features - features.mean(0), axis=1)))]
    while len(picked) < count:
        left = [i for i in range(len(features)) if i not in picked]
        picked.append(left[int(numpy.argmax(between[numpy.ix_(left, picked)].min(1)))])
    return picked


@pytest.mark.parametrize(
    ("method", "options", "pick", "unit"),
    [
        ("herding", {}, slow_herding, True),
        ("herding", {"normalise": False}, slow_herding, False),
        ("k-center", {}, slow_k_center, False),
    ],
)
@pytest.mark.parametrize("ipc", [1, 2, 7, 20])
def test_the_images_are_those_of_a_slow_implementation(
    points: Dataset, method: str, options: dict[str, Any], pick: Any, unit: bool, ipc: int
) -> None:
    distilled = made(method, points, ipc, **options)
    for label in range(3):
        own = points.train.images[points.train.labels == label]
        features = own.flatten(1).double().numpy()
        if unit:
            features /= numpy.linalg.norm(features, axis=1, keepdims=True)
        assert torch.equal(distilled.images[label * ipc : (label + 1) * ipc], own[pick(features, ipc)])


def test_scaling_changes_what_herding_picks(points: Dataset) -> None:
    assert made("herding", points, 3).digest != made("herding", points, 3, normalise=False).digest


@pytest.mark.parametrize(
    ("method", "values", "expected"),
    [
        ("herding", (4, 0, 8, 2, 6), [4, 2, 6, 0, 8]),  # the mean is 4: the pairs are equally good in either order
        ("herding", (4, 8, 0, 6, 2), [4, 6, 2, 8, 0]),
        ("k-center", (4, 0, 8, 2, 6), [4, 0, 8, 2, 6]),
        ("k-center", (4, 8, 0, 6, 2), [4, 8, 0, 6, 2]),
    ],
)
def test_of_equals_the_first_is_taken(method: str, values: tuple[int, ...], expected: list[int]) -> None:
    options = {"normalise": False} if method == "herding" else {}
    assert made(method, line(*values), 5, **options).images.flatten().tolist() == expected


@pytest.mark.parametrize("method", METHODS)
def test_a_class_of_copies_is_taken_once_each(method: str) -> None:
    assert sorted(made(method, line(9, 9, 9, 7, 9), 5).images.flatten().tolist()) == [7, 9, 9, 9, 9]


@pytest.mark.parametrize("method", METHODS)
def test_images_without_features_are_still_images(method: str) -> None:
    assert made(method, line(0, 0, 0), 2).images.flatten().tolist() == [0, 0]


@pytest.mark.parametrize("method", METHODS)
def test_no_image_is_taken_twice_and_none_from_another_class_or_split(points: Dataset, method: str) -> None:
    elsewhere = replace(points, test=Split(255 - points.test.images, points.test.labels))
    distilled = made(method, elsewhere, 20)
    assert distilled.labels.tolist() == [0] * 20 + [1] * 20 + [2] * 20
    assert distilled.images.dtype == torch.uint8
    train = points.train
    own = {image.numpy().tobytes(): int(label) for image, label in zip(train.images, train.labels, strict=True)}
    assert [own[image.numpy().tobytes()] for image in distilled.images] == distilled.labels.tolist()
    assert len({image.numpy().tobytes() for image in distilled.images}) == 60


@pytest.mark.parametrize("method", METHODS)
def test_a_smaller_set_is_the_beginning_of_each_class_of_a_larger_one(points: Dataset, method: str) -> None:
    one, four, nine = (made(method, points, ipc).images.view(3, ipc, 1, 3, 3) for ipc in (1, 4, 9))
    assert torch.equal(one, nine[:, :1])
    assert torch.equal(four, nine[:, :4])


@pytest.mark.parametrize("method", METHODS)
def test_no_seed_plays_a_part(points: Dataset, method: str) -> None:
    torch.manual_seed(0)
    first = made(method, points, 5, seed=0).digest
    torch.manual_seed(1)
    assert made(method, points, 5, seed=1).digest == first


@pytest.mark.parametrize("method", METHODS)
def test_classes_are_shown_to_the_teacher_one_by_one_in_batches(points: Dataset, method: str, monkeypatch) -> None:
    whole, teacher = made(method, points, 4).digest, Pixels()
    monkeypatch.setattr("harness.distilled.coresets.BATCH", 12)
    assert made(method, points, 4, teacher).digest == whole
    assert teacher.batches == [12, 8, 12, 12, 1, 12, 12, 6]


@pytest.mark.parametrize(("method", "options"), [("herding", {"normalise": False}), ("k-center", {})])
def test_a_set_says_which_teacher_and_options_made_it(points: Dataset, method: str, options: dict[str, Any]) -> None:
    distilled = made(method, points, 2, **options)
    assert (distilled.dataset, distilled.method, distilled.classes, distilled.factor) == ("points", method, 3, 1)
    assert (distilled.native_loss, distilled.soft_labels, distilled.normalised) == ("", None, False)
    assert distilled.provenance.pop("source").startswith("arXiv ")
    assert distilled.provenance == {
        "ipc": 2,
        **options,
        "dataset_digest": points.digest,
        "teacher": "pixels",
        "teacher_digest": ["d1", "d2"],
    }
    distilled.check_fits("points", points.shape, 3)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("ipc", "words"), [(21, ("points", "20 training images", "ipc 21")), (0, ("ipc", "0"))])
def test_a_number_of_images_that_cannot_be_is_refused_before_a_teacher_is_made(
    points: Dataset, method: str, ipc: int, words: tuple[str, ...], refused
) -> None:
    source = Source(points, ipc, make_teacher=lambda: pytest.fail("made a teacher for a set that cannot be"))
    with refused(DataError, *words):
        distillers.create(method)(source)


@pytest.mark.parametrize("method", METHODS)
def test_a_source_without_a_teacher_is_refused(points: Dataset, method: str, refused) -> None:
    with refused(DataError, "needs a teacher"):
        distillers.create(method)(Source(points, 1))


@pytest.mark.parametrize(
    ("method", "options", "words"),
    [
        ("herding", {"normalise": 1}, "true or false"),
        ("herding", {"normalize": True}, "'normalise'"),
        ("k-center", {"k": 2}, "k"),
    ],
)
def test_options_it_does_not_take_are_refused(points: Dataset, method: str, options: dict[str, Any], words: str, refused) -> None:
    with refused(BadOption, method, words):
        made(method, points, 1, **options)


# -- on digits -------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return datasets.load("digits")


@pytest.fixture(scope="module")
def teacher(digits: Dataset) -> Teacher:
    """An untrained network: a random projection that is not linear."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network: nn.Module = models.build("convnet2(width=8)", digits.shape, 10).eval().requires_grad_(False)
    return Teacher("convnet2", (network,), ("d",), (0.0,), digits.mean, digits.std)


def features_by_class(digits: Dataset, teacher: Teacher, images: Tensor, labels: Tensor) -> list[Tensor]:
    features = teacher.features(normalise(images, digits.mean, digits.std))
    return [features[labels == label] for label in range(10)]


def random_images(digits: Dataset, ipc: int) -> list[DistilledSet]:
    return [made("random", digits, ipc, seed=seed) for seed in range(5)]


@pytest.mark.parametrize("ipc", [1, 5, 10])
def test_the_mean_of_herded_digits_is_nearer_to_their_classes_than_that_of_random_ones(
    digits: Dataset, teacher: Teacher, ipc: int
) -> None:
    def unit(features: Tensor) -> Tensor:
        return features / features.norm(dim=1, keepdim=True)

    whole = features_by_class(digits, teacher, digits.train.images, digits.train.labels)

    def gaps(distilled: DistilledSet) -> Tensor:
        parts = features_by_class(digits, teacher, distilled.images, distilled.labels)
        return torch.stack([(unit(a).mean(0) - unit(b).mean(0)).norm() for a, b in zip(whole, parts, strict=True)])

    herded = gaps(made("herding", digits, ipc, teacher))
    for chance in random_images(digits, ipc):
        assert bool((herded < gaps(chance)).all())


@pytest.mark.parametrize("ipc", [5, 10])
def test_no_digit_is_as_far_from_a_center_as_from_random_images(digits: Dataset, teacher: Teacher, ipc: int) -> None:
    whole = features_by_class(digits, teacher, digits.train.images, digits.train.labels)

    def radii(distilled: DistilledSet) -> Tensor:
        parts = features_by_class(digits, teacher, distilled.images, distilled.labels)
        return torch.stack([torch.cdist(a, b).amin(1).max() for a, b in zip(whole, parts, strict=True)])

    covered = radii(made("k-center", digits, ipc, teacher))
    for chance in random_images(digits, ipc):
        assert float(covered.mean()) < float(radii(chance).mean())
