"""TESLA's files: written as the authors' code writes them, read to the same numbers."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from harness.core.errors import DataError
from tests.distilled.readers.published_files import write
from tests.distilled.readers.publishing import read
from tests.distilled.readers.torch_saved import (
    DIGITS,
    HARD,
    IPC,
    learned_logits,
    publish_mtt,
    said_by,
    whitened,
)


def test_tesla_has_probabilities_or_hard_labels(tmp_path: Path, pixels: Tensor) -> None:
    probabilities = learned_logits().softmax(1)
    made = read("tesla", publish_mtt(tmp_path, whitened(pixels), probabilities), DIGITS)
    assert made.soft_labels is not None and torch.equal(made.soft_labels, probabilities)
    assert (made.soft_kind, made.native_loss) == ("probabilities", "soft_ce") and torch.equal(made.labels, HARD)
    hard = read("tesla", publish_mtt(tmp_path, whitened(pixels), HARD), DIGITS)
    assert hard.soft_labels is None and hard.native_loss == "ce" and torch.equal(hard.labels, HARD)


def test_tesla_refuses_logits(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="do not sum to 1"):
        said_by("tesla", write("datm", tmp_path / "set", DIGITS, IPC))
