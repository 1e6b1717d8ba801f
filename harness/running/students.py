"""Trained students on disk: weights as safetensors, with what they are and which record's they are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from harness import datasets, models
from harness.boards.records import Record
from harness.core.digests import digest
from harness.core.errors import DataError
from harness.core.spec import Spec
from harness.files import safetensors
from harness.files.paths import line

if TYPE_CHECKING:
    from torch import nn

FORMAT = "giftbench.student/1"


def save(student: nn.Module, record: Record, path: Path) -> str:
    """Write a student's weights whole or not at all, and return their SHA-256.

    Args:
        record: of the trial that it was trained in; its id, trial and accuracy are written beside the weights.
    Raises: WriteError.
    """
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in student.state_dict().items()}
    model = record.trial.model.model_dump(mode="json")
    sha = digest(state, {"model": model})
    facts = {
        "id": record.id,
        "model": model,
        "dataset": record.trial.dataset.model_dump(mode="json"),
        "digest": sha,
        "accuracy": record.metrics.get("accuracy"),
        "status": record.status,
        "trial": record.trial.model_dump(mode="json"),
    }
    safetensors.save(path, state, {"format": FORMAT, "student": json.dumps(facts, sort_keys=True)})
    return sha


def load(path: Path, data_dir: Path | None = None) -> nn.Module:
    """Return a student on the CPU, for images as its dataset normalises them: [B, C, H, W] -> logits [B, classes].

    Raises: DataError for a file that is none, or whose weights are not those of its digest.
    """
    header, state = safetensors.load(path, "a student")
    if header.metadata.get("format") != FORMAT:
        raise DataError(f"{path}: not a student that giftbench rerun --save writes")
    try:
        facts = json.loads(header.metadata["student"])
        spec, name, stated = Spec.model_validate(facts["model"]), str(facts["dataset"]["name"]), facts["digest"]
    except (LookupError, TypeError, ValueError) as error:
        raise DataError(f"{path}: not a student: {line(error)}") from None
    if digest(state, {"model": facts["model"]}) != stated:
        raise DataError(f"{path}: its weights do not have the digest it states")
    dataset = datasets.load(name, data_dir)
    student: nn.Module = models.build(spec, dataset.shape, len(dataset.classes))
    student.load_state_dict(state)
    return student.eval()
