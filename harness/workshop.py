"""Makes what a board's trials rest on, or finds it: dataset, teacher, distilled sets."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness import datasets, losses, models
from harness.artefacts import Artefacts, SetFile
from harness.board import Board, SetSpec, TeacherSpec
from harness.digests import digest_json
from harness.distilled import distillers
from harness.distilled.set import DistilledSet
from harness.distilled.source import Source
from harness.errors import DataError, at
from harness.spec import Spec
from harness.workbench import resolve_device

if TYPE_CHECKING:
    from harness.datasets.base import Dataset
    from harness.teachers import Teacher, TeacherFile

Progress = Callable[[str, int, int], None]  # what is being made, steps done, steps in all


@dataclass(frozen=True)
class PreparedSet:
    """A distilled set that lies ready: how the board calls it, where it is, its native loss."""

    name: str
    file: SetFile
    native: Spec | None

    @property
    def has_soft(self) -> bool:
        return "soft_kind" in self.file.metadata


@dataclass
class Workshop:
    """Makes what a board's trials rest on: dataset, teacher, distilled sets. Each at most once, the teacher only on demand."""

    board: Board
    source: str
    artefacts: Artefacts
    data_dir: str | Path | None = None
    device: str = "auto"
    progress: Progress = lambda what, done, total: None
    folder: Path = Path()
    _kept: dict[str, Any] = field(default_factory=dict)

    @property
    def resolved_device(self) -> str:
        return resolve_device(self.device)

    @property
    def dataset(self) -> Dataset:
        if "dataset" not in self._kept:
            with at(f"{self.source}: dataset"):
                self._kept["dataset"] = datasets.load(self.board.dataset, self.data_dir)
        found: Dataset = self._kept["dataset"]
        return found

    def teacher_files(self) -> list[TeacherFile]:
        """Return the teacher's networks on disk, trained first when nobody has them."""
        from harness import teachers

        if "teachers" not in self._kept:
            with at(f"{self.source}: teacher"):
                recipes = teachers.recipes(self.board.teacher, self.dataset)
            self._kept["teachers"] = [self.artefacts.teacher(recipe, self._train(recipe)) for recipe in recipes]
        found: list[TeacherFile] = self._kept["teachers"]
        return found

    def _train(self, recipe: dict[str, Any]) -> Callable[[Path], TeacherFile]:
        from harness import teachers

        what, done = f"teacher {models.registry.label(recipe['model'])} on {recipe['dataset']}", 0

        def tick() -> None:
            nonlocal done
            done += 1
            self.progress(what, done, recipe["epochs"])

        def make(folder: Path) -> TeacherFile:
            self.progress(what, 0, recipe["epochs"])
            return teachers.train(recipe, self.dataset, folder, self.resolved_device, tick)

        return make

    def teacher_digests(self) -> list[str]:
        return [file.digest for file in self.teacher_files()]

    def teacher(self) -> Teacher:
        """Return the teacher, loaded on the device."""
        from harness import teachers

        if "teacher" not in self._kept:
            self._kept["teacher"] = teachers.load(self.teacher_files(), self.dataset, self.resolved_device)
        found: Teacher = self._kept["teacher"]
        return found

    def sets(self) -> list[PreparedSet]:
        """Return every distilled set of the board, made first when nobody has it."""
        if "sets" not in self._kept:
            self._kept["sets"] = [made for i, spec in enumerate(self.board.sets) for made in self._prepare(spec, f"sets[{i}]")]
        found: list[PreparedSet] = self._kept["sets"]
        return found

    def rehearsal(self) -> Rehearsal:
        """Return a workshop for the same board that makes nothing."""
        kept = {"dataset": self.dataset}
        return Rehearsal(self.board, self.source, self.artefacts, self.data_dir, self.device, self.progress, self.folder, kept)

    def use(self, distilled: DistilledSet) -> None:
        """Take a set that lies in memory as the only one."""
        distilled.check_fits(self.dataset.name, self.dataset.shape, len(self.dataset.classes))
        file = SetFile(Path("memory"), distilled.digest, len(distilled), distilled.metadata)
        self._kept["sets"] = [self._prepared(distilled.method, file, None)]

    def _prepare(self, spec: SetSpec, place: str) -> Iterator[PreparedSet]:
        native = spec.native
        with at(f"{self.source}: {place}"):
            if native is not None:
                losses.registry.resolve(native)
            if spec.file:
                yield self._from_file(spec, native)
                return
            resolved = distillers.resolve(Spec(name=spec.method, options=spec.options))
            for ipc in spec.ipc:
                recipe = {
                    "method": resolved.model_dump(),
                    "ipc": ipc,
                    "seed": spec.seed,
                    "dataset": self.dataset.digest,
                }
                yield self._prepared(spec.name, self._made(spec, resolved, ipc, recipe), native)

    def _made(self, spec: SetSpec, resolved: Spec, ipc: int, recipe: dict[str, Any]) -> SetFile:
        return self.artefacts.distilled(recipe, self.teacher_digests, self._distil(resolved, ipc, spec))

    def _distil(self, method: Spec, ipc: int, spec: SetSpec) -> Callable[[], DistilledSet]:
        def make() -> DistilledSet:
            what = f"{spec.name} of {self.dataset.name} at IPC {ipc}"
            self.progress(what, 0, 1)
            source = Source(self.dataset, ipc, spec.seed, self.resolved_device, self.teacher)
            made = distillers.create(method)(source)
            if not isinstance(made, DistilledSet):
                raise DataError(f"distiller {method.name!r} returned {type(made).__name__}, not a DistilledSet")
            self.progress(what, 1, 1)
            return made

        return make

    def _from_file(self, spec: SetSpec, native: Spec | None) -> PreparedSet:
        path = self.folder / Path(spec.file).expanduser()
        loaded = DistilledSet.load(path)
        with at(str(path)):
            loaded.check_fits(self.dataset.name, self.dataset.shape, len(self.dataset.classes))
        return self._prepared(spec.title or loaded.method, self.artefacts.add(loaded), native)

    def _prepared(self, name: str, file: SetFile, native: Spec | None) -> PreparedSet:
        if native is None and file.metadata.get("native_loss"):
            native = Spec.model_validate(file.metadata["native_loss"])
        return PreparedSet(name, file, native)


class Rehearsal(Workshop):
    """Plans without making anything: stand-ins for teachers and distilled sets, so that mistakes show before any work."""

    def teacher_files(self) -> list[TeacherFile]:
        """Return a stand-in for each network, once its recipe is known to be sound."""
        from harness import teachers

        with at(f"{self.source}: teacher"):
            recipes = teachers.recipes(self.board.teacher, self.dataset)
        return [teachers.TeacherFile(Path(), digest_json(recipe), "", 0.0, recipe) for recipe in recipes]

    def _made(self, spec: SetSpec, resolved: Spec, ipc: int, recipe: dict[str, Any]) -> SetFile:
        classes = len(self.dataset.classes)
        return SetFile(
            Path(), digest_json([recipe, self.teacher_digests()]), ipc * classes, {"classes": classes, "method": resolved.name}
        )


def distil(
    dataset: str, method: str, ipc: int, teacher: str, seed: int, device: str, data_dir: str | Path | None, progress: Progress
) -> DistilledSet:
    """Make a distilled set outside of any board; the teacher, and the set, are kept in the user's cache."""
    from harness.home import home

    named = Spec.model_validate(method)
    distillers.resolve(named)
    sets = (SetSpec(method=named.name, ipc=(ipc,), seed=seed, **named.options),)
    board = Board.model_construct(
        dataset=Spec.model_validate(dataset), teacher=TeacherSpec.model_validate(teacher), sets=sets, scenarios=()
    )
    folder = home() / "artefacts"
    workshop = Workshop(board, "distill", Artefacts(folder, folder), data_dir, device, progress)
    return DistilledSet.load(workshop.sets()[0].file.path)
