"""A distilled set checked against its dataset where it enters: by `giftbench import`, by a run and by `evaluate`, all by this.

What the checks say of a set and a dataset rests on nothing else, so it is kept in the user's cache by both digests.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.core.digests import digest_json
from harness.core.errors import DataError
from harness.core.home import home
from harness.datasets.cards import Card
from harness.distilled.checks import OTHER_ORDER, findings
from harness.files import atomic

if TYPE_CHECKING:
    from harness.datasets.base import Dataset
    from harness.distilled.set import DistilledSet
    from harness.teachers.teacher import Teacher

#: Raised whenever the checks would say something else of the same set.
VERSION = 1
#: Values of an image up to which a set that is said to be normalised is compared with whitened images too: 32 px in colour.
MOST_FITTED = 3072
WARNING = "warning: "


@dataclass(frozen=True)
class Checked:
    """What the checks of a set say, a line each."""

    lines: tuple[str, ...]

    @property
    def warnings(self) -> tuple[str, ...]:
        """What looks wrong."""
        return tuple(line.removeprefix(WARNING) for line in self.lines if line.startswith(WARNING))

    def accept(self, what: str, order: str, remedy: str) -> None:
        """Raise DataError when another order of the classes fits far better.

        Args:
            what: the set, as errors call it.
            order: that the user states, or that the set is taken in all the same; "" for none.
            remedy: what else the user can do, in words.
        """
        other = next((line for line in self.lines if line.startswith(OTHER_ORDER)), "")
        if other and not order:
            raise DataError(f"{what}: {other.removeprefix(WARNING)} {remedy}")


def check(
    digest: str, load: Callable[[], DistilledSet], card: Card, dataset: Dataset | None, teacher: Teacher | None = None
) -> Checked:
    """Return what the checks say of a set; one that they have looked at before is not loaded again.

    Args:
        digest: the set's.
        load: gives the set.
        card: the dataset whose classes it has.
        dataset: its images; None when they are not at hand.
        teacher: asked whether it knows the images by their labels.
    """
    if dataset is None or teacher is not None:
        return Checked(_lines(load(), card, dataset, teacher))
    note = home() / "checks" / f"{digest_json([VERSION, digest, dataset.digest])[:32]}.json"
    with suppress(OSError, ValueError, TypeError):
        said = json.loads(note.read_text("utf-8"))
        if isinstance(said, list) and all(isinstance(line, str) for line in said):
            return Checked(tuple(said))
    lines = _lines(load(), card, dataset, None)
    with suppress(OSError):  # a cache that cannot be written; the next time is looked again
        atomic.make_folder(note.parent)
        atomic.write(note, json.dumps(lines))
    return Checked(lines)


def _lines(distilled: DistilledSet, card: Card, dataset: Dataset | None, teacher: Teacher | None) -> tuple[str, ...]:
    from harness.datasets.whitening import whitening

    small = distilled.normalised and math.prod(card.shape) <= MOST_FITTED  # it may be whitened though nobody says so
    whiten = None
    if dataset is not None and (distilled.whitening or small):
        with suppress(DataError):  # too large, or without a train split: what is not checked for want of it is said
            whiten = whitening(dataset, "cpu").apply
    return tuple(findings(distilled, card, dataset, teacher, whiten))
