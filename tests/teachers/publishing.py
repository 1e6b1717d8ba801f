"""Checkpoints as authors publish them, and teachers made of them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from harness import models, teachers
from harness.boards.board import TeacherSpec
from harness.datasets.base import Dataset, normalise
from harness.models import Shape
from harness.teachers import checkpoints
from harness.teachers.files import TeacherFile

MODEL = "convnet2(width=8)"


SHAPE: Shape = (3, 16, 16)


def network(spec: str = MODEL, shape: Shape = SHAPE, classes: int = 5, seed: int = 0) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return models.build(spec, shape, classes)


def rded(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Name a two-block ConvNet's tensors as RDED does."""
    kinds = {"0": "conv.0", "1": "norm.0", "4": "conv.1", "5": "norm.1"}
    return {
        f"layers.{kinds[name.split('.')[1]]}.{name.split('.')[2]}" if name.startswith("features.") else name: tensor
        for name, tensor in state.items()
    }


def saved(content: Any, path: Path) -> Path:
    torch.save(content, path)
    return path


def fitted(path: Path, spec: str = MODEL, shape: Shape = SHAPE, classes: int = 5, rows: tuple[int, ...] = ()) -> Any:
    return checkpoints.fit(path, checkpoints.read(path), network(spec, shape, classes), spec, rows)


def trained(dataset: Dataset, folder: Path, **changes: Any) -> TeacherFile:
    spec = TeacherSpec.model_validate({"model": MODEL, "epochs": 15, "augmentation": "none"} | changes)
    return teachers.train(teachers.blueprints(spec, dataset)[0], dataset, folder, "cpu")


def published(file: TeacherFile, path: Path, order: list[int] | None = None) -> Path:
    """Save a teacher's weights as RDED does, perhaps with its classes in another order."""
    from safetensors.torch import load_file

    state = load_file(str(file.path))
    for name in ("classifier.weight", "classifier.bias"):
        state[name] = state[name][order or slice(None)].contiguous()
    return saved({"model": rded(state)}, path)


def described(path: Path, dataset: Dataset, **changes: Any) -> dict[str, Any]:
    spec = TeacherSpec.model_validate({"model": MODEL, "checkpoint": path.name} | changes)
    return teachers.checkpoint_blueprint(path, spec.models[0], dataset, spec)


def converted(path: Path, dataset: Dataset, folder: Path, expect: float | None = None, **changes: Any) -> TeacherFile:
    return teachers.convert(described(path, dataset, **changes), path, dataset, folder, "cpu", expect)


def inputs(dataset: Dataset) -> Tensor:
    return normalise(dataset.test.images[:50], dataset.mean, dataset.std)
