"""Where a board stands while others work on it: from its records and claims; nothing is trained, no torch is loaded."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from harness.boards.board import board_path
from harness.boards.records import NewerRecord, RecordStore
from harness.core.errors import BoardError
from harness.core.pace import pause
from harness.files.claims import Claims, Holder
from harness.running.options import Options, Silent, Summary
from harness.running.overrides import Overrides
from harness.running.queue import CLAIMS, PLAN, noted
from harness.running.standing import Standing

if TYPE_CHECKING:
    from harness.boards.records import Record
    from harness.running.options import Watcher

#: Seconds between two looks at a board that is watched, and how many that find nobody at work end it.
POLL, LOOKS = 1.0, 3


@dataclass(frozen=True)
class Status:
    """What is known of a board.

    Attributes:
        planned: how many trials it has; None where no plan of it is noted.
        failed: the records of those that failed.
        done: how many have another record.
        running: who is on which trial, by its id.
        planning: who makes what the trials rest on, if anybody does.
    """

    planned: int | None
    done: int
    failed: list[Record] = field(default_factory=list)
    running: dict[str, Holder] = field(default_factory=dict)
    planning: Holder | None = None

    @property
    def left(self) -> int | None:
        """How many trials nobody has ended or begun."""
        return None if self.planned is None else self.planned - self.done - len(self.failed) - len(self.running)


@dataclass(frozen=True)
class _Known:
    """A trial of which the id is known."""

    id: str


def status(path: str | Path) -> Status:
    """Return where a board stands, as whoever runs it has planned it. Raises BoardError when it cannot be read."""
    file = board_path(path)
    ids = _ids(file)
    holders = Claims(file.parent / CLAIMS).holders()
    planning = holders.pop(PLAN, None)
    records = {record.id: record for record in RecordStore(file.parent / "records")}
    if ids is not None:
        records = {name: records[name] for name in ids if name in records}
        holders = {name: holders[name] for name in ids if name in holders}
    failed = [record for record in records.values() if record.status == "failed"]
    running = {name: holder for name, holder in holders.items() if name not in records}
    return Status(None if ids is None else len(ids), len(records) - len(failed), failed, running, planning)


def lacking(path: str | Path) -> tuple[int, int] | None:
    """Return how many trials of a board have no record, and how many it has; None where no plan of it is noted.

    No record is read. Raises BoardError when the board cannot be read.
    """
    file = board_path(path)
    ids = _ids(file)
    return None if ids is None else (len({*ids} - RecordStore(file.parent / "records").ids()), len(ids))


def _ids(file: Path) -> tuple[str, ...] | None:
    """Return the ids of a board's trials: as those who are at work on it planned them, else as the last run here did."""
    ids = noted(file.parent)
    if ids is None:
        plan = Standing(file, Overrides(), Options()).planned()
        ids = plan.ids if plan is not None else None
    return ids


def watch(path: str | Path, watcher: Watcher | None = None) -> Summary:
    """Tell a watcher what others do on a board, until it is done or nobody is at work on it.

    Raises: BoardError where no plan of the board is noted here.
    """
    file, watcher = board_path(path), watcher or Silent()
    ids = _ids(file)
    if ids is None:
        raise BoardError(f"{file}: nobody has planned it, so there is nothing to watch; giftbench run {path} does")
    store, claims = RecordStore(file.parent / "records"), Claims(file.parent / CLAIMS)
    seen = store.ids() & {*ids}
    summary, begun, idle = Summary(planned=len(ids)), set[str](), 0
    for name in seen:
        _take(store, name, summary)
    watcher.planned(len(ids), [_Known(name) for name in ids if name not in seen])
    while len(seen) < len(ids) and idle < LOOKS:
        began = time.process_time()
        holders = claims.holders()
        for name in [name for name in ids if name in holders and name not in begun | seen]:
            begun.add(name)
            watcher.started(_Known(name))
        for name in sorted((store.ids() & {*ids}) - seen):
            record = _take(store, name, summary)
            if record is not None:
                seen.add(name)
                watcher.ended(record.trial, record)
        idle = 0 if holders else idle + 1
        if len(seen) < len(ids):
            time.sleep(pause(time.process_time() - began, POLL))
    if len(seen) < len(ids):
        left = len(ids) - len(seen)
        watcher.say(f"nobody is at work on it, and {left} of {len(ids)} trials are left; giftbench run {path} goes on")
    summary.ran = len(seen)
    return summary


def _take(store: RecordStore, name: str, summary: Summary) -> Record | None:
    try:
        record = store.get(name)
    except NewerRecord:
        return None
    if record is not None:
        summary.take(record)
    return record
