"""What the tests of training share: ten images, and a count of what is asked for on the host."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from harness.training.values import Material
from tests.training.small import CLASSES, SHAPE


@pytest.fixture
def material() -> Material:
    images = torch.randn(10, *SHAPE, generator=torch.Generator().manual_seed(0)).to(memory_format=torch.channels_last)
    return Material(images, torch.arange(10) % CLASSES)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return a list that every request for a tensor's value on the host joins; on a GPU each would wait for the device."""
    requests: list[str] = []

    def spy(name: str) -> None:
        original = getattr(Tensor, name)
        monkeypatch.setattr(Tensor, name, lambda self, *a, **k: (requests.append(name), original(self, *a, **k))[1])

    for name in ("item", "tolist", "cpu", "numpy", "__bool__", "__float__", "__int__"):
        spy(name)
    return requests
