"""Which way of making trainings together is the fastest on a device: measured once, and kept in the cache for other boards."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import torch

from harness.core.errors import WriteError
from harness.core.home import home
from harness.core.resolved import resolved_from
from harness.files import atomic
from harness.training.batches import batch_sizes
from harness.training.captured_feed import pattern
from harness.training.overlap import WAYS, Way, structure

if TYPE_CHECKING:
    from harness.training.values import Material, Member, Recipe

log = logging.getLogger("giftbench")

FORMAT = "giftbench.pilots/1"
#: Kinds of trainings of which the fastest way is kept for a device, at most; those longest not measured go first.
MOST = 1000
#: What stands in a file for trainings that are best made one after the other.
ALONE: Literal["alone"] = "alone"


class Pilots:
    """The fastest ways that were found out on one device with one torch, by kind of training: a JSON file.

    What cannot be read, whole or in part, is measured again; where it cannot be written, that is said in the log, and no more.

    Args:
        device: its name, `NVIDIA H200`.
        folder: where the file lies; in the cache by default.
    """

    def __init__(self, device: str, folder: Path | None = None) -> None:
        self.maker = {"device": device, "torch": torch.__version__}
        name = hashlib.sha256(json.dumps(self.maker, sort_keys=True).encode()).hexdigest()[:16]
        self.path = (home() / "pilots" if folder is None else folder) / f"{name}.json"

    def get(self, kind: str) -> Way | Literal["alone"] | None:
        """Return the fastest way of trainings of a kind; None where it is not known."""
        return self._read().get(kind)

    def put(self, kind: str, way: Way | None) -> None:
        """Keep what was found out; None is one after the other."""
        ways = self._read()  # anew, as others may have written in the meantime
        ways.pop(kind, None)
        ways[kind] = way or ALONE
        content = {"format": FORMAT, "maker": self.maker, "ways": dict([*ways.items()][-MOST:])}
        try:
            atomic.make_folder(self.path.parent)
            atomic.write(self.path, json.dumps(content, indent=1) + "\n")
        except WriteError as error:
            log.info("%s; the fastest way is measured again by the next run", error)

    def _read(self) -> dict[str, Way | Literal["alone"]]:
        with suppress(OSError, ValueError, RecursionError):
            content = json.loads(self.path.read_bytes())
            if isinstance(content, dict) and content.get("format") == FORMAT and content.get("maker") == self.maker:
                ways = content.get("ways")
                known = (*WAYS, ALONE)
                return {kind: way for kind, way in ways.items() if way in known} if isinstance(ways, dict) else {}
        return {}


def kind_of(members: Sequence[Member], material: Material, recipe: Recipe, teacher: str) -> str | None:
    """Return what trainings share whose steps take the same time: a digest; None where a part of them has no name.

    Args:
        teacher: tells teachers apart; empty for none.
    """
    built = structure(members[0].student)
    losses = [resolved_from(member.loss) for member in members]
    if built is None or None in losses:
        return None
    step = recipe.step
    facts = (
        [str(part) for part in built],
        [loss.label for loss in losses if loss is not None],
        pattern(members),
        (step.optimizer.label, step.batch_size, step.augmentation, step.mixing, str(step.cutout), step.precision),
        sorted({*batch_sizes(len(material.labels), recipe.batch_size)}),
        (tuple(material.images.shape[1:]), str(material.images.dtype), material.factor, material.soft is not None),
        teacher,
    )
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()
