"""What is measured after a step of a stream."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from harness.continual.measure import answered, forgetting, measure, summarise
from harness.training.values import Material


def test_measures_are_those_of_the_definitions() -> None:
    history = [
        {"step": 1, "classes": 2, "accuracy": 90.0, "top5_accuracy": 100.0, "step 1": 90.0},
        {"step": 2, "classes": 4, "accuracy": 70.0, "top5_accuracy": 99.0, "step 1": 95.0, "step 2": 45.0},
        {"step": 3, "classes": 6, "accuracy": 50.0, "top5_accuracy": 98.0, "step 1": 40.0, "step 2": 50.0, "step 3": 60.0},
    ]
    assert forgetting(history) == pytest.approx(((95 - 40) + (45 - 50)) / 2)
    found = summarise(history)
    assert (found["accuracy"], found["average_incremental"], found["top5_accuracy"]) == (50.0, 70.0, 98.0)
    assert forgetting(history[:1]) == 0.0


def test_accuracy_is_over_the_test_images_of_the_classes_met() -> None:
    class Echo(nn.Module):
        """Answers the class that the image's grey value names; class 3 is taken for 2."""

        def forward(self, images: Tensor) -> Tensor:
            answer = images[:, 0, 0, 0].long()
            return nn.functional.one_hot(torch.where(answer == 3, 2, answer), 5).float()

    labels = torch.tensor([0, 1, 2, 3, 3, 4])
    test = Material(labels.float().view(-1, 1, 1, 1).expand(-1, 1, 2, 2).contiguous(), labels)
    entry = measure(Echo(), test, [[2, 3], [0]], 5, "float32")
    assert entry["classes"] == 3
    assert entry["accuracy"] == 50.0  # 0 and 2 right, both of class 3 wrong; 1 and 4 do not count
    assert entry["step 1"] == pytest.approx(100 / 3)
    assert entry["step 2"] == 100.0


def test_images_without_a_finite_answer_among_the_classes_met_are_counted() -> None:
    class Faint(nn.Module):
        """Has no answer to images of class 1, and never one for class 4."""

        def forward(self, images: Tensor) -> Tensor:
            answer = images[:, 0, 0, 0].long()
            logits = nn.functional.one_hot(answer, 5).float().index_fill(1, torch.tensor(4), torch.inf)
            return logits.masked_fill((answer == 1)[:, None], torch.nan)

    labels = torch.tensor([0, 1, 2, 1])
    test = Material(labels.float().view(-1, 1, 1, 1).expand(-1, 1, 2, 2).contiguous(), labels)
    entry = measure(Faint(), test, [[0, 2]], 5, "float32")
    assert (entry["accuracy"], entry.get("not_finite")) == (100.0, None)
    assert answered([entry])
    later = measure(Faint(), test, [[0, 2], [1]], 5, "float32")
    assert (later["accuracy"], later["not_finite"]) == (50.0, 2.0)
    assert not answered([entry, later])
