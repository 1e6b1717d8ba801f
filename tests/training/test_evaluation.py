"""What a student gets right, against a count of ranks by hand, whatever its batches."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from harness.training.evaluation import evaluate, hits
from harness.training.values import Material

SHAPE = (1, 2, 2)


class Scores(nn.Module):
    """Answers each image, which holds its own number all over, with a row of a table; notes the batches that it is given."""

    def __init__(self, table: Tensor) -> None:
        super().__init__()
        self.table = table
        self.batches: list[list[int]] = []
        self.modes: set[tuple[bool, bool]] = set()

    def forward(self, images: Tensor) -> Tensor:
        numbers = images[:, 0, 0, 0].long()
        self.batches.append(numbers.tolist())
        self.modes.add((self.training, torch.is_grad_enabled()))
        return self.table[numbers]


def numbered(labels: list[int]) -> Material:
    images = torch.arange(len(labels), dtype=torch.float32).view(-1, 1, 1, 1).expand(-1, *SHAPE)
    return Material(images.contiguous(), torch.tensor(labels))


def ranks(table: Tensor, labels: list[int]) -> list[int]:
    """Return how many classes each image's own one is behind, one comparison at a time; scores have no ties."""
    return [sum(float(score) > float(row[label]) for score in row) for row, label in zip(table, labels, strict=True)]


@pytest.fixture
def student() -> Scores:
    return Scores(torch.randn(23, 9, generator=torch.Generator().manual_seed(0)))


LABELS = [number % 9 for number in range(23)]


@pytest.mark.parametrize("batch_size", [0, 1, 5, 23, 100])
def test_accuracies_are_shares_of_all_images_however_they_are_batched(student: Scores, batch_size: int) -> None:
    behind = ranks(student.table, LABELS)
    measured = evaluate(student, numbered(LABELS), batch_size=batch_size)
    assert measured == {
        "accuracy": pytest.approx(100 * sum(rank < 1 for rank in behind) / 23),
        "top5_accuracy": pytest.approx(100 * sum(rank < 5 for rank in behind) / 23),
    }
    assert 0 < measured["accuracy"] < measured["top5_accuracy"] < 100


def test_the_student_is_asked_in_eval_mode_without_gradients_and_about_each_image_once(student: Scores) -> None:
    student.train()
    evaluate(student, numbered(LABELS), batch_size=10)
    assert student.modes == {(False, False)}
    assert student.batches == [list(range(10)), list(range(10, 20)), list(range(20, 23))]


def test_hits_are_those_of_the_images_at_the_index_in_its_order(student: Scores) -> None:
    index = [22, 3, 3, 17, 0]
    right, finite = hits(student, numbered(LABELS), torch.tensor(index), batch_size=2)
    behind = ranks(student.table, LABELS)
    assert right.tolist() == [[behind[number] < 1, behind[number] < 5] for number in index]
    assert right.dtype == torch.bool
    assert finite.all()


@pytest.mark.parametrize("classes", [1, 3, 5])
def test_of_five_classes_or_fewer_all_are_among_the_first_five(classes: int) -> None:
    table = torch.randn(6, classes, generator=torch.Generator().manual_seed(1))
    assert evaluate(Scores(table), numbered([number % classes for number in range(6)]))["top5_accuracy"] == 100


@pytest.mark.parametrize("odd", [torch.nan, torch.inf, -torch.inf])
def test_no_answer_is_right_that_has_a_logit_which_is_not_finite_and_these_are_counted(odd: float) -> None:
    table = torch.tensor([[0.0, odd], [odd, 1.0], [odd, odd], [2.0, 1.0]])
    for label in (0, 1):
        right, finite = hits(Scores(table), numbered([label] * 4))
        assert right.tolist() == [[False, False]] * 3 + [[label == 0, True]]
        assert finite.tolist() == [False, False, False, True]
    assert evaluate(Scores(table), numbered([0] * 4)) == {"accuracy": 25.0, "top5_accuracy": 25.0, "not_finite": 3.0}


def test_images_that_are_normalised_by_batch_are_normalised() -> None:
    pixels = torch.tensor([0, 51, 255], dtype=torch.uint8).view(3, 1, 1, 1).expand(3, *SHAPE).contiguous()
    seen: list[Any] = []

    class Watching(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            seen.extend(images[:, 0, 0, 0].tolist())
            return torch.zeros(len(images), 2)

    evaluate(Watching(), Material(pixels, torch.zeros(3, dtype=torch.int64), mean=(0.2,), std=(0.4,)))
    assert seen == pytest.approx([-0.5, 0.0, 2.0], abs=1e-6)
