"""One half of a dataset: images and their labels."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Split:
    """Images, [N, C, H, W] uint8, and their class indices, [N] int64.

    `content` is a hash of what they were decoded from; "" when the images themselves are to be hashed.
    """

    images: Tensor
    labels: Tensor
    content: str = ""

    def __len__(self) -> int:
        return len(self.labels)
