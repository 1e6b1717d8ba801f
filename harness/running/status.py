"""Where a board stands while others work on it: from its records and claims; nothing is trained, no torch is loaded."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from harness.boards.board import board_path
from harness.boards.records import RecordStore
from harness.core.errors import BoardError
from harness.files.claims import Claims, Holder
from harness.running.options import Silent, Summary
from harness.running.queue import CLAIMS, PLAN
from harness.running.standing import Standing

if TYPE_CHECKING:
    from harness.boards.records import Record
    from harness.running.options import Options, Watcher
    from harness.running.overrides import Overrides

#: Seconds between two looks at a board that is watched, and how many that find nobody at work end it.
POLL, LOOKS = 1.0, 3


@dataclass(frozen=True)
class Status:
    """What is known of a board.

    Attributes:
        planned: how many trials it has; None where no plan is noted here that still holds.
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


def status(path: str | Path, overrides: Overrides, options: Options) -> Status:
    """Return where a board stands, as a run with these words would plan it. Raises BoardError when it cannot be read."""
    file = board_path(path)
    plan = Standing(file, overrides, options).planned()
    holders = Claims(file.parent / CLAIMS).holders()
    planning = holders.pop(PLAN, None)
    records = {record.id: record for record in RecordStore(file.parent / "records")}
    if plan is not None:
        records = {name: records[name] for name in plan.ids if name in records}
        holders = {name: holders[name] for name in plan.ids if name in holders}
    failed = [record for record in records.values() if record.status == "failed"]
    running = {name: holder for name, holder in holders.items() if name not in records}
    return Status(len(plan.ids) if plan else None, len(records) - len(failed), failed, running, planning)


def watch(path: str | Path, overrides: Overrides, options: Options, watcher: Watcher | None = None) -> Summary:
    """Tell a watcher what others do on a board, until it is done or nobody is at work on it.

    Raises: BoardError where no plan of the board is noted here.
    """
    file, watcher = board_path(path), watcher or Silent()
    plan = Standing(file, overrides, options).planned()
    if plan is None:
        raise BoardError(f"{file}: no plan of it is known here, so nothing can be watched; giftbench run {path} makes one")
    store, claims = RecordStore(file.parent / "records"), Claims(file.parent / CLAIMS)
    seen = store.ids() & {*plan.ids}
    summary, begun, idle = Summary(planned=len(plan.ids)), set[str](), 0
    for name in seen:
        _take(store, name, summary)
    watcher.planned(len(plan.ids), [_Known(name) for name in plan.ids if name not in seen])
    while len(seen) < len(plan.ids) and idle < LOOKS:
        holders = claims.holders()
        for name in [name for name in plan.ids if name in holders and name not in begun | seen]:
            begun.add(name)
            watcher.started(_Known(name))
        for name in sorted((store.ids() & {*plan.ids}) - seen):
            record = _take(store, name, summary)
            if record is not None:
                seen.add(name)
                watcher.ended(record.trial, record)
        idle = 0 if holders else idle + 1
        if len(seen) < len(plan.ids):
            time.sleep(POLL)
    if len(seen) < len(plan.ids):
        left = len(plan.ids) - len(seen)
        watcher.say(f"nobody is at work on it, and {left} of {len(plan.ids)} trials are left; giftbench run {path} goes on")
    summary.ran = len(seen)
    return summary


def _take(store: RecordStore, name: str, summary: Summary) -> Record | None:
    record = store.get(name)
    if record is not None:
        summary.take(record)
    return record
