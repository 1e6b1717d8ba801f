"""A student that trains in milliseconds, and what tests look at once it has."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from harness import losses, models
from harness.training.loop import fit
from harness.training.values import Material, Recipe

SHAPE, CLASSES = (1, 16, 16), 3


def student(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return models.build("convnet2(width=8)", SHAPE, CLASSES).to(memory_format=torch.channels_last)


def dropping() -> nn.Module:
    """Return a student that draws from torch's own stream."""
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Dropout(0.5), nn.Flatten(), nn.Linear(4 * 14 * 14, CLASSES))


def weights(network: nn.Module) -> Tensor:
    return torch.cat([p.detach().reshape(-1) for p in network.parameters()])


def trained(material: Material, recipe: Recipe, loss: Any = "ce", seed: int = 0, **changes: Any) -> Tensor:
    """Return the weights of a student after training, under a loss of this name or this loss; `changes` are of `fit`."""
    network = student()
    fit(network, material, losses.create(loss) if isinstance(loss, str) else loss, recipe, seed=seed, **changes)
    return weights(network)
