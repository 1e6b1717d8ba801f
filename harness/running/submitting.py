"""Records that others bring: held against the board as its own are, and joined to them where nothing is wrong."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.boards import seals, submissions
from harness.boards.board import board_path
from harness.boards.records import Record, RecordStore
from harness.boards.submissions import Conflict, Submission
from harness.core.errors import BoardError
from harness.files import atomic
from harness.running.options import Options
from harness.running.queue import alone
from harness.running.verification import Report, verify


@dataclass(frozen=True)
class Brought:
    """A contributor's folder of records, as a board sees it.

    Attributes:
        folder: the contributor's, as it was given.
        name: that it has, or will have, in the board's `submissions/`.
        submission: who it is of.
        report: what is wrong with its records.
        new: those that the board lacks.
        known: the ids of those that the board has, to the byte.
        conflicts: those that it has otherwise.
    """

    folder: Path
    name: str
    submission: Submission
    report: Report
    new: tuple[Record, ...]
    known: tuple[str, ...]
    conflicts: tuple[Conflict, ...]

    @property
    def records(self) -> Path:
        """The folder that its records lie in."""
        return records_of(self.folder)


def records_of(folder: Path) -> Path:
    """Return where a contributor's records lie: in `records/` of the folder, or in the folder itself."""
    return folder / "records" if (folder / "records").is_dir() else folder


def look(folder: Path, board: str | Path, options: Options) -> Brought:
    """Return what a contributor's folder would bring to a board; nothing is changed.

    Args:
        folder: `submissions/NAME/` of the board, or a folder elsewhere: with `submission.toml`, and `records/` or the records.
    Raises: BoardError where it does not say who it is of, where its name is another contributor's, or where it has no records.
    """
    file = board_path(board)
    folder = folder.resolve()
    submission = submissions.read(folder)
    if submissions.NAME.fullmatch(folder.name) is None:
        raise BoardError(f"{folder}: its name becomes that of the submission: letters, digits, points, hyphens, 64 at most")
    place = file.parent.resolve() / submissions.FOLDER / folder.name
    if place != folder and (place / submissions.FILE).is_file() and submissions.read(place).contact != submission.contact:
        raise BoardError(f"{place}: is of {submissions.read(place).contact}; give the folder {folder} another name")
    brought, own = records_of(folder), file.parent / "records"
    linked = next((path for path in (brought, *seals.files(brought)) if path.is_symlink()), None)
    if linked is not None or brought.resolve() == own.resolve():
        raise BoardError(f"{linked or brought}: expected files of the submission's own, no links to others and not the board's")
    if not any(seals.files(brought)):
        raise BoardError(f"{brought}: no records; they are files ID.json, as giftbench run writes them")
    report = verify(file, options, brought)
    known = {record.id for record in report.records if (own / f"{record.id}.json").is_file()}
    conflicts = tuple(submissions.conflicts(brought, own))
    there = known - {conflict.own.id for conflict in conflicts}
    new = tuple(record for record in report.records if record.id not in known)
    return Brought(folder, folder.name, submission, report, new, tuple(sorted(there)), conflicts)


def join(brought: Brought, board: str | Path) -> Sequence[Path]:
    """Join a contributor's new records to a board's, and keep who brought them; return the files that were written.

    Records in conflict stay in the submission. What joined is named in its `records.sha256`, and in the board's where it has one.
    Raises: BoardError where something is wrong with the records, or a run is at work on the board; WriteError.
    """
    if brought.report.faults:
        raise BoardError(f"{brought.folder}: {brought.report.faults[0]}")
    folder = board_path(board).parent
    place = folder / submissions.FOLDER / brought.name
    written: list[Path] = []
    with alone(folder):
        seal, joined = seals.read(folder), seals.read(place) or {}
        for record in brought.new:
            source, target = brought.records / f"{record.id}.json", folder / "records" / f"{record.id}.json"
            if target.exists():
                raise BoardError(f"{target}: was written just now; look again")
            atomic.make_folder(target.parent)
            atomic.write(target, source.read_bytes())
            joined[record.id] = seals.digest(target)
            written.append(target)
        atomic.make_folder(place)
        if place.resolve() != brought.folder:
            atomic.write(place / submissions.FILE, (brought.folder / submissions.FILE).read_bytes())
        _keep_conflicts(brought, place)
        written += [place / submissions.FILE, seals.write(place, joined)]
        if seal is not None:
            written.append(seals.write(folder, seal | {record.id: joined[record.id] for record in brought.new}))
    return written


def _keep_conflicts(brought: Brought, place: Path) -> None:
    """Leave in the submission the records in conflict, and no other: those are the board's now."""
    kept = {conflict.own.id for conflict in brought.conflicts}
    for name in sorted(kept):
        target = place / "records" / f"{name}.json"
        if target.resolve() != brought.records / f"{name}.json":
            atomic.make_folder(target.parent)
            atomic.write(target, (brought.records / f"{name}.json").read_bytes())
    if place.resolve() == brought.folder:
        for name in {*brought.known, *(record.id for record in brought.new)} - kept:
            (brought.records / f"{name}.json").unlink()
        if not any(place.joinpath("records").glob("*")):
            shutil.rmtree(place / "records", ignore_errors=True)


def own_store(brought: Brought, board: str | Path, scratch: Path) -> RecordStore:
    """Return a folder of the board's records and of those that are brought, in which their stacks are found.

    Args:
        scratch: an empty folder.
    """
    for source in (board_path(board).parent / "records", brought.records):  # of two records of one trial the one that is brought
        for path in seals.files(source):
            shutil.copyfile(path, scratch / path.name)
    return RecordStore(scratch)
