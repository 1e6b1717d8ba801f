"""What a distiller works from: a teacher made when it is asked for, and classes that are large enough."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from harness.core.errors import DataError
from harness.datasets.base import Dataset
from harness.datasets.split import Split
from harness.distilled.source import Source


def test_a_teacher_is_made_on_first_use_and_once(toy: Dataset) -> None:
    made: list[Any] = []
    source = Source(toy, 1, make_teacher=lambda: made.append(object()) or made[-1])  # type: ignore[arg-type,func-returns-value]
    assert made == []
    assert source.teacher is source.teacher is made[0]
    assert len(made) == 1


def test_a_teacher_that_nobody_gave_is_refused(toy: Dataset, refused) -> None:
    with refused(DataError, "needs a teacher"):
        _ = Source(toy, 1).teacher


@pytest.mark.parametrize(("ipc", "words"), [(0, "at least 1, not 0"), (7, "6 training images; ipc 7 is more")])
def test_ipc_is_from_one_to_the_smallest_class(toy: Dataset, ipc: int, words: str, refused) -> None:
    Source(toy, 1).check_ipc()
    Source(toy, 6).check_ipc()
    with refused(DataError, words):
        Source(toy, ipc).check_ipc()


def test_a_class_without_images_counts(toy: Dataset, refused) -> None:
    dark = replace(toy, train=Split(toy.train.images[:], torch.zeros(12, dtype=torch.int64)))
    with refused(DataError, "dataset toy", "0 training images"):
        Source(dark, 1).check_ipc()
