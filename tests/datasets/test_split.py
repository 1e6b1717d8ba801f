"""One half of a dataset."""

from __future__ import annotations

from dataclasses import FrozenInstanceError

import pytest
import torch

from harness.datasets.split import Split

IMAGES = torch.zeros(3, 1, 4, 4, dtype=torch.uint8)


def test_a_split_is_as_long_as_its_labels() -> None:
    assert len(Split(IMAGES, torch.arange(3))) == 3
    assert len(Split(IMAGES, torch.arange(2))) == 2


def test_a_split_names_no_content_unless_it_is_told_and_cannot_be_changed() -> None:
    split = Split(IMAGES, torch.arange(3))
    assert split.content == ""
    assert Split(IMAGES, split.labels, "abc").content == "abc"
    with pytest.raises(FrozenInstanceError):
        split.content = "abc"  # type: ignore[misc]
