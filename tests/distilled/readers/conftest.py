"""What the tests of readers share: images to publish."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from harness import datasets


@pytest.fixture(scope="module")
def pixels() -> Tensor:
    """30 digits in [0, 1], 3 of each class, class by class."""
    train = datasets.load("digits").train
    chosen = torch.cat([(train.labels == label).nonzero()[:3, 0] for label in range(10)])
    return train.images[chosen].float() / 255
