"""A student in two parts: what it computes stays what it was."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from harness import models
from harness.continual.parts import Parts
from harness.core.errors import BoardError


@pytest.mark.parametrize("name", ["convnet2(width=8)", "resnet18-modified", "mobilenet-v2", "shufflenet-v2-x0.5", "swin-v2-tiny"])
def test_features_and_last_layer_are_the_student(name: str) -> None:
    torch.manual_seed(0)
    student = models.build(name, (1, 16, 16), 10).eval()
    images = torch.randn(3, 1, 16, 16)
    before = student(images)
    parts = Parts(student, (1, 16, 16)).eval()
    assert torch.allclose(parts(images), before, atol=1e-6)
    assert parts.classifier.out_features == 10


def test_a_student_can_be_tried_without_weights() -> None:
    with torch.device("meta"):
        assert Parts(models.build("convnet1(width=4)", (1, 16, 16), 10), (1, 16, 16)).classifier.out_features == 10


class Scaled(nn.Module):
    """Its linear layer is not the last thing that it does."""

    def __init__(self) -> None:
        super().__init__()
        self.last = nn.Linear(256, 10)

    def forward(self, images: Tensor) -> Tensor:
        answer: Tensor = 2 * self.last(images.flatten(1))
        return answer


class Convolved(nn.Module):
    """It has no linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.last = nn.Conv2d(1, 10, 16)

    def forward(self, images: Tensor) -> Tensor:
        answer: Tensor = self.last(images).flatten(1)
        return answer


@pytest.mark.parametrize(("kind", "words"), [(Scaled, "not the last thing"), (Convolved, "no last linear layer")])
def test_a_student_that_has_no_such_parts_is_refused(kind: type[nn.Module], words: str) -> None:
    torch.manual_seed(0)
    with pytest.raises(BoardError, match=words):
        Parts(kind(), (1, 16, 16))
