"""What a board needs, and whether it is at hand: the facts that `giftbench doctor` prints. Nothing is made or loaded."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness import datasets
from harness.boards.board import Board, SetSpec, TeacherSpec
from harness.core.digests import digest_json
from harness.core.errors import DataError, GiftbenchError, at
from harness.core.home import home
from harness.core.options import check_known, like
from harness.core.registry import Registry
from harness.core.spec import Spec, parse
from harness.datasets.presence import find
from harness.files import safetensors
from harness.planning.needs import Needs, ambiguous, dataset_name
from harness.planning.supplies import Supplies

#: Formats whose sets bring soft labels of their own: under `labels = "auto"` no teacher is asked about them.
LABELLED = ("datm", "fkd")
#: Datasets that torchvision downloads where no data folder is given.
DOWNLOADED = ("cifar10", "cifar100", "fashion-mnist")
#: The command that puts a dataset where it is looked for, once its archive has been fetched.
COMMANDS = {
    "cifar10": "tar -xzf cifar-10-python.tar.gz -C {data}",
    "cifar100": "tar -xzf cifar-100-python.tar.gz -C {data}",
    "tiny-imagenet": "unzip tiny-imagenet-200.zip -d {data}",
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
    """A board: its file, and what its parts need."""

    file: Path
    board: Board
    parts: tuple[Part, ...]

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
    check_names(board, str(file))
    unclear = ambiguous(board)
    slots = _slots(board)
    parts = []
    for part in board.boards:
        needs = Needs(part, file.parent, data_dir, supplies, unclear.get(dataset_name(part), frozenset()))
        parts.append(_part(needs, slots))
    return Examined(file, board, tuple(parts))


def check_names(board: Board, source: str) -> None:
    """Raise, with the place, for a name that nothing has; what stands behind the names is not loaded, scenarios apart."""
    from harness import losses, models
    from harness.distilled import distillers, readers
    from harness.running.opening import check_scenarios

    def known(registry: Registry[object], spec: Spec, place: str, check_options: bool = False) -> None:
        with at(place):
            described = registry.describe(spec.name)
            if check_options and described.origin == "giftbench":
                check_known(registry.kind, spec.name, described.parameters, spec.options)

    check_scenarios(board, source)
    for i, part in enumerate(board.boards):
        place = f"{source}: parts[{i}]" if board.parts else source
        known(datasets.registry, part.dataset, f"{place}: dataset", True)
        for model in (part.model, *part.teacher.models):
            known(models.registry, model, f"{place}: model")
        for j, spec in enumerate(part.sets):
            if not spec.file:
                registry = distillers if spec.method else readers.registry
                known(registry, Spec(name=spec.method or spec.format, options=spec.options), f"{place}: sets[{j}]", True)
        for scenario in part.scenarios:
            for loss in scenario.losses or part.losses:
                if loss.name != "native":
                    known(losses.registry, loss, f"{place}: losses")


def _slots(board: Board) -> dict[str, set[str]]:
    """Return the datasets that sets of each slot are wanted of."""
    slots: dict[str, set[str]] = {}
    for part in board.boards:
        for spec in part.sets:
            slots.setdefault(spec.supplied_as, set()).add(dataset_name(part))
    return slots


def _part(needs: Needs, slots: dict[str, set[str]]) -> Part:
    teachers, digests = _teachers(needs) if _asks_teacher(needs.board) else ([], set())
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
        return Finding("dataset", (str(spec),), "downloaded by the run", True, more=f", or: {bring}")
    return Finding("dataset", (str(spec),), text, False, more=f": {bring}" if bring else "")


def _sets(needs: Needs, spec: SetSpec, slots: dict[str, set[str]], teachers: set[str]) -> Iterator[Finding]:
    what = (spec.name, dataset_name(needs.board), spec.distilled_on)
    if spec.file:
        path = needs.folder / Path(spec.file).expanduser()
        yield Finding("set", what, "here" if path.is_file() else "no such file", path.is_file(), slot=str(path))
    elif spec.method:
        for ipc in spec.ipc:
            kept = _made(needs, spec, ipc, teachers)
            yield Finding("set", what, f"made: {kept}" if kept else f"made by the run: {spec.method}", True, ipc)
    else:
        slot = "/".join(word for word in (spec.supplied_as, *what[1:]) if word)
        option = _option(needs, spec, slots)
        for number, supplied, missing in needs.wanted(spec):
            ipc, path, given = number or 0, needs.place(spec, number, supplied), supplied.text if supplied else ""
            if missing:
                state = "given, but of which network?" if supplied else "not given"
                yield Finding("set", what, state, False, ipc, slot, option, given)
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
    stored = all(spec.format in LABELLED for spec in board.sets)
    return any(spec.method for spec in board.sets) or bool(labels & {"teacher", "fixed"}) or ("auto" in labels and not stored)


def _teachers(needs: Needs) -> tuple[list[Finding], set[str]]:
    """Return a finding a network, and the digests of those that are there as artefacts."""
    findings, digests = [], set()
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
        kept = _trained(needs, spec, model)
        if path is not None:
            findings.append(Finding("teacher", what, str(path), True, given=given, more=expected))
        elif spec.required:
            findings.append(Finding("teacher", what, f"no {first}", False, option=option, more=more))
        elif kept is not None:
            digests.add(str(kept[1]["digest"]))
            findings.append(Finding("teacher", what, f"trained, {kept[1]['accuracy']:.1f} %: {kept[0]}", True))
        else:
            state = "trained by the run" + (f", for want of {first}" if first else "")
            findings.append(Finding("teacher", what, state, True, more=more))
    return findings, digests


def _made(needs: Needs, spec: SetSpec, ipc: int, teachers: set[str]) -> Path | None:
    """Return the file of a distiller's set that a run would find."""
    from harness.distilled import distillers

    shown = distillers.describe(spec.method).parameters
    defaults = parse(f"{spec.method}({', '.join(f'{k}={v}' for k, v in shown.items())})")[1]
    options = defaults | {k: like(defaults.get(k), v) for k, v in spec.options.items()}
    method = {"name": spec.method, "options": options}
    for path, facts in _kept(needs.folder, "set"):
        provenance = facts.get("provenance", {})
        recipe = {"method": method, "ipc": ipc, "seed": spec.seed, "dataset": provenance.get("dataset_digest")}
        same = _is(needs, facts.get("dataset")) and provenance.get("recipe") == digest_json(recipe)
        if same and set(provenance.get("teacher_digest") or ()) <= teachers:
            return path
    return None


def _trained(needs: Needs, spec: TeacherSpec, model: Spec) -> tuple[Path, dict[str, Any]] | None:
    """Return the file of a teacher that a run would find, and what it says of itself."""

    def same(given: Spec, recipe_part: dict[str, Any]) -> bool:
        return recipe_part["name"] == given.name and all(recipe_part["options"].get(k) == v for k, v in given.options.items())

    for path, facts in _kept(needs.folder, "teacher"):
        try:
            recipe, changed = facts["recipe"], parse(facts["model"])[1]
            plain = all(recipe[key] == getattr(spec, key) for key in ("batch_size", "augmentation", "precision", "seed"))
            parts = same(model, recipe["model"]) and set(changed) <= set(model.options)
            steps = same(spec.optimizer, recipe["optimizer"]) and same(spec.schedule, recipe["schedule"])
            if _is(needs, recipe["dataset"]) and plain and parts and steps and spec.epochs in (0, recipe["epochs"]):
                return path, {"accuracy": float(facts["accuracy"]), "digest": facts["digest"]}
        except (LookupError, TypeError, ValueError):  # a checkpoint's, or of another kind altogether
            continue
    return None


def _is(needs: Needs, name: object) -> bool:
    """Return whether a file's dataset is the board's."""
    spec = needs.board.dataset
    kind, colon, path = spec.name.partition(":")
    return name in (spec.name, str(spec), f"{kind}{colon}{Path(path).name}")


def _kept(folder: Path, kind: str) -> list[tuple[Path, dict[str, Any]]]:
    """Return the artefacts of a kind beside a board, from its folder, or in the cache, and what they say of themselves."""
    beside = [(path.relative_to(folder), facts) for path, facts in headers(folder / "artefacts", kind)]
    return [*beside, *headers(home() / "artefacts", kind)]


def headers(folder: Path, kind: str) -> tuple[tuple[Path, dict[str, Any]], ...]:
    """Return the files `KIND-*.safetensors` of a folder with their facts; a broken one is passed over."""
    files = []
    for path in sorted(folder.glob(f"{kind}-*.safetensors")):
        try:
            facts = json.loads(safetensors.read_header(path).metadata[kind])
            if isinstance(facts, dict):
                files.append((path, facts))
        except (DataError, ValueError, LookupError, RecursionError):
            continue
    return tuple(files)
