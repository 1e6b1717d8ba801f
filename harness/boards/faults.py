"""What is wrong with records, as far as they themselves tell, and the seal beside them: nothing is trained, no data are read.

| fault | told by |
| --- | --- |
| broken, of another schema, a number that no measure can be | reading (`harness.boards.records`) |
| a trial that was changed: seed, loss parameter, digest | its id, which is the hash of the trial |
| numbers that contradict one another | `contradictions` |
| a number that no count of test images gives | `contradictions`, where the size of the test split is known |
| one training under two names | `copies` |
| any byte that was changed, a record that is gone | `broken_seal`, where the board has one |

A number that is changed to a likely one wherever it stands, the seal too, is found by none of these, but by training again alone.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from harness.boards import seals
from harness.boards.records import MAX_BYTES, NewerRecord, NoRecord, Reader, Record, reason_of
from harness.core.errors import DataError
from harness.files import paths

RESTORE = "restore it, or remove it and run the board again"
#: What two figures of one record may differ by, in percent: they were computed from the same counts.
EXACT = 1e-6
#: What an evaluation measures of the network that ranks, and of the one that is tested beside it.
TESTED = tuple(f"{network}{name}" for network in ("", "raw_", "ema_") for name in ("accuracy", "top5_accuracy"))


@dataclass(frozen=True)
class Fault:
    """What is wrong in one file, and what would be right.

    Attributes:
        file: as it is named in messages: `records/ID.json`.
        id: of the record; empty where it is no record's.
    """

    file: str
    what: str
    right: str
    id: str = ""

    def __str__(self) -> str:
        return f"{self.file}: {self.what}; {self.right}"


def fault(record: Record, what: str, right: str) -> Fault:
    """Return a fault of a record that can be read."""
    return Fault(f"records/{record.id}.json", what, right, record.id)


@dataclass(frozen=True)
class Reading:
    """A folder of records read without touching it: those that can be read, and a fault for each of the others."""

    records: tuple[Record, ...]
    faults: tuple[Fault, ...]


def read(folder: Path) -> Reading:
    """Return what a folder of records holds. A broken one stays where it is, and is a fault."""
    return _read_all(seals.files(folder))


def read_some(folder: Path, ids: Iterable[str]) -> Reading:
    """Return, as `read` does, the records of some ids."""
    return _read_all(folder / f"{name}.json" for name in ids)


def _read_all(files: Iterable[Path]) -> Reading:
    reader, records, faults = Reader(), list[Record](), list[Fault]()
    for path in files:
        outcome = _read(path, reader)
        if isinstance(outcome, Record):
            records.append(outcome)
        else:
            faults.append(outcome)
    return Reading(tuple(records), tuple(faults))


def _read(path: Path, reader: Reader) -> Record | Fault:
    file = f"records/{path.name}"
    try:
        content = paths.content(path, MAX_BYTES)
        record = reader.record(content, path.stem)
    except NewerRecord as error:
        return Fault(file, f"made by a newer giftbench ({error})", "update giftbench to check it", path.stem)
    except NoRecord as error:
        return Fault(file, str(error), "move it elsewhere", path.stem)
    except (OSError, DataError) as error:
        return Fault(file, str(error).removeprefix(f"{path}: "), RESTORE, path.stem)
    except (ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RecursionError) as error:
        return Fault(file, reason_of(error), _remedy(content, path.stem, reader), path.stem)
    return record


def _remedy(content: bytes, name: str, reader: Reader) -> str:
    """Return what would be right of a record that cannot be read: where its trial can be, the id that this has."""
    try:
        trial = reader.read(content).trial
    except Exception:  # whatever is wrong with it has been said
        return RESTORE
    return RESTORE if trial.id == name else f"the trial that it states has the id {trial.id}: {RESTORE}"


def contradictions(record: Record, test_images: int | None = None) -> Iterator[Fault]:
    """Yield what cannot be in a record of a scenario that ships; what a plugin measures, and how, is its own.

    Args:
        test_images: of its dataset, where that is known.
    """
    for what in (*_of_ending(record), *_of_environment(record)):
        yield fault(record, what, RESTORE)
    if record.status == "failed" or f"scenario {record.trial.scenario}" in record.trial.plugins:
        return
    for what in (*_of_metrics(record), *_of_history(record), *_of_counts(record, test_images)):
        yield fault(record, what, RESTORE)


def _of_ending(record: Record) -> Iterator[str]:
    if record.status == "failed" and (record.metrics or not record.error):
        yield "a trial that failed has an error and no metrics"
    if record.status != "failed" and (record.error or "accuracy" not in record.metrics):
        yield f"a trial that is {record.status} has an accuracy and no error"
    for name, seconds in record.timing.items():
        if seconds < 0:
            yield f"timing.{name}: {seconds:g} seconds are less than none"


def _of_environment(record: Record) -> Iterator[str]:
    environment = record.environment
    if environment.precision and environment.precision != record.trial.protocol.precision:
        yield f"environment.precision: {environment.precision}, and the trial's is {record.trial.protocol.precision}"
    if environment.taken_from == record.id:
        yield "environment.taken_from: names the record itself"
    if environment.trained_with:
        if record.id not in environment.trained_with:
            yield "environment.trained_with: does not name the record itself"
        if environment.trained == "stacked" and len(environment.trained_with) != environment.together:
            yield f"environment.together: {environment.together}, and trained_with names {len(environment.trained_with)}"


def _of_metrics(record: Record) -> Iterator[str]:
    metrics = record.metrics
    accuracy = metrics.get("accuracy", math.nan)
    if metrics.get("top5_accuracy", math.inf) < accuracy - EXACT:
        yield f"metrics.top5_accuracy: {metrics['top5_accuracy']:g} is below the accuracy, {accuracy:g}"
    if metrics.get("best_accuracy", math.inf) < accuracy - EXACT:
        yield f"metrics.best_accuracy: {metrics['best_accuracy']:g} is below the accuracy after the last epoch, {accuracy:g}"


def _of_history(record: Record) -> Iterator[str]:
    metrics, history = record.metrics, record.history
    if not history:
        yield "history: empty, and the accuracy is that of its last entry"
        return
    last = history[-1]
    expected: dict[str, float] = {name: last[name] for name in TESTED if name in last}
    accuracies = [entry["accuracy"] for entry in history if "accuracy" in entry]
    if "best_accuracy" in metrics and accuracies:
        expected["best_accuracy"] = max(accuracies)
    if "average_incremental" in metrics and accuracies:
        expected["average_incremental"] = sum(accuracies) / len(accuracies)
    if "epochs" in metrics and "epoch" in last:
        expected["epochs"] = last["epoch"]
    for name, value in expected.items():
        if abs(metrics.get(name, math.nan) - value) > EXACT or name not in metrics:
            yield f"metrics.{name}: {metrics.get(name, 'not there')}, and its history says {value:g}"
    epochs = [entry["epoch"] for entry in history if "epoch" in entry]
    if any(later <= earlier for earlier, later in itertools.pairwise(epochs)):
        yield f"history: its epochs do not ascend: {', '.join(f'{epoch:g}' for epoch in epochs)}"
    if epochs and record.status == "done" and epochs[-1] != record.trial.protocol.epochs:
        yield f"history: ends after epoch {epochs[-1]:g}, and the trial has {record.trial.protocol.epochs}"
    for number, entry in enumerate(history):
        if entry.get("top5_accuracy", math.inf) < entry.get("accuracy", -math.inf) - EXACT:
            yield f"history[{number}].top5_accuracy: {entry['top5_accuracy']:g} is below the accuracy, {entry['accuracy']:g}"


def _of_counts(record: Record, test_images: int | None) -> Iterator[str]:
    if test_images is None:
        return
    names = (*TESTED, "best_accuracy")
    numbers = {f"metrics.{name}": record.metrics[name] for name in names if name in record.metrics}
    for number, entry in enumerate(record.history):
        if "epoch" in entry:  # a step of a stream is tested on some classes only
            numbers |= {f"history[{number}].{name}": entry[name] for name in names if name in entry}
    for place, value in numbers.items():
        count = value * test_images / 100
        if abs(count - round(count)) > EXACT * test_images:
            near = fixed_share(round(count), test_images)
            yield f"{place}: {value!r} percent is no whole number of {test_images} test images; {round(count)} are {near}"


def fixed_share(count: int, images: int) -> str:
    """Return so many of the test images in percent, as records have it."""
    return repr(100 * count / images)


def copies(records: Iterable[Record]) -> Iterator[Fault]:
    """Yield records that have the same seconds, to the last digit, as another one: no two trainings do.

    What says that it is of another record's training has to be: of the same setup but for the scenario, seed and outcome.
    """
    by_timing: dict[tuple[tuple[str, float], ...], Record] = {}
    by_id = {record.id: record for record in records}
    for record in by_id.values():
        source = by_id.get(record.environment.taken_from)
        if source is not None and (what := _not_taken(record, source)):
            yield fault(record, f"environment.taken_from: records/{source.id}.json is of {what}", "run it again")
        if record.environment.taken_from:
            continue
        timing = tuple(sorted(record.timing.items()))
        if len(timing) < 2 or not any(seconds for _, seconds in timing):
            continue
        first = by_timing.setdefault(timing, record)
        if first is not record:
            what = f"took the same seconds as records/{first.id}.json, to the last digit: it is a copy of its outcome"
            yield fault(record, what, "run it again")


def _not_taken(record: Record, source: Record) -> str:
    """Return what keeps a record's numbers from being those of another one's training; empty where nothing does."""
    if (record.trial.setup.training, record.trial.seed) != (source.trial.setup.training, source.trial.seed):
        return "another training"
    if (record.status, record.metrics, record.history) != (source.status, source.metrics, source.history):
        return "another outcome"
    return "a training that it took from elsewhere itself" if source.environment.taken_from else ""


def broken_seal(folder: Path, seal: Mapping[str, str], command: str) -> Iterator[Fault]:
    """Yield the records whose files are not what a board's seal says that they are; records without a line in it are none.

    Args:
        folder: the board's.
        command: that makes the seal anew.
    """
    for name, stated in seal.items():
        path = folder / "records" / f"{name}.json"
        try:
            same = seals.digest(path) == stated
        except (OSError, DataError):
            right = f"restore it; {command} where it was removed on purpose"
            yield Fault(f"records/{name}.json", f"named in {seals.NAME}, and not there", right, name)
            continue
        if not same:
            right = f"restore it; {command} where it was run again on purpose"
            yield Fault(f"records/{name}.json", f"changed: it does not have the SHA-256 of {seals.NAME}", right, name)
