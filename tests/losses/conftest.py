"""One small batch for the tests of the losses: 6 samples, 5 classes, in float64."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor

from harness.losses.targets import Targets


class Batch(NamedTuple):
    z: Tensor  # student logits [6, 5]
    t: Tensor  # teacher logits [6, 5]
    y: Tensor  # hard labels [6]

    @property
    def targets(self) -> Targets:
        return Targets(hard=self.y, soft=self.t)

    @property
    def arrays(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        return self.z.numpy(), self.t.numpy(), self.y.numpy()


@pytest.fixture
def batch() -> Batch:
    random = np.random.default_rng(7)
    z, t = 3 * random.standard_normal((2, 6, 5))
    y = np.array([0, 4, 2, 2, 1, 3])
    return Batch(torch.from_numpy(z), torch.from_numpy(t), torch.from_numpy(y))
