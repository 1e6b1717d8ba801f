"""What a board needs, and whether it is at hand: the facts that `giftbench doctor` prints. Nothing is made or loaded."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness import datasets, models, optimizers
from harness.boards.board import Board, SetSpec
from harness.boards.protocol import Protocol
from harness.core.code import Code
from harness.core.digests import digest_json
from harness.core.errors import DataError, GiftbenchError
from harness.core.registry import Registry
from harness.core.spec import Spec
from harness.datasets.presence import find
from harness.distilled import distillers
from harness.distilled.files import SetFile, set_blueprint
from harness.files.hub import is_remote
from harness.planning.artefacts import Artefacts
from harness.planning.fetching import is_hub_checkpoint
from harness.planning.needs import Needs, ambiguous, dataset_name
from harness.planning.supplies import Supplies
from harness.running.names import as_written, check_names
from harness.running.opening import check_scenarios
from harness.teachers.blueprint import blueprints
from harness.teachers.files import TeacherFile

#: Formats whose sets bring soft labels of their own: under `labels = "auto"` no teacher is asked about them.
LABELLED = ("datm", "fkd", "lpld", "lpqld", "hald")
#: Datasets that torchvision downloads where no data folder is given.
DOWNLOADED = ("cifar10", "cifar100", "fashion-mnist", "mnist", "svhn", "stl10")
#: The command that puts a dataset where it is looked for, once its archive has been fetched.
COMMANDS = {
    "cifar10": "tar -xzf cifar-10-python.tar.gz -C {data}",
    "cifar100": "tar -xzf cifar-100-python.tar.gz -C {data}",
    "tiny-imagenet": "unzip tiny-imagenet-200.zip -d {data}",
    "stl10": "tar -xzf stl10_binary.tar.gz -C {data}",
    "cinic10": "mkdir {data}/CINIC-10 && tar -xzf CINIC-10.tar.gz -C {data}/CINIC-10",
    "fashion-mnist": "apt-get install dataset-fashion-mnist",
}


@dataclass(frozen=True)
class Finding:
    """One thing that a board needs.

    Attributes:
        kind: `dataset`, `set` or `teacher`.
        what: name; then, of sets and teachers, the dataset's; then the network that a set was distilled on.
        state: where it is, who makes it, or what is wrong; `more` goes on where there is room.
        ok: whether a run can have it.
        ipc: of a set, 0 for all that there is.
        slot: what --set calls a set of a published format, in full: `rded/cifar100/convnet`; of a file, its path.
        option: what to add to the command line for want of it, as `--set rded/cifar100=PATH`.
        given: what of --set or --teacher serves it, as it was given.
    """

    kind: str
    what: tuple[str, ...]
    state: str
    ok: bool
    ipc: int = 0
    slot: str = ""
    option: str = ""
    given: str = ""
    more: str = ""


@dataclass(frozen=True)
class Part:
    """What one part of a board needs; `runs` tells whether a run would train anything of it."""

    findings: tuple[Finding, ...]
    runs: bool

    def of(self, kind: str) -> list[Finding]:
        return [finding for finding in self.findings if finding.kind == kind]


@dataclass(frozen=True)
class Examined:
    """A board: its file, what its parts need, and a line for each plugin of its that was left out."""

    file: Path
    board: Board
    parts: tuple[Part, ...]
    left_out: tuple[str, ...] = ()

    def of(self, kind: str) -> list[Finding]:
        """Return the findings of a kind, each once."""
        return list(dict.fromkeys(finding for part in self.parts for finding in part.of(kind)))

    @property
    def missing(self) -> list[Finding]:
        return [finding for kind in ("dataset", "set", "teacher") for finding in self.of(kind) if not finding.ok]


def check_up(file: Path, board: Board, supplies: Supplies, data_dir: str | Path | None) -> Examined:
    """Return what a board needs, and what of it is at hand.

    Raises: UnknownName, BoardError and their kin, with the place, for what no run could take.
    """
    check_scenarios(board, str(file))
    for i, part in enumerate(board.boards):
        check_names(part, f"{file}: parts[{i}]" if board.parts else str(file), as_written)
    unclear = ambiguous(board)
    slots = _slots(board)
    parts = []
    for part in board.boards:
        needs = Needs(part, file.parent, data_dir, supplies, unclear.get(dataset_name(part), frozenset()))
        parts.append(_part(needs, slots))
    return Examined(file, board, tuple(parts))


def _slots(board: Board) -> dict[str, set[str]]:
    """Return the datasets that sets of each slot are wanted of."""
    slots: dict[str, set[str]] = {}
    for part in board.boards:
        for spec in part.sets:
            slots.setdefault(spec.supplied_as, set()).add(dataset_name(part))
    return slots


def _part(needs: Needs, slots: dict[str, set[str]]) -> Part:
    teachers, digests = _teachers(needs) if _asks_teacher(needs.board) else ([], [])
    sets = [finding for spec in needs.board.sets for finding in _sets(needs, spec, slots, digests)]
    dataset = _dataset(needs)
    # a set that the board itself names must be there; one that is merely waited for is left out
    broken = any(not finding.ok and not finding.option for finding in sets)
    runs = dataset.ok and all(t.ok for t in teachers) and any(s.ok for s in sets) and not broken
    return Part((dataset, *sets, *teachers), runs)


def _dataset(needs: Needs) -> Finding:
    spec, folder = needs.board.dataset, datasets.folder_of(needs.data_dir)
    present, text = find(spec, folder)
    if present:
        return Finding("dataset", (str(spec),), text, True)
    bring = COMMANDS.get(spec.name, "").format(data=folder or "DATA")
    if folder is None and spec.name in DOWNLOADED:
        return Finding("dataset", (str(spec),), "downloaded by the run", True, more=f", or: {bring}" if bring else "")
    more = f": {bring}" if bring and "into the data folder" in text else ""  # not where its files lie in another place
    return Finding("dataset", (str(spec),), text, False, more=more)


def _sets(needs: Needs, spec: SetSpec, slots: dict[str, set[str]], teachers: Sequence[str]) -> Iterator[Finding]:
    what = (spec.name, dataset_name(needs.board), spec.distilled_on)
    if spec.file:
        path = needs.folder / Path(spec.file).expanduser()
        yield Finding("set", what, "here" if path.is_file() else "no such file", path.is_file(), slot=str(path))
    elif spec.method:
        for ipc in spec.ipc:
            try:
                kept = _made(needs, spec, ipc, teachers)
            except DataError as error:
                yield Finding("set", what, str(error), False, ipc)
                continue
            yield Finding("set", what, f"made: {_shown(needs, kept)}" if kept else f"made by the run: {spec.method}", True, ipc)
    else:
        slot = "/".join(word for word in (spec.supplied_as, *what[1:]) if word)
        option = _option(needs, spec, slots)
        for number, supplied, missing in needs.wanted(spec):
            ipc, path, given = number or 0, needs.place(spec, number, supplied), supplied.text if supplied else ""
            if missing:
                state = "given, but of which network?" if supplied else "not given"
                yield Finding("set", what, state, False, ipc, slot, option, given)
            elif is_remote(path):
                yield Finding("set", what, f"downloaded by the run: {path}", True, ipc, slot, given=given)
            elif path.exists():
                yield Finding("set", what, str(path), True, ipc, slot, given=given)
            else:
                wrong = f"{path}: no such file or folder"
                yield Finding("set", what, wrong, False, ipc, slot, option if supplied else "", given)


def _option(needs: Needs, spec: SetSpec, slots: dict[str, set[str]]) -> str:
    """Return the shortest --set that says which set of the board is meant."""
    words = [spec.supplied_as]
    if len(slots[spec.supplied_as]) > 1:
        words.append(dataset_name(needs.board))
    if spec.supplied_as in needs.ambiguous:
        words.append(spec.distilled_on)
    return f"--set {'/'.join(words)}=PATH"


def _asks_teacher(board: Board) -> bool:
    """Return whether soft labels, or a distiller, may ask the teacher."""
    labels = {(scenario.protocol or board.protocol).labels for scenario in board.scenarios}
    labels |= {Protocol.model_validate(spec.protocol).labels for spec in board.sets if spec.protocol}
    stored = all(spec.format in LABELLED for spec in board.sets)
    return any(spec.method for spec in board.sets) or bool(labels & {"teacher", "fixed"}) or ("auto" in labels and not stored)


def _teachers(needs: Needs) -> tuple[list[Finding], list[str]]:
    """Return a finding a network, and the digests of those that are there as artefacts."""
    findings, digests = [], []
    dataset, spec = dataset_name(needs.board), needs.board.teacher
    for i, model in enumerate(spec.models):
        what, (first, *others) = (str(model), dataset), spec.checkpoints[i] if spec.checkpoints else ("",)
        expected = f" ({spec.expect[i]:g} % expected)" if spec.expect else ""
        more = "".join(f" or {name}" for name in others) + expected
        option = f"--teacher {model.name}/{dataset}=PATH"
        supplied = needs.supplies.find("teacher", model.name, {"dataset": dataset})
        given = supplied.text if supplied else ""
        try:
            path = needs.checkpoint(i)
        except GiftbenchError as error:
            findings.append(Finding("teacher", what, str(error), False, option=option, given=given))
            continue
        try:
            file = _trained(needs, i)
        except DataError as error:
            findings.append(Finding("teacher", what, str(error), False))
            continue
        if path is not None:
            state = f"downloaded by the run: {path}" if is_hub_checkpoint(path) else str(path)
            findings.append(Finding("teacher", what, state, True, given=given, more=expected))
        elif spec.required:
            findings.append(Finding("teacher", what, f"no {first}", False, option=option, more=more))
        elif file is not None:
            digests.append(file.digest)
            findings.append(Finding("teacher", what, f"trained, {file.accuracy:.1f} %: {_shown(needs, file.path)}", True))
        else:
            state = "trained by the run" + (f", for want of {first}" if first else "")
            findings.append(Finding("teacher", what, state, True, more=more))
    return findings, digests


def _made(needs: Needs, spec: SetSpec, ipc: int, teachers: Sequence[str]) -> Path | None:
    """Return the file of a distiller's set that a run would take. Raises DataError that names a file that stops it."""

    code = Code.of((distillers, Spec(name=spec.method, options=spec.options)))

    def key(file: SetFile) -> str:
        provenance = file.metadata["provenance"]
        method = _full(distillers, Spec(name=spec.method, options=spec.options), provenance.get("method", {}))
        same = _is(needs, file.metadata.get("dataset"))
        return digest_json(set_blueprint(method, ipc, spec.seed, str(provenance.get("dataset_digest")), code)) if same else ""

    file = _artefacts(needs).known_set(key, lambda: teachers)
    return None if file is None else file.path


def _trained(needs: Needs, index: int) -> TeacherFile | None:
    """Return the file of a teacher's network that a run would take. Raises DataError that names a file that stops it."""

    def key(file: TeacherFile) -> str:
        stored = file.blueprint
        if "checkpoint" in stored or not _is(needs, stored.get("dataset")):
            return ""
        parts: dict[Registry[object], str] = {
            models.registry: "model",
            optimizers.registry: "optimizer",
            optimizers.schedules: "schedule",
        }
        try:
            subject = _Subject(stored["dataset"], stored["dataset_digest"], stored["epochs"])
            teacher = needs.board.teacher_on(subject.name)
            made_by = blueprints(teacher, subject, lambda registry, spec: _full(registry, spec, stored[parts[registry]]))
        except (LookupError, TypeError):  # a blueprint of another kind
            return ""
        return digest_json(made_by[index])

    return _artefacts(needs).known_teacher(key)


@dataclass(frozen=True)
class _Subject:
    """What the data would tell, and a teacher's file says of them."""

    name: str
    digest: str
    teacher_epochs: int


def _full(registry: Registry[object], spec: Spec, stored: Mapping[str, Any]) -> Spec:
    """Return a name with every parameter; where the sources do not tell them, those of a file that was made under this name."""
    full = registry.as_written(spec)
    if full is not None:
        return full
    options = stored.get("options", {}) if stored.get("name") == spec.name else {}
    return Spec(name=spec.name, options={**options, **spec.options})


def _artefacts(needs: Needs) -> Artefacts:
    return Artefacts(needs.folder / "artefacts")


def _is(needs: Needs, name: object) -> bool:
    """Return whether a file's dataset is the board's."""
    spec = needs.board.dataset
    kind, colon, path = spec.name.partition(":")
    return name in (spec.name, str(spec), f"{kind}{colon}{Path(path).name}")


def _shown(needs: Needs, path: Path) -> Path:
    """Return an artefact's path, from the board's folder where it lies there."""
    return path.relative_to(needs.folder) if path.is_relative_to(needs.folder) else path
