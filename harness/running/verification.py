"""A board held against itself: its records against their ids, the board's plan, sets, teachers, plugins and the seal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from harness.boards import faults, seals
from harness.boards.board import Board
from harness.boards.evidence import evidence
from harness.boards.faults import Fault, fault
from harness.boards.records import Record
from harness.boards.trial import Trial
from harness.core.errors import DataError, GiftbenchError
from harness.planning.artefacts import Artefacts
from harness.running import plugged
from harness.running.opening import read_board
from harness.running.options import Options, Silent

if TYPE_CHECKING:
    from harness.planning.preparation import Survey

#: What a trial says of itself that later versions word otherwise, or that says where it stands on the board.
WORDED = frozenset({"order", "protocol", "augmentation", "adaptation"})
#: What a trial says that its set's or its teacher's file says first, so that nobody knows it while that is not at hand.
OF_FILES = frozenset({"native", "teacher_accuracy"})


@dataclass(frozen=True)
class Report:
    """What came of looking at a board's records.

    Attributes:
        records: those that can be read.
        faults: what is wrong, a file each line.
        notes: what could not be looked at, and what else is to be known.
        sealed: how many are in the board's seal; None where it has none.
        verified: how many have been trained again, with the same outcome, as they are.
    """

    records: tuple[Record, ...]
    faults: tuple[Fault, ...]
    notes: tuple[str, ...]
    sealed: int | None
    verified: int


@dataclass
class Planned:
    """What a board plans with what is at hand.

    Attributes:
        trials: by id.
        stand_ins: digests that stand for sets and teachers that are not at hand, which ids of their trials rest on.
        test_images: how many a dataset has, by its digest.
        datasets: the digest of each, by name.
        left_out: why some of the board could not be planned.
    """

    trials: dict[str, Trial] = field(default_factory=dict)
    stand_ins: frozenset[str] = frozenset()
    test_images: dict[str, int] = field(default_factory=dict)
    datasets: dict[str, str] = field(default_factory=dict)
    left_out: tuple[str, ...] = ()


def verify(path: str | Path, options: Options, submission: Path | None = None) -> Report:
    """Return what is wrong with a board's records; nothing is trained, made or moved.

    Args:
        path: the board.
        options: plugins, data folder and supplies; nothing else of them matters.
        submission: a folder of records that are to join the board, to be looked at instead of the board's own.
    Raises: BoardError and its kin where the board cannot be read.
    """
    file, board, left_out = read_board(path, options.plugins, options.allow_plugins)
    folder, artefacts = file.parent, Artefacts(file.parent / "artefacts")
    reading = faults.read(submission or folder / "records")
    planned = plan(board, file, artefacts, options)
    seal = None if submission else seals.read(folder)
    wrong = list(reading.faults)
    if seal is not None:
        wrong += faults.broken_seal(folder, seal, f"giftbench verify {folder} --seal")
    for record in reading.records:
        wrong += faults.contradictions(record, planned.test_images.get(record.trial.dataset.digest))
    wrong += faults.copies(reading.records)
    wrong += _not_planned(reading.records, planned, artefacts)
    wrong += _artefacts(reading.records, artefacts)
    wrong += _plugins(reading.records, board.unnoted)
    known = evidence(folder) if submission is None else {}
    sealed = None if seal is None else sum(record.id in seal for record in reading.records)
    notes = (*left_out, *_notes(reading.records, planned, sealed, submission is None, folder))
    return Report(reading.records, tuple(_once(wrong)), notes, sealed, sum(record.id in known for record in reading.records))


def plan(board: Board, file: Path, artefacts: Artefacts, options: Options) -> Planned:
    """Return what a board plans, those of its scenarios too that wait for request; nothing is made.

    What a mistake, or data that are not here, keep from being planned is said in `left_out`.
    """
    from harness.running.parts import Parts

    try:
        parts = Parts(board, file, artefacts, options, Silent())
        parts.rehearse()
        trials, surveys = parts.survey()
    except GiftbenchError as error:
        return Planned(left_out=(str(error),))
    datasets = [survey.dataset for survey in surveys]
    return Planned(
        {trial.id: trial for trial in trials},
        frozenset(_stand_ins(trials, surveys, artefacts)),
        {data.digest: len(data.test) for data in datasets},
        {data.name: data.digest for data in datasets},
        tuple(parts.left_out),
    )


def _stand_ins(trials: Iterable[Trial], surveys: Sequence[Survey], artefacts: Artefacts) -> Iterator[str]:
    if not any(survey.absent for survey in surveys):
        return
    for kind, digests in _digests(trials):
        for digest in digests:
            try:
                artefacts.find(kind, digest)
            except DataError:
                yield digest


def _digests(trials: Iterable[Trial]) -> Iterator[tuple[str, list[str]]]:
    """Yield the digests of all sets and of all teachers' networks that trials name, each once."""
    from harness import teachers

    listed = list(trials)
    yield "set", list(dict.fromkeys(trial.distilled for trial in listed))
    yield "teacher", list(dict.fromkeys(digest for trial in listed for digest in teachers.from_trial(trial.teacher)[0]))


def _not_planned(records: Iterable[Record], planned: Planned, artefacts: Artefacts) -> Iterator[Fault]:
    """Yield records whose trial the board does not plan, and those that say of it what the board does not say."""
    if not planned.trials:
        return
    waiting = [trial for trial in planned.trials.values() if planned.stand_ins & {trial.distilled, *trial.teacher}]
    others: list[dict[str, object]] = []
    for record in records:
        trial = planned.trials.get(record.id)
        if trial is not None:
            yield from _labels(record, trial, WORDED)
            continue
        trial = _filled_in(record.trial, waiting, planned.stand_ins, artefacts)
        if trial is not None:
            yield from _labels(record, trial, WORDED | OF_FILES)
        elif not planned.left_out:
            others = others or [_parts(one) for one in planned.trials.values()]
            what = _nearest(record.trial, others)
            yield fault(record, what, "put it on the board, or take it away by giftbench remove")


def _filled_in(trial: Trial, waiting: Iterable[Trial], stand_ins: frozenset[str], artefacts: Artefacts) -> Trial | None:
    """Return the planned trial that a record's is, once what stands in for its set and teacher is what the record names.

    The set has to be one of the same recipe: then whatever it was made with beside it, a teacher say, is all that can differ.
    """
    from harness.distilled.files import read_set_header

    for one in waiting:
        changes: dict[str, object] = {}
        if one.distilled in stand_ins:
            try:
                header = read_set_header(artefacts.find("set", trial.distilled))
            except DataError:
                continue
            if header.metadata["provenance"].get("recipe") != one.distilled:
                continue
            changes["distilled"] = trial.distilled
        if stand_ins & {*one.teacher}:
            changes["teacher"] = trial.teacher
        if one.seed == trial.seed and one.model_copy(update=changes).id == trial.id:
            return one
    return None


def _labels(record: Record, planned: Trial, unsure: frozenset[str]) -> Iterator[Fault]:
    """Yield what a record says of its trial, to tables, and the board does not; of `unsure` labels nobody can tell."""
    own, right = record.trial.labels.stated(), planned.labels.stated()
    for name in sorted({*own, *right} - unsure):
        if name not in own or name not in right or own[name] != right[name]:
            what = f"trial.labels.{name}: {own.get(name, 'not there')!r}"
            yield fault(record, what, f"the board says {right.get(name, 'nothing of it')!r}")


def _nearest(trial: Trial, others: Sequence[dict[str, object]]) -> str:
    """Return how a trial that is not planned differs from the one that is most like it.

    Args:
        others: the parts of all planned trials.
    """
    own = _parts(trial)
    best = min(others, key=lambda parts: sum(parts.get(name) != value for name, value in own.items()))
    names = [name for name, value in own.items() if best.get(name) != value]
    if len(names) > 2:
        return "the board does not plan its trial"
    said = ", ".join(f"trial.{name}: {_short(own[name])}, where the board has {_short(best.get(name))}" for name in names)
    return f"the board does not plan its trial ({said})"


def _parts(trial: Trial) -> dict[str, object]:
    content = trial.model_dump(mode="json")
    return {name: value for name, value in content.items() if name != "labels"}


def _short(value: object) -> str:
    text = (
        f"{value['name']} {value['options']}" if isinstance(value, dict) and {"name", "options"} <= value.keys() else str(value)
    )
    return text if len(text) < 90 else text[:87] + "…"


def _artefacts(records: Sequence[Record], artefacts: Artefacts) -> Iterator[Fault]:
    """Yield the sets and teachers that records name and that are gone, damaged or others; each once."""
    from harness.distilled.files import read_set_header

    users = Counter(record.trial.distilled for record in records)
    users.update(digest for record in records for digest in dict.fromkeys(record.trial.teacher))
    sound: dict[str, int] = {}
    for kind, digests in _digests(record.trial for record in records):
        for digest in digests:
            file = f"artefacts/{kind}-{digest[:20]}.safetensors"
            try:
                artefacts.check(kind, digest)
                if kind == "set":
                    sound[digest] = read_set_header(artefacts.find(kind, digest)).images
            except DataError as error:
                what = str(error).partition("; ")[0].removeprefix(f"{artefacts.folder / Path(file).name}: ")
                count = users[digest]
                named = f"{count} record{'s' * (count > 1)} name{'s' * (count == 1)} it by {digest[:20]}…"
                yield Fault(file, f"{what} ({named})", "restore it; a record that names another set or teacher was changed")
    for record in records:
        images, stated = sound.get(record.trial.distilled), record.trial.labels.images
        if images is not None and stated is not None and images != stated:
            yield fault(record, f"trial.labels.images: {stated}", f"its distilled set has {images}")


def _plugins(records: Sequence[Record], unnoted: Mapping[str, str]) -> Iterator[Fault]:
    """Yield the records that were made by plugins as they are not here."""
    earlier: dict[int, tuple[str, ...]] = {}
    for record in records:
        setup = record.trial.setup
        if id(setup) not in earlier:
            earlier[id(setup)] = plugged.outdated(setup, unnoted)
        for words in earlier[id(setup)]:
            yield fault(record, f"made by another {words} than is here", "restore the plugin, or run the board again")


def _notes(records: Sequence[Record], planned: Planned, sealed: int | None, own: bool, folder: Path) -> Iterator[str]:
    for line in planned.left_out:
        yield f"not planned here, so that records of it are not held against the board: {line}"
    unknown = {record.trial.dataset.name for record in records} - planned.datasets.keys()
    if planned.trials and unknown:
        yield f"not at hand, so that its test images were not counted: {', '.join(sorted(unknown))}"
    if own and records and sealed is None:
        yield f"no {seals.NAME}: likely changes to numbers cannot be seen; giftbench verify {folder} --seal writes one"
    elif sealed is not None and sealed < len(records):
        yield f"{len(records) - sealed} records are not in {seals.NAME} yet; giftbench verify {folder} --seal adds them"


def _once(wrong: Iterable[Fault]) -> list[Fault]:
    """Return the faults, each once, by file."""
    return sorted(dict.fromkeys(wrong), key=lambda each: each.file)


def seal(path: str | Path, options: Options) -> tuple[Report, Path | None]:
    """Make a board's seal anew where nothing but the seal itself is broken; return what came of looking, and the file.

    Raises: as `verify`.
    """
    report = verify(path, options)
    stale = f"does not have the SHA-256 of {seals.NAME}", f"named in {seals.NAME}, and not there"
    others = tuple(each for each in report.faults if not each.what.endswith(stale))
    folder = read_board(path, options.plugins, options.allow_plugins)[0].parent
    if others:
        return Report(report.records, others, report.notes, report.sealed, report.verified), None
    content = seals.made(folder)
    place = seals.write(folder, content)
    return Report(report.records, (), (), len(content), report.verified), place
