"""What records cost, beside the time that they hold: bytes of their sets, steps, teacher passes, operations."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from math import ceil, nan
from pathlib import Path
from typing import TYPE_CHECKING

from harness import datasets, models
from harness.augmentation.words import STORED
from harness.boards.records import Record
from harness.core.digests import digest_json
from harness.core.errors import GiftbenchError
from harness.core.home import home
from harness.core.spec import Spec
from harness.datasets.cards import Card, known
from harness.distilled.files import class_bytes
from harness.files import atomic
from harness.leaderboard.prices import COLUMNS
from harness.running.costs import PASSES, forward_operations
from harness.running.scenario import trainings

if TYPE_CHECKING:
    import pandas

#: Bytes of a number of a stored soft label, as FKD keeps them: half precision.
HALF = 2


def prices(records: Sequence[Record]) -> pandas.DataFrame:
    """Return what records cost: the columns of `harness.leaderboard.prices.COLUMNS`, NaN where it is not known, by id.

    Sets are taken for 8-bit images and classes, unless a record states the bytes of its own; of a dataset that does not ship,
    nothing but steps, teacher passes and seconds is known without its files. Operations are counted once for each network, and
    kept in the cache folder.
    """
    import pandas

    known_prices: dict[str, tuple[float, ...]] = {}
    rows = []
    for record in records:
        key = record.trial.setup.hash
        if key not in known_prices:
            known_prices[key] = _price(record)
        rows.append((*known_prices[key], record.timing.get("total", nan)))
    return pandas.DataFrame(rows, index=[record.id for record in records], columns=COLUMNS, dtype="float64")


def _price(record: Record) -> tuple[float, ...]:
    """Return the prices of a record but its time."""
    trial, protocol = record.trial, record.trial.protocol
    images, card = float(trial.labels.images or nan), _card(trial.dataset.name)
    each_label = float(class_bytes(card.classes)) if card else nan
    values = card.shape[0] * card.shape[1] * card.shape[2] if card else nan
    stated = record.provenance.stated()
    image_bytes, pixel_bytes, label_bytes = (
        _number(stated.get("image_bytes"), images * values),
        _number(stated.get("pixel_bytes"), images * values),
        _number(stated.get("label_bytes"), images * each_label),
    )
    parts = [images for images, _ in trainings(trial, 0)]
    steps = float(sum(protocol.epochs * ceil(images / max(1, protocol.batch_size)) for images in parts))
    if protocol.augmentation == STORED:  # an epoch may be made of fewer of the stored batches than it has images for
        steps = _number(record.metrics.get("steps"), steps)
    seen = protocol.epochs * sum(parts)
    taught = trial.labels.teacher.split(" + ") if trial.teacher else []
    labelled = 0.0 if not taught else images if protocol.labels == "fixed" else protocol.soft_epochs * sum(parts)
    needed = images * each_label + labelled * HALF * card.classes if card else nan
    operations = nan
    if card is not None:
        teachers = sum(_forward(_spec(name), card) for name in taught)
        operations = PASSES * seen * _forward(trial.model, card) + labelled * teachers
    return image_bytes, pixel_bytes, label_bytes, max(needed, label_bytes), steps, labelled * len(taught), operations


def _number(stated: object, usual: float) -> float:
    return float(stated) if isinstance(stated, (int, float)) else usual


@cache
def _card(name: str) -> Card | None:
    """Return what is known of a dataset without its files; None of one that does not ship."""
    with suppress(GiftbenchError):
        full = datasets.registry.as_written(Spec.model_validate(name))
        return None if full is None else known(full)
    return None


@cache
def _spec(label: str) -> Spec | None:
    """Return the network that a teacher is labelled by; None where no model is called so."""
    with suppress(GiftbenchError, ValueError):
        spec = Spec.model_validate(label)
        return models.registry.as_written(spec) or models.registry.resolve(spec).spec
    return None


def _forward(model: Spec | None, card: Card) -> float:
    """Return the floating-point operations of a network's forward pass on one image; NaN where they cannot be counted."""
    if model is None:
        return nan
    return _counted(model.model_dump_json(), card.shape, card.classes)


@cache
def _counted(model: str, shape: tuple[int, int, int], classes: int) -> float:
    """Return a forward pass's operations, from the cache folder where they have been counted; a plugin's are counted anew."""
    shipped = models.registry.source(Spec.model_validate_json(model).name) is None
    file = home() / "operations" / f"{digest_json([model, shape, classes])}.json"
    if shipped:
        with suppress(OSError, ValueError, TypeError, KeyError):
            return float(json.loads(file.read_bytes())["operations"])
    with suppress(GiftbenchError):
        counted = forward_operations(model, shape, classes)
        if counted == float("inf"):
            return nan
        if shipped:
            _keep(file, {"model": json.loads(model), "shape": shape, "classes": classes, "operations": counted})
        return counted
    return nan


def _keep(file: Path, content: dict[str, object]) -> None:
    with suppress(GiftbenchError):  # it is counted anew
        atomic.make_folder(file.parent)
        atomic.write(file, json.dumps(content))
