"""Records trained again, the way they say that they were made, and held against what they hold.

| where it is trained again | the two are the same where they are |
| --- | --- |
| on a CPU of the same name, with the same versions and threads, alone or in the same stack | equal to the digit |
| elsewhere, or where the record does not say with which others it was stacked | within what its board's seeds differ by |

The second is the half width of an interval that holds the difference of two trainings of one setup in 99 of 100 cases, had they
different seeds: t · sqrt(2) · s. s is the standard deviation over seeds of the record's own setup, or that of all setups with its
set, student and optimizer together, pooled by their degrees of freedom, where that is greater (Montgomery, Design and Analysis of
Experiments, section 2.4); t is of the degrees of freedom of the latter. The record itself is left out: what is wrong in it would
widen what it may differ by. Trained again, a trial has the same seed, and float noise alone tells the two apart: the interval is
wide on purpose, and what lies outside of it is no noise.

A stack that a record does not name is guessed; where all others of it come out equal to the digit, it was the one, and the record
has to be equal too.
"""

from __future__ import annotations

import math
import random
import statistics
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from harness.boards import evidence, seals
from harness.boards.records import LOSS, Record, RecordStore
from harness.core.errors import BoardError
from harness.planning.artefacts import Artefacts
from harness.running.again import Way, again, trained_id

if TYPE_CHECKING:
    from torch import nn

#: The share of pairs of trainings, alike in all but the seed, whose difference the bound holds.
SHARE = 0.99
#: Degrees of freedom below which a spread is that of all setups on the dataset.
FEW = 4
EQUAL = "equal to the digit"


@dataclass(frozen=True)
class Spread:
    """How far two trainings of a setup lie apart, in points of accuracy, and what that was learned from."""

    bound: float
    words: str


@dataclass(frozen=True)
class Repeat:
    """A record, and what its trial gave when it was trained again.

    Attributes:
        record, new: before and now.
        why: what kept the two from being held equal to the digit; empty where they were.
        spread: by which they were compared then; None where no two seeds tell of it.
        student: the trained network, on its device; None where the scenario made none by the workbench, or the trial failed.
    """

    record: Record
    new: Record
    why: str
    spread: Spread | None
    student: nn.Module | None = None

    @property
    def equal(self) -> bool:
        """Whether status, metrics and history are the same to the digit; training losses, which not all records have, aside."""
        return _outcome(self.record) == _outcome(self.new)

    @property
    def same(self) -> bool:
        """Whether the two are the same by the rule that goes for them."""
        if self.equal:
            return True
        if not self.why or self.spread is None or self.record.status != self.new.status or self.record.status == "failed":
            return False
        return abs(self.difference) <= self.spread.bound

    @property
    def difference(self) -> float:
        """Points of accuracy that the new one is above the old; NaN where one has none."""
        return self.new.metrics.get("accuracy", math.nan) - self.record.metrics.get("accuracy", math.nan)

    @property
    def rule(self) -> str:
        """By which the two were compared, in words."""
        if self.equal or not self.why:
            return EQUAL
        if self.spread is None:
            return f"{EQUAL}: no two seeds here tell how far apart trainings are"
        return f"within {self.spread.bound:.2f} points ({self.spread.words}), for {self.why}"


def drawn(records: Sequence[Record], count: int, seed: int) -> list[Record]:
    """Return so many records drawn at random; the same of the same records and seed, in the order of their ids."""
    ordered = sorted(records, key=lambda record: record.id)
    return sorted(random.Random(seed).sample(ordered, min(count, len(ordered))), key=lambda record: record.id)


def repeats(
    records: Sequence[Record], file: Path, data_dir: Path | None = None, *, store: RecordStore | None = None, keep: bool = False
) -> Iterator[Repeat]:
    """Train records' trials again, one after the other in this process, and yield what came of each; nothing is written.

    Args:
        records: of the board, or of those that are to join it.
        file: the board's, whose plugins are loaded.
        data_dir: the folder of the dataset's files.
        store: where the trials of their stacks are found; the board's by default.
        keep: whether students are kept.
    """
    store = store or RecordStore(file.parent / "records")
    known = store.read()
    for record in records:
        yield _repeat(record, known, store, Artefacts(file.parent / "artefacts"), data_dir, keep)


def _repeat(
    record: Record, known: Sequence[Record], store: RecordStore, artefacts: Artefacts, data_dir: Path | None, keep: bool
) -> Repeat:
    from harness.running.executors.work import run_bundle, versions
    from harness.running.scenario import named
    from harness.running.workbench import Workbench
    from harness.training.devices import device_name, resolve_device

    stated = record.environment
    device = "cpu" if stated.device.startswith("CPU") else resolve_device("auto")
    try:
        way, why, unsaid = again(record, store), "", ""
    except BoardError as error:
        why = unsaid = str(error).removeprefix(f"record {record.id}: ").removeprefix(f"record {record.id} ")
        way = likely(record, known) or Way((record.trial,), 1)
    workbench = Workbench(
        device,
        artefacts,
        data_dir,
        stack=way.stack,
        deterministic=stated.deterministic,
        compiling="always" if stated.compiled else "never",
        convolutions="fast" if stated.convolutions == "fast" else "torch",
        keep_students=keep,
    )
    here = versions(type(named(record.trial.scenario)).packages)
    if device != "cpu":
        why = why or "a GPU's sums come in another order each time"
    elif stated.device != device_name(device):
        why = f"it is of {stated.device or 'a device that it does not name'}, and here is {device_name(device)}"
    elif stated.versions != {name: here.get(name) for name in stated.versions}:
        others = [f"{name} {version}" for name, version in stated.versions.items() if here.get(name) != version]
        why = f"it is of {', '.join(others)}"
    with _threads(stated.threads):
        news = {each.id: each for each in run_bundle(way.trials, workbench)}
    new, beside = news.pop(trained_id(record)), {each.id: each for each in known if each.id in news}
    if why == unsaid and beside and all(_outcome(each) == _outcome(news[name]) for name, each in beside.items()):
        why = ""  # all others of the stack came out equal, so it is the one
    return Repeat(record, new, why, spread(record, known) if why else None, workbench.students.get(trained_id(record)))


def likely(record: Record, records: Iterable[Record]) -> Way | None:
    """Return in which stack a record was most likely made that does not say so; None where its board's records contradict that.

    Trials that may be stacked were cut, in the order of the plan, into stacks of as many as the largest, before records noted
    them. Nothing is known for sure of it; where the number comes out equal to the digit, there is no need.
    """
    alike = [each for each in records if each.trial.setup.together == record.trial.setup.together]
    alike.sort(key=lambda each: each.trial.labels.order)
    most = max((each.environment.together for each in alike), default=1)
    for start in range(0, len(alike), most):
        stack = alike[start : start + most]
        if any(each.id == record.id for each in stack):
            fits = all(each.environment.together == len(stack) for each in stack)
            return Way(tuple(each.trial for each in stack), len(stack)) if fits else None
    return None


@contextmanager
def _threads(count: int) -> Iterator[None]:
    """Compute with as many threads as a record says; 0 leaves them as they are."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def spread(record: Record, records: Iterable[Record]) -> Spread | None:
    """Return how far apart trainings of a record's setup may lie, by a board's records; None where they tell nothing."""
    cells: dict[str, list[Record]] = defaultdict(list)
    for each in records:
        if each.status == "done" and each.id != record.id:
            cells[each.trial.setup.hash].append(each)
    several = [cell for cell in cells.values() if len(cell) > 1]
    trial = record.trial

    def pooled(alike: Iterable[Sequence[Record]]) -> tuple[float, int]:
        """Return the standard deviation of several setups, and its degrees of freedom."""
        squares, freedom = 0.0, 0
        for cell in alike:
            squares += statistics.variance(_accuracies(cell)) * (len(cell) - 1)
            freedom += len(cell) - 1
        return math.sqrt(squares / freedom) if freedom else 0.0, freedom

    near = [cell for cell in several if _nearly(cell[0]) == _nearly(record)]
    words = "setups with its set, student and optimizer"
    deviation, freedom = pooled(near)
    if freedom < FEW:
        near = [cell for cell in several if cell[0].trial.dataset.digest == trial.dataset.digest]
        words, (deviation, freedom) = "setups on its dataset", pooled(near)
    if not freedom:
        return None
    from scipy.special import stdtrit

    own = cells[trial.setup.hash]
    deviation = max(deviation, statistics.stdev(_accuracies(own)) if len(own) > 1 else 0.0)
    bound = float(stdtrit(freedom, (1 + SHARE) / 2)) * math.sqrt(2) * deviation
    return Spread(bound, f"seeds of {len(near)} {words} differ by s = {deviation:.2f}")


def _nearly(record: Record) -> tuple[object, ...]:
    trial = record.trial
    return trial.dataset.digest, trial.distilled, trial.setup.student, trial.optimizer.name


def _accuracies(records: Iterable[Record]) -> list[float]:
    return [record.metrics["accuracy"] for record in records]


def _outcome(record: Record) -> tuple[object, ...]:
    tested = [{name: value for name, value in entry.items() if name != LOSS} for entry in record.history]
    return record.status, record.metrics, tested


def keep(folder: Path, done: Iterable[Repeat]) -> Path | None:
    """Note beside a board what was verified by training it again; a record that turned out otherwise is verified no more.

    Returns: the file; None where there is nothing to note.
    """
    known = before = evidence.read(folder)
    for repeat in done:
        name = repeat.record.id
        known = {other: entry for other, entry in known.items() if other != name}
        if repeat.same:
            known[name] = evidence.Verified(
                record=seals.digest(folder / "records" / f"{name}.json"),
                rule=repeat.rule,
                accuracy=repeat.new.metrics.get("accuracy"),
                environment=repeat.new.environment,
            )
    return evidence.write(folder, known) if known != before else None
