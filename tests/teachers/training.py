"""Three classes that can be told apart, and a teacher of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from harness import teachers
from harness.boards.board import TeacherSpec
from harness.datasets.base import Dataset
from harness.datasets.split import Split
from harness.teachers.files import TeacherFile

MODEL = "convnet1(width=8)"


def split(count: int, seed: int) -> Split:
    """Three classes told apart by where the bright quarter is; noise makes some of them hard."""
    draws = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % 3
    images = torch.randint(0, 200, (count, 1, 8, 8), dtype=torch.uint8, generator=draws)
    for image, label in zip(images, labels.tolist(), strict=True):
        image[0, 4 * (label // 2) :, 4 * (label % 2) :][:4, :4] += 40
    return Split(images, labels)


def blueprint(dataset: Dataset, **changes: Any) -> dict[str, Any]:
    return teachers.blueprints(TeacherSpec.model_validate({"model": MODEL, "epochs": 2, "batch_size": 10} | changes), dataset)[0]


def trained(dataset: Dataset, folder: Path, **changes: Any) -> TeacherFile:
    return teachers.train(blueprint(dataset, **changes), dataset, folder, "cpu")
