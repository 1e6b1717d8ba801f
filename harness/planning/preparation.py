"""Makes what a board's trials rest on, or finds it: dataset, teacher, distilled sets."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness import datasets, losses, models
from harness.boards.board import Board, SetSpec, TeacherSpec
from harness.core.code import Code
from harness.core.digests import digest_json
from harness.core.errors import DataError, NotAtHand, at
from harness.core.resolved import Resolved
from harness.core.spec import Spec
from harness.datasets.cards import Card, known
from harness.distilled import distillers, readers
from harness.distilled.files import SetFile, set_blueprint
from harness.distilled.order import WAYS, Order
from harness.distilled.set import DistilledSet
from harness.distilled.source import Source
from harness.planning import fetching
from harness.planning.artefacts import Artefacts
from harness.planning.needs import Needs
from harness.planning.supplies import Supplies
from harness.training.devices import arithmetic, resolve_device

if TYPE_CHECKING:
    from harness.datasets.base import Dataset
    from harness.distilled import Distil
    from harness.teachers.files import TeacherFile
    from harness.teachers.teacher import Teacher

#: What to do about a set that a board names, whose classes another order fits far better.
REMEDY = 'State it by the board\'s [[sets]] classes = "…" (names, numbers, wnid or a file), or take the set as it is by --force'
Progress = Callable[[str, int, int], None]  # what is being made, steps done, steps in all
Say = Callable[[str], None]


@dataclass(frozen=True)
class PreparedSet:
    """A distilled set that lies ready: how the board calls it, where it is, its native loss, what is its own of the protocol."""

    name: str
    file: SetFile
    native: Spec | None
    distilled_on: str = ""
    code: Code = field(default_factory=Code)
    protocol: Mapping[str, object] = field(default_factory=dict)

    @cached_property
    def native_label(self) -> str:
        """How tables call the native loss; empty when the set states none."""
        return losses.registry.label(self.native) if self.native is not None else ""

    @property
    def has_soft(self) -> bool:
        return "soft_kind" in self.file.metadata or "replay_batch" in self.file.metadata

    @property
    def ruled_out(self) -> str:
        """The fill (`harness.training.replay.Rule`) by which stored labels give some classes no share; "" where none has."""
        fill = self.file.metadata.get("replay_rule", {}).get("fill", "")
        return fill if fill in ("mr", "ms") else ""


@dataclass
class Preparation:
    """Makes what the trials of a board, or of a part of one, rest on: dataset, teacher, distilled sets.

    Each is made at most once, the teacher only on demand. `supplies` are the paths that the command line brings, `ambiguous` the
    slots for which a path alone does not say which network its set was distilled on; `say` is told what was left out or assumed.
    `force` takes sets whose classes another order fits far better; `warnings` are what the checks warn of, by a set's digest,
    and `stored` the bytes of sets that are more than 8-bit pixels and classes made here (`SetFile.stored_bytes`).
    """

    board: Board
    source: str
    artefacts: Artefacts
    data_dir: str | Path | None = None
    device: str = "auto"
    progress: Progress = lambda what, done, total: None
    folder: Path = Path()
    supplies: Supplies = field(default_factory=Supplies)
    ambiguous: frozenset[str] = frozenset()
    say: Say = lambda line: None
    left_out: list[str] = field(default_factory=list)
    force: bool = False
    warnings: dict[str, tuple[str, ...]] = field(default_factory=dict)
    stored: dict[str, dict[str, int]] = field(default_factory=dict)
    _kept: dict[str, Any] = field(default_factory=dict)

    @property
    def resolved_device(self) -> str:
        return resolve_device(self.device)

    @property
    def needs(self) -> Needs:
        return Needs(self.board, self.folder, self.data_dir, self.supplies, self.ambiguous)

    @property
    def _ships(self) -> bool:
        """Whether the dataset is one that ships: the shape of its images is known without its files, when records are priced."""
        spec = datasets.registry.as_written(self.board.dataset)
        return spec is not None and known(spec) is not None

    @property
    def dataset(self) -> Dataset:
        if "dataset" not in self._kept:
            with at(f"{self.source}: dataset"):
                self._kept["dataset"] = dataset = datasets.load(self.board.dataset, self.data_dir)
            for line in dataset.notes:
                self.say(line)
        kept: Dataset = self._kept["dataset"]
        return kept

    def teacher_files(self) -> list[TeacherFile]:
        """Return the teacher's networks on disk, trained first when nobody has them."""
        if "teachers" not in self._kept:
            from harness import teachers

            spec = self.board.teacher
            with at(f"{self.source}: teacher"):
                blueprints = self._teacher_blueprints()
                networks = [
                    self.artefacts.teacher(blueprint, self._maker(i, blueprint, path))
                    for i, (blueprint, path) in enumerate(blueprints)
                ]
                for file, (_, path), expect in zip(networks, blueprints, spec.expect, strict=False):
                    if path is not None:  # made in an earlier run, perhaps, when less was expected
                        teachers.confirm(file, path, self.dataset, self.resolved_device, expect, spec.tolerance)
            self._kept["teachers"] = networks
        files: list[TeacherFile] = self._kept["teachers"]
        return files

    def trial_teacher(self) -> tuple[str, ...]:
        """Return what a trial says of its teacher: the networks' digests, and how their logits are averaged."""
        if "trial_teacher" not in self._kept:
            from harness import teachers

            self._kept["trial_teacher"] = teachers.trial_digests(self.teacher_files(), self.board.teacher.average)
        digests: tuple[str, ...] = self._kept["trial_teacher"]
        return digests

    def teacher_code(self) -> Code:
        """Return the code that the teacher's networks rest on."""
        from harness import teachers

        code = Code()
        for file in self.teacher_files():
            code |= teachers.code_of(file.blueprint)
        return code

    def _teacher_blueprints(self) -> list[tuple[dict[str, Any], Path | None]]:
        """Return each network's blueprint, and its checkpoint when it has one."""
        from harness import teachers

        spec = self.board.teacher_on(self.dataset.name)
        trained = teachers.blueprints(spec, self.dataset)
        blueprints: list[tuple[dict[str, Any], Path | None]] = []
        for i, model in enumerate(spec.models):
            path = self.needs.checkpoint(i)
            if path is not None:
                path = fetching.checkpoint(path, self.say)
                blueprints.append((teachers.checkpoint_blueprint(path, model, self.dataset, spec), path))
            elif spec.required:
                names = " or ".join(spec.checkpoints[i])
                raise NotAtHand(
                    f"no checkpoint of {model} for {self.dataset.name}: put {names} into the data folder's teachers/, "
                    f"or give --teacher {model.name}/{self.dataset.name}=PATH"
                )
            else:
                if spec.checkpoints:
                    self.say(f"teacher {model} of {self.dataset.name}: no checkpoint at hand, so it is trained here")
                blueprints.append((trained[i], None))
        return blueprints

    def _maker(self, index: int, blueprint: dict[str, Any], checkpoint: Path | None) -> Callable[[Path], TeacherFile]:
        from harness import teachers

        if checkpoint is None:
            return self._train(blueprint)
        spec = self.board.teacher
        expect = spec.expect[index] if spec.expect else None

        def make(folder: Path) -> TeacherFile:
            what = f"teacher {models.registry.label(blueprint['model'])} of {checkpoint.name}"
            self.progress(what, 0, 1)
            file = teachers.convert(blueprint, checkpoint, self.dataset, folder, self.resolved_device, expect, spec.tolerance)
            self.progress(what, 1, 1)
            self.say(f"{what}: {file.accuracy:.2f} % on the test split" + (f", {expect:g} expected" if expect else ""))
            for note in file.notes:
                self.say(f"{what}: {note}")
            return file

        return make

    def _train(self, blueprint: dict[str, Any]) -> Callable[[Path], TeacherFile]:
        from harness import teachers

        what, done = f"teacher {models.registry.label(blueprint['model'])} on {blueprint['dataset']}", 0

        def tick() -> None:
            nonlocal done
            done += 1
            self.progress(what, done, blueprint["epochs"])

        def make(folder: Path) -> TeacherFile:
            self.progress(what, 0, blueprint["epochs"])
            return teachers.train(blueprint, self.dataset, folder, self.resolved_device, tick)

        return make

    def teacher_digests(self) -> list[str]:
        return [file.digest for file in self.teacher_files()]

    def teacher(self) -> Teacher:
        """Return the teacher, loaded on the device."""
        from harness import teachers

        if "teacher" not in self._kept:
            average = self.board.teacher.average
            self._kept["teacher"] = teachers.load(self.teacher_files(), self.dataset, self.resolved_device, average)
        teacher: Teacher = self._kept["teacher"]
        return teacher

    def sets(self) -> list[PreparedSet]:
        """Return every distilled set of the board, made first when nobody has it."""
        if "sets" not in self._kept:
            self._kept["sets"] = [
                prepared for i, spec in enumerate(self.board.sets) for prepared in self._prepare(spec, f"sets[{i}]")
            ]
        sets: list[PreparedSet] = self._kept["sets"]
        return sets

    def rehearsal(self) -> Rehearsal:
        """Return a preparation of the same board that makes nothing; published sets are read all the same: mistakes lie there."""
        own = {"_kept": {"dataset": self.dataset}, "left_out": [], "warnings": {}, "stored": {}}
        return Rehearsal(**{f.name: getattr(self, f.name) for f in fields(self)} | own)

    def survey(self) -> Survey:
        """Return a preparation of the same board that makes nothing and finds what is at hand; published sets are read too."""
        own = {"_kept": {"dataset": self.dataset}, "left_out": [], "warnings": {}, "stored": {}}
        return Survey(**{f.name: getattr(self, f.name) for f in fields(self)} | own)

    def use(self, distilled: DistilledSet) -> None:
        """Take a set that lies in memory as the only one."""
        distilled.check_fits(self.dataset.name, self.dataset.shape, len(self.dataset.classes))
        file = SetFile(Path("memory"), distilled.digest, len(distilled), distilled.metadata)
        self._check(file, lambda: distilled, "", "State its order in its provenance, or give force=True")
        self._kept["sets"] = [self._prepared(distilled.method, file, None)]
        if not distilled.plain:
            names = ("image_bytes", "pixel_bytes", "label_bytes")
            self.stored[file.digest] = {name: getattr(distilled, name) for name in names}

    def _prepare(self, spec: SetSpec, place: str) -> Iterator[PreparedSet]:
        native = spec.native
        with at(f"{self.source}: {place}"):
            if native is not None:
                losses.registry.resolve(native)
            if spec.file:
                yield self._from_file(spec, native)
                return
            if spec.format:
                yield from self._published(spec, native)
                return
            resolved = distillers.resolve(Spec(name=spec.method, options=spec.options))
            for ipc in spec.ipc:
                code = Code.of((distillers, resolved.spec))
                blueprint = set_blueprint(resolved.spec, ipc, spec.seed, self.dataset.digest, code)
                file = self._made(spec, resolved, ipc, blueprint)
                taught = file.metadata.get("provenance", {}).get("teacher_digest") is not None
                code |= self.teacher_code() if taught else Code()
                yield self._prepared(spec.name, file, native, spec, code)

    def _made(self, spec: SetSpec, resolved: Resolved[Distil], ipc: int, blueprint: dict[str, Any]) -> SetFile:
        file = self.artefacts.distilled(blueprint, self.teacher_digests, self._distil(resolved, ipc, spec))
        if distillers.origin(resolved.name) != "giftbench":  # those that ship take images and labels from the dataset itself
            self._check(file, partial(DistilledSet.load, file.path), "")
        return file

    def _distil(self, method: Resolved[Distil], ipc: int, spec: SetSpec) -> Callable[[], DistilledSet]:
        def make() -> DistilledSet:
            what = f"{spec.name} of {self.dataset.name} at IPC {ipc}"
            self.progress(what, 0, 1)
            source = Source(self.dataset, ipc, spec.seed, self.resolved_device, self.teacher)
            with arithmetic(self.resolved_device, "float32"):  # the same set, whatever this process has computed before
                distilled = method.create()(source)
            if not isinstance(distilled, DistilledSet):
                raise DataError(f"distiller {method.name!r} returned {type(distilled).__name__}, not a DistilledSet")
            self.progress(what, 1, 1)
            return distilled

        return make

    def _from_file(self, spec: SetSpec, native: Spec | None) -> PreparedSet:
        path = self.folder / Path(spec.file).expanduser()
        loaded = DistilledSet.load(path)
        with at(str(path)):
            loaded.check_fits(self.dataset.name, self.dataset.shape, len(self.dataset.classes))
            order = self._order(spec)
            if order is not None:
                loaded = loaded.renumbered(order.numbering(self._card))
            file = self.artefacts.add(loaded)
            self._check(file, lambda: loaded, spec.classes)
        return self._prepared(spec.title or loaded.method, file, native, spec)

    def _published(self, spec: SetSpec, native: Spec | None) -> Iterator[PreparedSet]:
        """Yield the sets of a published format that are at hand; say what was left out, and why."""
        from harness.planning import published_sets

        for ipc, supplied, missing in self.needs.wanted(spec):
            if missing:
                self._left_out(missing)
                continue
            what, path = self.needs.called(spec, ipc), self.needs.place(spec, ipc, supplied)
            reader = Spec(name=spec.format, options=spec.options)
            try:
                file = published_sets.kept(reader, path, self._card, ipc, self.artefacts, self.say, self._order(spec))
            except DataError as error:
                if supplied is None:
                    raise
                self._left_out(f"{what}: {error}")
                continue
            with at(str(path)):
                self._check(file, partial(DistilledSet.load, file.path), spec.classes)
            yield self._prepared(spec.name, file, native, spec, Code.of((readers.registry, reader)))

    @cached_property
    def _card(self) -> Card:
        data = self.dataset
        return Card(data.name, data.shape, len(data.classes), data.mean, data.std, data.classes)

    def _order(self, spec: SetSpec) -> Order | None:
        """Return the order of a set's classes that the board states; None for none."""
        if not spec.classes:
            return None
        return Order.of(spec.classes if spec.classes in WAYS else str(self.folder / Path(spec.classes).expanduser()))

    def _check(self, file: SetFile, load: Callable[[], DistilledSet], order: str, remedy: str = REMEDY) -> None:
        """Check a set that enters, tell what looks wrong, and keep it. Raises DataError when another order fits far better."""
        from harness.planning import checking

        checked = checking.check(file.digest, load, self._card, self.dataset)
        what = f"{file.metadata['method']} of {self.dataset.name}"
        stated = order or str(file.metadata["provenance"].get("order", ""))
        checked.accept(what, "forced" if self.force else stated, remedy)
        self.warnings[file.digest] = checked.warnings
        for line in checked.warnings:
            self.say(f"warning: {what}: {line}")

    def not_supplied(self, spec: SetSpec) -> list[str]:
        """Return, a line each, which IPCs of a published set cannot be read for want of a path; no file is looked at."""
        return [missing for _, _, missing in self.needs.wanted(spec) if missing]

    def _left_out(self, line: str) -> None:
        self.left_out.append(line)
        self.say(f"left out: {line}")

    def _prepared(
        self, name: str, file: SetFile, native: Spec | None, spec: SetSpec | None = None, code: Code | None = None
    ) -> PreparedSet:
        self.stored[file.digest] = file.stored_bytes(plain=not self._ships)
        if native is None and file.metadata.get("native_loss"):
            native = Spec.model_validate(file.metadata["native_loss"])
        on, protocol = (spec.distilled_on, spec.protocol) if spec is not None else ("", {})
        return PreparedSet(name, file, native, on, code or Code(), protocol)


class Rehearsal(Preparation):
    """Plans without making anything: stand-ins for teachers and distilled sets, so that mistakes show before any work."""

    def teacher_files(self) -> list[TeacherFile]:
        """Return a stand-in for each network, once its blueprint is known to be sound."""
        if "teachers" not in self._kept:
            from harness import teachers

            with at(f"{self.source}: teacher"):
                blueprints = self._teacher_blueprints()
            networks = [teachers.TeacherFile(Path(), digest_json(blueprint), "", 0.0, blueprint) for blueprint, _ in blueprints]
            self._kept["teachers"] = networks
        files: list[TeacherFile] = self._kept["teachers"]
        return files

    def _made(self, spec: SetSpec, resolved: Resolved[Distil], ipc: int, blueprint: dict[str, Any]) -> SetFile:
        classes = len(self.dataset.classes)
        return SetFile(
            Path(), digest_json([blueprint, self.teacher_digests()]), ipc * classes, {"classes": classes, "method": resolved.name}
        )


@dataclass
class Survey(Rehearsal):
    """Plans with what is at hand beside the board or in the cache; stand-ins serve for the rest, which is named in `absent`."""

    absent: list[str] = field(default_factory=list)

    def teacher_files(self) -> list[TeacherFile]:
        """Return the teacher's networks on disk, or a stand-in for each that nobody has trained or read yet."""
        if "teachers" not in self._kept:
            self._kept["teachers"] = [self._at_hand(network) for network in super().teacher_files()]
        files: list[TeacherFile] = self._kept["teachers"]
        return files

    def _at_hand(self, network: TeacherFile) -> TeacherFile:
        key = digest_json(network.blueprint)
        file = self.artefacts.known_teacher(lambda _: key)
        if file is None:
            self.absent.append(f"teacher {models.registry.label(network.blueprint['model'])} of {self.dataset.name}")
        return file or network

    def networks(self) -> dict[tuple[str, ...], list[Spec]]:
        """Return the models of the teacher, by what trials say of it; none where no trial has been planned that takes one."""
        if "trial_teacher" not in self._kept:
            return {}
        return {self.trial_teacher(): [Spec.model_validate(file.blueprint["model"]) for file in self.teacher_files()]}

    def _made(self, spec: SetSpec, resolved: Resolved[Distil], ipc: int, blueprint: dict[str, Any]) -> SetFile:
        key = digest_json(blueprint)
        file = self.artefacts.known_set(lambda _: key, self.teacher_digests)
        if file is not None:
            return file
        self.absent.append(f"{spec.name} of {self.dataset.name} at IPC {ipc}")
        classes = len(self.dataset.classes)
        return SetFile(Path(), key, ipc * classes, {"classes": classes, "method": resolved.name})


def distil(
    dataset: str, method: str, ipc: int, teacher: str, seed: int, device: str, data_dir: str | Path | None, progress: Progress
) -> DistilledSet:
    """Make a distilled set outside of any board; the teacher, and the set, are kept in the user's cache."""
    from harness.core.home import home

    named = Spec.model_validate(method)
    distillers.resolve(named)
    sets = (SetSpec(method=named.name, ipc=(ipc,), seed=seed, **named.options),)
    board = Board.model_construct(
        dataset=Spec.model_validate(dataset), teacher=TeacherSpec.model_validate(teacher), sets=sets, scenarios=()
    )
    folder = home() / "artefacts"
    preparation = Preparation(board, "distill", Artefacts(folder, folder), data_dir, device, progress)
    return DistilledSet.load(preparation.sets()[0].file.path)
