"""What a distiller works from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from harness.core.errors import DataError

if TYPE_CHECKING:
    from harness.datasets.base import Dataset
    from harness.teachers.teacher import Teacher


@dataclass
class Source:
    """A dataset, how many images a class to make, a seed, a device and, for distillers that ask for it, a teacher.

    `make_teacher` is called on first use of `teacher`, so that a distiller that needs none costs no training.
    """

    dataset: Dataset
    ipc: int
    seed: int = 0
    device: str = "cpu"
    make_teacher: Callable[[], Teacher] | None = field(default=None, repr=False)

    @cached_property
    def teacher(self) -> Teacher:
        """The teacher. Raises DataError when there is none."""
        if self.make_teacher is None:
            raise DataError("this distiller needs a teacher; give one")
        return self.make_teacher()

    def check_ipc(self) -> None:
        """Raise DataError when a class has fewer training images than are asked for, or none are."""
        if self.ipc < 1:
            raise DataError(f"ipc must be at least 1, not {self.ipc}")
        counts = self.dataset.train.labels.bincount(minlength=len(self.dataset.classes))
        if int(counts.min()) < self.ipc:
            raise DataError(
                f"dataset {self.dataset.name} has a class with {int(counts.min())} training images; ipc {self.ipc} is more"
            )
