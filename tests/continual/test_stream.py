"""Which classes come when, and what the batches of the stream hold."""

from __future__ import annotations

import numpy
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as draws

from harness.continual.stream import benchmark, class_counts, class_order, describe, places, step_images
from harness.core.errors import BoardError, DataError
from harness.training.values import Material


def test_an_order_by_seed_is_the_fields_usual_permutation() -> None:
    numpy.random.seed(3)
    assert class_order("seed", 3, 10) == numpy.random.permutation(10).tolist()
    assert class_order("seed", 4, 10) != class_order("seed", 3, 10)


def test_an_order_may_be_sorted_or_given() -> None:
    assert class_order("sorted", 7, 4) == [0, 1, 2, 3]
    assert class_order([3, 1, 0, 2], 7, 4) == [3, 1, 0, 2]


@pytest.mark.parametrize(
    ("order", "words"),
    [
        ([0, 1, 2], "3 is missing"),
        ([0, 1, 2, 2], "3 is missing"),
        ([0, 1, 2, 3, 3], "a class comes twice"),
        ([0, 1, 2, 4], "4 is no class"),
        ([0, 1, 2, True], "True is no class"),
        ([0, 1, 2, "3"], "'3' is no class"),
        ("random", "not 'random'"),
    ],
)
def test_what_is_no_permutation_is_refused(order: object, words: str) -> None:
    with pytest.raises(BoardError, match=words):
        class_order(order, 0, 4)  # type: ignore[arg-type]


@given(classes=draws.integers(1, 300), data=draws.data())
def test_no_class_is_dropped_and_steps_differ_by_one_class_at_most(classes: int, data: draws.DataObject) -> None:
    counts = class_counts(classes, data.draw(draws.integers(1, classes)))
    assert sum(counts) == classes
    assert max(counts) - min(counts) <= 1
    assert counts == sorted(counts, reverse=True)


@pytest.mark.parametrize("steps", [0, 11, -1])
def test_steps_that_classes_do_not_allow_are_refused(steps: int) -> None:
    with pytest.raises(BoardError, match=f"between 1 and the number of classes, 10; not {steps}"):
        class_counts(10, steps)


def test_a_stream_in_words() -> None:
    assert describe([2] * 5) == "5 steps of 2 classes"
    assert describe([1] * 10) == "10 steps of 1 class"
    assert describe([10]) == "1 step of 10 classes"
    assert describe([4, 3, 3]) == "3 steps of 4, 3 and 3 classes"
    assert describe([3, 3, 2, 2, 2]) == "5 steps, 2 of 3 and 3 of 2 classes"


def material(**rest: object) -> Material:
    images = torch.arange(12.0).view(12, 1, 1, 1).expand(12, 1, 4, 4)
    return Material(images.contiguous(), torch.arange(12) % 6, **rest)  # type: ignore[arg-type]


def test_the_benchmark_brings_each_class_once_in_order_and_every_image() -> None:
    made = benchmark(material(), [5, 0, 3, 1, 2, 4], [2, 2, 2])
    assert [sorted(e.classes_in_this_experience) for e in made.train_stream] == [[0, 5], [1, 3], [2, 4]]
    found = [places(e.dataset).tolist() for e in made.train_stream]
    assert found == [[0, 5, 6, 11], [1, 3, 7, 9], [2, 4, 8, 10]]


def test_a_loader_that_is_not_ours_is_given_images_as_the_student_takes_them() -> None:
    images = (20 * torch.arange(12, dtype=torch.uint8)).view(12, 1, 1, 1).expand(12, 1, 4, 4).contiguous()
    pixels = Material(images, torch.arange(12) % 6, torch.randn(12, 6), mean=(0.1,), std=(0.5,))
    first = next(iter(benchmark(pixels, list(range(6)), [2, 2, 2]).train_stream)).dataset
    seen = []
    for sample in range(4):
        image, label, task = first[sample]
        place = float(image.mean() * 0.5 + 0.1) * 255 / 20
        seen.append(round(place))
        assert place == pytest.approx(seen[-1], abs=1e-3)
        assert (int(label), int(task)) == (seen[-1] % 6, 0)
    assert sorted(seen) == [0, 1, 6, 7]


def test_what_each_step_brings_is_known_before_there_is_a_stream() -> None:
    assert step_images([3, 1, 4, 1, 5], [4, 0, 1, 3, 2], [2, 2, 1]) == [8, 2, 4]
    with pytest.raises(DataError, match="no image of class 1"):
        step_images([3, 0], [0, 1], [1, 1])


def test_a_class_without_an_image_is_refused() -> None:
    lacking = Material(torch.zeros(3, 1, 4, 4), torch.tensor([0, 1, 3]))
    with pytest.raises(DataError, match="no image of class 2"):
        benchmark(lacking, [0, 1, 2, 3], [2, 2])
