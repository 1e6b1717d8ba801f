"""What the data say of an imported set: normalisation, order of the classes, kind of the soft labels, odd images."""

from __future__ import annotations

import resource
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from harness import DistilledSet, datasets
from harness.datasets import whitening
from harness.datasets.base import Dataset
from harness.datasets.cards import Card
from harness.distilled.checks import findings

Zca = Callable[[Tensor], Tensor]
CARD = Card("digits", (1, 16, 16), 10, (0.3052,), (0.3185,))
PER_CLASS = 10
HARD = torch.arange(10).repeat_interleave(PER_CLASS)
NOISE = torch.randn(100, 10, generator=torch.Generator().manual_seed(0))
LOGITS = NOISE + 8 * functional.one_hot(HARD, 10)


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return datasets.load("digits")


@pytest.fixture
def zca(digits: Dataset, cache: Path) -> Zca:
    whitening._load.cache_clear()
    return whitening.whitening(digits, "cpu").apply


@pytest.fixture
def real(digits: Dataset) -> Tensor:
    """The first images of each class, uint8, class by class."""
    train = digits.train
    return train.images[torch.cat([(train.labels == label).nonzero()[:PER_CLASS, 0] for label in range(10)])]


def normalised(images: Tensor) -> Tensor:
    return (images.float() / 255 - CARD.mean[0]) / CARD.std[0]


def made(images: Tensor, labels: Tensor = HARD, soft: Tensor | None = None, **described: Any) -> DistilledSet:
    return DistilledSet(images, labels, soft, dataset="digits", method="m", classes=10, **described)


def warnings(lines: list[str]) -> str:
    assert all("\n" not in line for line in lines)
    return " / ".join(line.removeprefix("warning: ") for line in lines if line.startswith("warning: "))


# -- normalisation ---------------------------------------------------------------------------------------------------------


def test_a_set_that_is_what_it_claims_gives_no_warning(digits: Dataset, real: Tensor, zca: Zca) -> None:
    for claimed in (
        made(real),
        made(real.float() / 255),
        made(normalised(real), normalised=True),
        made(zca(real), normalised=True, whitening="zca"),
        made(real, soft=LOGITS),
        made(real, soft=LOGITS.softmax(1), soft_kind="probabilities"),
    ):
        lines = findings(claimed, CARD, digits, None, zca)
        assert warnings(lines) == ""
        assert any("are nearest to digits as" in line for line in lines)


@pytest.mark.parametrize(
    ("held", "claim", "found"),
    [
        ("pixels", {"normalised": True}, "said to be normalised by mean and deviation, but"),
        ("pixels", {"normalised": True, "whitening": "zca"}, "nearest to digits as pixels"),
        ("normalised", {"normalised": True, "whitening": "zca"}, "nearest to digits as normalised"),
        ("whitened", {"normalised": True}, "nearest to digits as ZCA-whitened"),
    ],
)
def test_a_set_that_is_normalised_otherwise_is_warned_of(
    digits: Dataset, real: Tensor, zca: Zca, held: str, claim: dict[str, Any], found: str
) -> None:
    images = {"pixels": real.float() / 255, "normalised": normalised(real), "whitened": zca(real)}[held]
    assert found in warnings(findings(made(images, **claim), CARD, digits, None, zca))


def test_a_whitened_set_without_a_transform_says_what_was_not_checked(digits: Dataset, real: Tensor, zca: Zca) -> None:
    lines = findings(made(zca(real), normalised=True, whitening="zca"), CARD, digits)
    assert [line for line in lines if line.startswith("not checked: ")] and warnings(lines) == ""


def test_pixels_divided_twice_are_warned_of(digits: Dataset, real: Tensor) -> None:
    assert "divided by 255 twice" in warnings(findings(made(real.float() / 255 / 255), CARD, digits))


# -- order of the classes --------------------------------------------------------------------------------------------------


def test_classes_in_another_order_are_recognised(digits: Dataset, real: Tensor) -> None:
    order = torch.tensor([3, 7, 0, 1, 2, 9, 8, 4, 6, 5])
    found = warnings(findings(made(real, order[HARD]), CARD, digits))
    assert "another order of the classes would agree with the class means" in found


def test_labels_at_chance_are_warned_of_without_naming_an_order(digits: Dataset, real: Tensor) -> None:
    shuffled = HARD[torch.randperm(100, generator=torch.Generator().manual_seed(1))]
    found = warnings(findings(made(real, shuffled), CARD, digits))
    assert "chance is 10" in found and "another order of the classes would agree" not in found


def test_soft_labels_of_classes_in_another_order_are_recognised(digits: Dataset, real: Tensor) -> None:
    found = warnings(findings(made(real, soft=LOGITS.roll(1, 1)), CARD, digits))
    assert "another order of the classes would agree with the soft labels on" in found


# -- kind of the soft labels -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("soft", "kind"),
    [
        (LOGITS.softmax(1), "probabilities"),
        (LOGITS.log_softmax(1), "log-probabilities"),
        (functional.one_hot(HARD, 10).float(), "one-hot"),
    ],
    ids=["probabilities", "log-probabilities", "one-hot"],
)
def test_labels_said_to_be_logits_that_are_not_are_warned_of(digits: Dataset, real: Tensor, soft: Tensor, kind: str) -> None:
    assert kind in warnings(findings(made(real, soft=soft), CARD, digits))


def test_the_agreement_of_soft_and_hard_labels_is_said(digits: Dataset, real: Tensor) -> None:
    assert any("the hard one for 100.0% of the images" in line for line in findings(made(real, soft=LOGITS), CARD, digits))
    assert "the highest soft label is the hard one for" in warnings(findings(made(real, soft=NOISE), CARD, digits))


# -- images ----------------------------------------------------------------------------------------------------------------


def test_uneven_classes_and_images_that_occur_twice_are_warned_of(digits: Dataset, real: Tensor) -> None:
    found = warnings(findings(made(torch.cat([real, real[:3]]), torch.cat([HARD, HARD[:3]])), CARD, digits))
    assert "10 to 13 a class" in found and "3 images occur more than once" in found


def test_flat_images_are_warned_of(real: Tensor) -> None:
    assert "2 images are of one value" in warnings(findings(made(torch.cat([real[:98], real[98:] * 0])), CARD, None))


# -- without the data, with a teacher --------------------------------------------------------------------------------------


def test_without_the_dataset_ranges_are_judged_and_the_rest_is_said_not_to_be(real: Tensor) -> None:
    lines = findings(made(real.float() / 255, normalised=True), CARD, None)
    assert "all values lie in [0, 1] as pixels do" in warnings(lines)
    assert any(line.startswith("not checked") and "class order" in line for line in lines)
    assert warnings(findings(made(normalised(real), normalised=True), CARD, None)) == ""
    assert warnings(findings(made(normalised(real) * 40, normalised=True), CARD, None)) != ""


def test_a_teacher_says_how_many_images_it_knows(digits: Dataset, real: Tensor) -> None:
    from harness.teachers.teacher import Teacher

    class NearestMean(torch.nn.Module):
        """Knows the digits by their class means, normalised."""

        def __init__(self) -> None:
            super().__init__()
            images = normalised(digits.train.images).flatten(1)
            means = torch.stack([images[digits.train.labels == label].mean(0) for label in range(10)])
            self.means = torch.nn.Parameter(means)

        def forward(self, images: Tensor) -> Tensor:
            return -torch.cdist(images.flatten(1), self.means)

    teacher = Teacher("nearest mean", (NearestMean(),), ("d",), (0.9,), digits.mean, digits.std)
    lines = findings(made(real), CARD, digits, teacher)
    assert any(line.startswith("nearest mean puts") for line in lines) and warnings(lines) == ""
    lines = findings(made(normalised(real), normalised=True), CARD, digits, teacher)
    assert any(line.startswith("nearest mean puts") for line in lines) and warnings(lines) == ""
    assert "nearest mean puts" in warnings(findings(made(real, (HARD + 1) % 10), CARD, digits, teacher))


def test_a_large_set_is_not_copied(digits: Dataset) -> None:
    """2,000 images of 224 px take 300 MB; as floats they would take 1.2 GB."""
    images = torch.randint(0, 256, (2000, 3, 224, 224), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    large = DistilledSet(images, torch.arange(2000) // 2, dataset="imagenet-1k", method="m", classes=1000)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    findings(large, Card("imagenet-1k", (3, 224, 224), 1000), None)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 400_000  # KiB
