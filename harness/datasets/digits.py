"""The digits that ship inside scikit-learn: 1,797 images of 8x8 pixels, shown at 16 px."""

from __future__ import annotations

from pathlib import Path

import torch
from torch.nn import functional

from harness.datasets.base import Dataset, statistics
from harness.datasets.split import Split


def digits(data_dir: Path | None) -> Dataset:
    """Scikit-learn's 8x8 digits at 16 px, 1 channel; a fixed stratified split of 1,297 and 500 (needs no files)."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    raw = load_digits()
    pixels = torch.tensor(raw.images, dtype=torch.float32)[:, None] * (255 / 16)
    larger = functional.interpolate(pixels, size=(16, 16), mode="bilinear", align_corners=False)
    images = larger.round().clamp(0, 255).to(torch.uint8)
    labels = torch.tensor(raw.target, dtype=torch.int64)
    train, test = train_test_split(range(len(labels)), test_size=500, stratify=labels.numpy(), random_state=0)
    mean, std = statistics(images[train])
    return Dataset(
        "digits",
        Split(images[train], labels[train]),
        Split(images[test], labels[test]),
        tuple("0123456789"),
        mean,
        std,
        teacher_epochs=60,
        min_scale=0.5,
    )
