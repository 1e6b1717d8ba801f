"""The folder of records is the queue: any number of runners take from it what has no record, and no other's claim."""

from __future__ import annotations

import json
import os
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from contextlib import contextmanager, suppress
from pathlib import Path
from stat import S_ISREG
from typing import TYPE_CHECKING

from harness.core.errors import BoardError
from harness.files import atomic
from harness.files.claims import Claims

if TYPE_CHECKING:
    from harness.boards.trial import Trial

#: The claims of a board's runners lie in this folder beside the board: trials by their ids, and the plan while it is made.
CLAIMS, PLAN = "claims", "plan"
#: The ids of the board's trials, as whoever ran it last has planned them, beside the claims until all have a record.
PLANNED = "planned.json"
#: When, how long and which file.
Stamp = tuple[int, int, int]


class Queue:
    """A board's missing bundles, as one of its runners sees them.

    Trials are claimed one by one, and a bundle by all that are missing of it: runners may plan other bundles of the same trials,
    by other options or on another device.

    Args:
        bundles: in the order in which they are to be taken.
        missing: the trials that are to be recorded, by id, each with the `stamp` of its record as it was when that was decided,
            None where it had none: whoever has recorded it since has done it. Other trials of a bundle only complete it.
        records: the folder of records.
        claims: of this runner.
        elsewhere: is told of each missing trial that another runner has recorded; returns whether the record is a good one.
        is_large: tells which bundles take much memory. One of them is under way at a time while there are others to begin, and
            it is the next one while none is: so they are not what is left at the end.
    """

    def __init__(
        self,
        bundles: Sequence[Sequence[Trial]],
        missing: Mapping[str, Stamp | None],
        records: Path,
        claims: Claims,
        elsewhere: Callable[[Trial], bool] = lambda trial: True,
        is_large: Callable[[Sequence[Trial]], bool] = lambda bundle: False,
    ) -> None:
        self._records, self._claims, self._elsewhere = records, claims, elsewhere
        self._left = dict(enumerate(bundles))
        self._large = {number for number, bundle in enumerate(bundles) if is_large(bundle)}
        self._before = dict(missing)
        self._own: set[str] = set()
        self._large_under_way: set[str] = set()

    def __bool__(self) -> bool:
        """Whether there are bundles that are neither recorded, nor have been yielded here."""
        return bool(self._left)

    def free(self) -> Iterator[Sequence[Trial]]:
        """Yield the bundles that are free, each claimed when it is pulled; end where all others are claimed."""
        for number in self._in_turn():
            bundle = self._left[number]
            names = [trial.id for trial in self._missing(bundle)]
            if names and self._claims.take(names):
                rest = [trial.id for trial in self._missing(bundle)]  # others may have recorded some, and let go, just now
                self._claims.release({*names} - {*rest})
                self._own.update(rest)
                self._large_under_way.update(rest if number in self._large else ())
                names = rest
                if rest:
                    del self._left[number]
                    yield bundle
                    continue
            if not names:
                del self._left[number]

    def _in_turn(self) -> Iterator[int]:
        """Yield the numbers of the bundles that are left now, each chosen when it is asked for."""
        large, others = deque[int](), deque[int]()
        for number in self._left:
            (large if number in self._large else others).append(number)
        while large or others:
            yield (large if large and not (others and self._large_under_way) else others).popleft()

    def look(self) -> None:
        """Take in what others have recorded; nothing is claimed."""
        there = {entry.name.removesuffix(".json") for entry in os.scandir(self._records)} if self._records.is_dir() else set()
        for number in [*self._left]:
            bundle = self._left[number]
            if any(trial.id in there for trial in bundle) and not self._missing(bundle):
                del self._left[number]

    def owns(self, trial: Trial) -> bool:
        """Whether the trial's record is to be written by this runner."""
        return trial.id in self._own

    def recorded(self, trial: Trial) -> None:
        """Let go of a trial whose record has been written."""
        self._own.discard(trial.id)
        self._large_under_way.discard(trial.id)
        self._before.pop(trial.id, None)
        self._claims.release([trial.id])

    def _missing(self, bundle: Sequence[Trial]) -> list[Trial]:
        """Return the trials of a bundle that nobody has recorded since this runner has looked."""
        missing = []
        for trial in bundle:
            if trial.id not in self._before or trial.id in self._own:
                continue
            now = stamp(self._records / f"{trial.id}.json")
            if now in (None, self._before[trial.id]) or not self._elsewhere(trial):
                missing.append(trial)
            else:
                del self._before[trial.id]
        return missing


def stamp(record: Path) -> Stamp | None:
    """Return what tells a record's file from one that is written later; None where there is no file."""
    try:
        status = record.stat()
    except OSError:
        return None
    return (status.st_mtime_ns, status.st_size, status.st_ino) if S_ISREG(status.st_mode) else None


def note(folder: Path, ids: Sequence[str]) -> None:
    """Note the ids of a board's trials, in order, for whoever asks where it stands. Raises WriteError."""
    atomic.make_folder(folder / CLAIMS)
    atomic.write(folder / CLAIMS / PLANNED, json.dumps(list(ids)))


def noted(folder: Path) -> tuple[str, ...] | None:
    """Return the ids that were noted; None where none are."""
    try:
        ids = json.loads((folder / CLAIMS / PLANNED).read_text("utf-8"))
    except (OSError, ValueError):
        return None
    return tuple(ids) if isinstance(ids, list) and all(isinstance(name, str) for name in ids) else None


def forget(folder: Path, recorded: Set[str]) -> None:
    """Forget what was noted, once all of it has a record, and what runners have left here who were killed.

    Args:
        folder: the board's.
        recorded: the ids of its records.
    """
    ids = noted(folder)
    if ids is None or recorded >= {*ids}:
        with suppress(OSError):
            (folder / CLAIMS / PLANNED).unlink()
    with Claims(folder / CLAIMS) as claims, suppress(OSError):
        for part in [] if claims.holders() else (folder / CLAIMS).glob(f".{PLANNED}.*.tmp"):  # of a note that was cut off
            part.unlink(missing_ok=True)


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Keep runners from a board while the block lasts. Raises BoardError where one is at work on it."""
    with Claims(folder / CLAIMS) as claims:
        taken = claims.take([PLAN])
        others = claims.holders()
        if taken:
            del others[PLAN]
        if others:
            holder = next(iter(others.values()))
            raise BoardError(f"{folder}: {holder} is at work on this board; wait for it, or stop it")
        yield
