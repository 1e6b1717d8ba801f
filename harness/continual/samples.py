"""The images of a distilled set one by one, for loaders that are not ours."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.utils.data import Dataset

from harness.training.values import Material


class Samples(Dataset[tuple[Tensor, Tensor]]):
    """(image, label) of each place in a material: normalised [C, H, W], and int64."""

    def __init__(self, material: Material) -> None:
        self.material = material

    def __len__(self) -> int:
        return len(self.material.labels)

    def __getitem__(self, place: int) -> tuple[Tensor, Tensor]:
        index = torch.tensor([int(place)], device=self.material.images.device)
        return self.material.batch(index)[0], self.material.labels[int(place)]
