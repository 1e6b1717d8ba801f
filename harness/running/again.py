"""A trial trained again the way its record says, which gives its number to the digit on the same kind of processor."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.core.errors import BoardError

if TYPE_CHECKING:
    from harness.boards.records import Record, RecordStore
    from harness.boards.trial import Trial
    from harness.running.workbench import Workbench


@dataclass(frozen=True)
class Way:
    """How a trial was trained: with which trials, in their order, and how many a pass may hold, `--stack`."""

    trials: tuple[Trial, ...]
    stack: int


def again(record: Record, store: RecordStore) -> Way:
    """Return what has to be trained together for a record's number to come out again, as its environment says.

    Trials of one stack share the tensors that they are computed in: each has its weights apart, and float noise, in the last
    digits, depends on how many they are. Alone, a trial of a stack may give another number.

    Raises: BoardError where the record does not say with which others it was trained, or where one of them has no record.
    """
    environment = record.environment
    if environment.taken_from:
        source = next((other for other in store if other.id == environment.taken_from), None)
        if source is None or source.environment.taken_from:
            raise BoardError(
                f"record {record.id} is of the training of {environment.taken_from}, of which there is no record in "
                f"{store.folder}"
            )
        return again(source, store)
    if environment.trained == "side by side" or (environment.together == 1 and not environment.trained_with):
        return Way((record.trial,), 1)  # side by side each does what it does alone, to the bit
    if not environment.trained_with:
        raise BoardError(
            f"record {record.id}: {environment.together} trainings were made in its pass, and it does not say which: it is of "
            "a giftbench that did not note them"
        )
    known = {other.id: other.trial for other in store if other.id in environment.trained_with}
    missing = [name for name in environment.trained_with if name not in known]
    if missing:
        raise BoardError(
            f"record {record.id} was trained together with {', '.join(missing)}, of which there is no record in {store.folder}"
        )
    return Way(tuple(known[name] for name in environment.trained_with), len(environment.trained_with))


def trained_id(record: Record) -> str:
    """Return the id of the trial that was trained for a record's numbers: its own, as a rule."""
    return record.environment.taken_from or record.id


def trained_again(record: Record, store: RecordStore, workbench: Workbench) -> Record:
    """Return the record of a trial that is trained again, the way `record` says; `store` is left alone.

    Args:
        workbench: made with `stack` of `again`; with as many threads as the record says, and a processor of the same kind, the
            number is the same to the digit.
    """
    from harness.running.executors.work import run_bundle

    return next(new for new in run_bundle(again(record, store).trials, workbench) if new.id == trained_id(record))
