"""What the tests of distilled sets share: a cache of their own, a small set."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from harness.datasets.base import Dataset
from harness.datasets.split import Split


@pytest.fixture(autouse=True)
def own_cache(cache: Path) -> Path:
    """Have every test of this room start from an empty cache."""
    return cache


@pytest.fixture
def toy() -> Dataset:
    """Two classes of 6 train images each, 1 channel, 8 px; image i is grey value 20 i all over."""
    values = torch.arange(12, dtype=torch.uint8) * 20
    images = values[torch.randperm(12, generator=torch.Generator().manual_seed(0))].view(12, 1, 1, 1).expand(12, 1, 8, 8)
    split = Split(images.contiguous(), torch.arange(12) % 2)
    return Dataset("toy", split, split, ("dark", "bright"), (0.5,), (0.5,), min_scale=0.3)
