"""What a trial runs with: device, dataset, distilled set, teacher, student; what is loaded is kept."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, TypeVar

import torch
from torch import Tensor, nn

from harness import datasets, losses, models, optimizers, teachers
from harness.augmentation.words import BORDER
from harness.boards.native import STATISTICS
from harness.boards.protocol import DATASET, Precision
from harness.boards.trial import Trial
from harness.core import seeds
from harness.core.errors import DataError
from harness.core.resolved import resolved_from
from harness.datasets import whitening
from harness.datasets.base import Dataset, normalise
from harness.distilled.set import DistilledSet
from harness.losses.targets import Loss, Targets
from harness.models.fitting import Renormalised
from harness.planning.artefacts import Artefacts
from harness.running import grouping, surroundings
from harness.running.costs import Costs, one_training
from harness.training.batches import batch_sizes
from harness.training.captured_tests import CapturedTests
from harness.training.checkpoints import Checkpoint
from harness.training.compiling import Compiler, Compiling, pays
from harness.training.convolutions import Convolutions, made_fast
from harness.training.devices import on_device, resolve_device
from harness.training.evaluation import Tests, evaluate, hits
from harness.training.in_step import Part
from harness.training.kept import KeptLabels
from harness.training.label_files import LabelFiles
from harness.training.overlap import Graphs, signature
from harness.training.pilots import Pilots
from harness.training.trainer import Trainer
from harness.training.values import Fit, Material, Member, Recipe

#: The share of a trial's work that asking its teacher has to be for what it says to be kept in a file. It is 0.34 for a ResNet-18
#: and a ConvNet-3 of width 64 at 32 px, where a training that reads takes 0.56 of one that asks, and keeping costs nothing that
#: can be measured; 0.2 for a ConvNet-3 and another one, where bundles share nearly all of it already.
WORTH_A_FILE = 0.3
#: Kinds of plugins that a teacher's answers do not depend on.
UNASKED = ("loss ", "optimizer ", "schedule ", "scenario ")


T = TypeVar("T")


class Workbench:
    """Everything that `Scenario.run` needs. Made once a worker; data move to the device once.

    Args:
        device: `auto` (CUDA when there is one, else the CPU), `cpu`, `cuda` or `cuda:N`.
        artefacts: where distilled sets and teachers lie, by digest.
        data_dir: folder of the dataset's files.
        sets: distilled sets that lie in memory instead, by digest.
        stack: how trainings are made together, as `harness.running.grouping.group` takes it.
        capture: whether steps on a GPU are captured as CUDA graphs.
        checkpoints: the folder that long trials are kept in while they last, or None.
        deterministic: whether trials are held to operations that repeat themselves (`harness.training.devices.deterministic`).
        labels: the folder that soft labels are kept in where asking for them is a good part of a trial's work, for other trials
            that ask the same; None where each asks for itself.
        compiling: which students' passes are compiled on the CPU: none, those whose training is long enough to pay for it, or
            all that are trained alone.
        keep_students: whether `students` holds the network of each trial, by its id; they stay on the device.
        convolutions: how students on the CPU make theirs in training; `fast` holds the ids of trials whose students have some
            that are not made as torch makes them.
    """

    def __init__(
        self,
        device: str = "auto",
        artefacts: Artefacts | None = None,
        data_dir: str | Path | None = None,
        sets: Mapping[str, DistilledSet] | None = None,
        stack: int = 0,
        capture: bool = True,
        checkpoints: Path | None = None,
        deterministic: bool = False,
        compiling: Compiling = "never",
        keep_students: bool = False,
        labels: Path | None = None,
        convolutions: Convolutions = "fast",
    ) -> None:
        self.device = resolve_device(device)
        self.artefacts = artefacts
        self.data_dir = data_dir
        self.stack = stack
        pilots = Pilots(torch.cuda.get_device_name(self.device)) if capture and self.device != "cpu" else None
        self._trainer = Trainer(self.device, stack, capture, pilots)
        self.tests: Tests = CapturedTests() if capture and self.device != "cpu" else hits
        self._sets = dict(sets or {})
        self._kept: dict[Any, Any] = {}
        self.deterministic = deterministic
        self._compiling = compiling
        self._compiler = Compiler()
        self._checkpoints = checkpoints
        self._trainings: Counter[str] = Counter()
        self._convolutions = convolutions
        self.fast: set[str] = set()
        self._keep_students = keep_students
        self.students: dict[str, nn.Module] = {}
        self._labels = KeptLabels(files=None if labels is None else LabelFiles(labels))
        self._asks: Mapping[str, Hashable] = {}
        self._in_turn: set[Hashable] = set()

    @property
    def graphs(self) -> Graphs | None:
        """Where captured steps are kept, one kind at a time; None where nothing is captured, as on the CPU."""
        return self._trainer.graphs

    def _once(self, key: Hashable, make: Callable[[], T]) -> T:
        if key not in self._kept:
            self._kept[key] = make()
        kept: T = self._kept[key]
        return kept

    def dataset(self, trial: Trial) -> Dataset:
        """Return the trial's dataset. Raises DataError when the files here are not the ones that the trial names."""
        name, digest = trial.dataset.name, trial.dataset.digest
        dataset: Dataset = self._once(("dataset", name), lambda: datasets.load(name, self.data_dir))
        if dataset.digest != digest:
            raise DataError(f"dataset {dataset.name} has digest {dataset.digest[:12]}, the trial names {digest[:12]}")
        return dataset

    def distilled(self, trial: Trial) -> DistilledSet:
        """Return the trial's distilled set."""

        def load() -> DistilledSet:
            if trial.distilled in self._sets:
                return self._sets[trial.distilled]
            if self.artefacts is None:
                raise DataError(f"no distilled set {trial.distilled[:12]} at hand")
            return DistilledSet.load(self.artefacts.find("set", trial.distilled))

        distilled: DistilledSet = self._once(("set", trial.distilled), load)
        return distilled

    def teacher(self, trial: Trial) -> teachers.Teacher | None:
        """Return the trial's teacher on the device, or None when its loss takes none."""
        if not trial.teacher:
            return None

        def load() -> teachers.Teacher:
            if self.artefacts is None:
                raise DataError("no teacher at hand")
            digests, average = teachers.from_trial(trial.teacher)
            files = [teachers.read_header(self.artefacts.find("teacher", digest))[0] for digest in digests]
            return teachers.load(files, self.dataset(trial), self.device, average)

        teacher: teachers.Teacher = self._once(("teacher", trial.teacher), load)
        return teacher

    def soft_labels(self, trial: Trial) -> Callable[[Tensor], Tensor] | None:
        """Return what gives soft labels of an augmented batch, images [B, C, H, W] -> logits [B, C]; None when nothing does.

        On the CPU, where a trial begins together with others that ask the same, what was said in one is read in the others.
        """
        return self._kept_labels([trial])

    def _kept_labels(self, trials: Sequence[Trial]) -> Callable[[Tensor], Tensor] | None:
        """Return what is asked for the soft labels of trials that are made in one pass; what was said and kept is read."""
        first, teacher = trials[0], self._teaching(trials[0])
        if teacher is None or self.device != "cpu" or first.id not in self._asks:
            return teacher
        stream = self._asks[first.id], tuple(sorted({trial.seed for trial in trials}))
        name = self._name(first, stream) if self._worth_a_file(first) else ""
        if not name and (stream not in self._in_turn or len(trials) > 1):
            return teacher
        return self._labels.teacher(stream, teacher, name)

    def _name(self, trial: Trial, stream: Hashable) -> str:
        """Return all that the soft labels of a stream depend on beside the images."""
        sources = {name: plugin.digest for name, plugin in trial.setup.plugins.items() if not name.startswith(UNASKED)}
        making = {**surroundings.making(), "threads": torch.get_num_threads(), "deterministic": self.deterministic}
        return repr((stream, sorted(sources.items()), sorted(making.items())))

    def _worth_a_file(self, trial: Trial) -> bool:
        """Whether soft labels of a trial are kept in files: asking for them is a good part of its work."""
        if self._labels.files is None or self.artefacts is None or not trial.teacher:
            return False

        def share() -> float:
            assert self.artefacts is not None
            costs = Costs.of([trial], [self.dataset(trial)], self.artefacts, self.device, one_training)
            return costs.asked(trial) / costs(trial)

        asked: float = self._once(("share of asking", trial.setup.hash), share)
        return asked >= WORTH_A_FILE

    def _teaching(self, trial: Trial) -> Callable[[Tensor], Tensor] | None:
        """Return what is asked for soft labels, or None.

        The same object for all trials of one teacher and set, which is how captured steps are known again.
        """
        if trial.protocol.labels == "fixed" or not trial.teacher:
            return None
        teacher: Callable[[Tensor], Tensor] | None = self._once(
            ("taught", trial.teacher, trial.distilled, trial.protocol.normalisation), lambda: self._taught(trial)
        )
        return teacher

    def _taught(self, trial: Trial) -> Callable[[Tensor], Tensor] | None:
        """Return the teacher's view of the student's input.

        Whitened images are turned back into normalised ones for it, and those of other statistics into its dataset's.
        """
        teacher = self.teacher(trial)
        if teacher is None:
            return None
        own, come = _statistics(self.dataset(trial), DATASET), _statistics(self.dataset(trial), trial.protocol.normalisation)
        if come != own:
            return Renormalised(_Logits(teacher), come, own).to(self.device)
        if not self.distilled(trial).whitening:
            return teacher.logits
        whitened, dataset = self.whitening(trial), self.dataset(trial)
        return lambda images: teacher.logits(normalise(whitened.invert(images), dataset.mean, dataset.std))

    def whitening(self, trial: Trial) -> whitening.Whitening:
        """Return the ZCA transform of the trial's dataset, on the device."""
        return whitening.whitening(self.dataset(trial), self.device)

    def student(self, trial: Trial) -> nn.Module:
        """Return a fresh student on the device; its weights depend on the trial's seed alone."""
        dataset = self.dataset(trial)
        seeds.begin(trial.seed, "init")
        student: nn.Module = models.build(trial.model, dataset.shape, len(dataset.classes))
        seeds.begin(trial.seed, "dropout")
        student = on_device(student, self.device)
        if self.device == "cpu" and self._convolutions == "fast" and made_fast(student):
            self.fast.add(trial.id)
        if self._keep_students:
            self.students[trial.id] = student
        return student

    def material(self, trial: Trial) -> Material:
        """Return the trial's distilled set on the device."""
        teacher = trial.teacher if trial.protocol.labels == "fixed" else ()
        material: Material = self._once(
            ("material", trial.distilled, trial.protocol.labels, teacher, trial.protocol.normalisation),
            lambda: self._labelled(trial, self._material(trial)),
        )
        return material

    def _labelled(self, trial: Trial, material: Material) -> Material:
        """Return the material with the teacher's logits on each clean image, when the protocol fixes the labels."""
        taught = self._taught(trial) if trial.protocol.labels == "fixed" else None
        if taught is None:
            return material
        parts = torch.split(torch.arange(len(material.labels), device=material.labels.device), 100)
        return replace(material, soft=torch.cat([taught(material.batch(part)) for part in parts]), soft_kind="logits")

    def _material(self, trial: Trial) -> Material:
        distilled, dataset = self.distilled(trial), self.dataset(trial)
        mean, std = _statistics(dataset, trial.protocol.normalisation)
        normalisation: dict[str, tuple[float, ...]] = {} if distilled.normalised else {"mean": mean, "std": std}
        images = distilled.input(mean, std)
        soft = distilled.soft_labels if trial.protocol.labels in ("auto", "stored") else None
        return Material.on_device(
            self.device,
            images,
            distilled.labels,
            soft=None if soft is None else soft.to(self.device),
            soft_kind=distilled.soft_kind,
            factor=distilled.factor,
            replay=distilled.replay if trial.protocol.labels in ("auto", "stored") else None,
            statistics=None if distilled.whitening else (mean, std),
            **normalisation,
        )

    def test_material(self, trial: Trial) -> Material:
        """Return the dataset's test split on the device, whitened when the trial's distilled set is."""
        return self._split(trial, "test")

    def train_material(self, trial: Trial) -> Material:
        """Return the dataset's whole train split on the device, as its test split is: what a set is held against.

        Raises: DataError where it is not here, or too large to be held in memory.
        """
        return self._split(trial, "train")

    def _split(self, trial: Trial, name: Literal["train", "test"]) -> Material:
        dataset, whitened = self.dataset(trial), self.distilled(trial).whitening

        def load() -> Material:
            split = dataset.train if name == "train" else dataset.test
            images, labels = split.images[:], split.labels
            if whitened:
                return Material.on_device(self.device, self.whitening(trial).apply(images.to(self.device)), labels)
            mean, std = _statistics(dataset, trial.protocol.normalisation)
            return Material.on_device(self.device, images, labels, mean=mean, std=std)

        material: Material = self._once((name, trial.dataset.digest, whitened, trial.protocol.normalisation), load)
        return material

    def loss(self, trial: Trial) -> Callable[[Tensor, Targets], Tensor]:
        """Return the trial's loss with its parameters bound."""
        return losses.create(trial.loss)

    def fit(self, student: nn.Module, material: Material, trial: Trial, **changes: Any) -> Fit:
        """Train `student` on `material` by the trial's protocol, testing it on the dataset's test split as the protocol says.

        `changes` replace arguments of `harness.training.loop.fit`: evaluate, teacher, loss, seed.
        """
        given: dict[str, Any] = {"loss": self.loss(trial), "seed": trial.seed, "evaluate": self._tested(trial)} | changes
        teacher = given.pop("teacher") if "teacher" in given else self.soft_labels(trial)
        own = "teacher" not in changes
        kept = self.checkpoint([trial], [given["loss"]]) if changes.keys() <= {"loss", "seed"} else None
        member = Member(student, **given, forward=self._forward(trial, student, material))
        fit = self._trainer.train([member], material, recipe(trial), teacher, capture=own, checkpoint=kept)[0]
        fit.compiled = member.forward is not None
        return fit

    def _forward(self, trial: Trial, student: nn.Module, material: Material) -> Callable[[Tensor], Tensor] | None:
        """Return what gives the logits of a student that is compiled for one training of a trial; None where it is not.

        What is asked of is the trial alone, so that its number does not depend on which others are trained.
        """
        protocol = trial.protocol
        if self._compiling == "never" or self.device != "cpu" or material.replay is not None or protocol.accumulation > 1:
            return None
        sizes, shape = {*batch_sizes(len(material.labels), protocol.batch_size)}, tuple(material.images.shape[1:])
        passed = protocol.epochs * len(material.labels)
        if self._compiling == "auto" and not pays(str(trial.model), shape[-1], passed, sizes):
            return None
        return self._compiler.forward(student, shape, sizes, protocol.precision)

    def fit_together(self, trials: Sequence[Trial], material: Material, losses: Sequence[Loss]) -> list[Fit] | None:
        """Train fresh students for several trials at once, each under its loss; None where each should be trained alone.

        Those that differ in seed and loss alone are made in one pass, where that pays on this device and their student can be
        stacked. On the CPU, such stacks and single trainings of the same seeds that are given the same (`Setup.stream`) are made
        step by step beside each other.
        """
        dataset = self.dataset(trials[0])
        shape, classes = dataset.shape, len(dataset.classes)
        stacks: dict[str, list[int]] = {}
        for number, trial in enumerate(trials):
            key = "" if material.replay is not None else grouping.group(trial, self.device, self.stack, shape, classes)
            stacks.setdefault(key or f"alone {number}", []).append(number)
        if len(stacks) == 1:
            (numbers,) = stacks.values()
            return self._stack(trials, material, losses, *stacks) if len(numbers) > 1 else None
        return self._in_step(trials, material, losses, [*stacks.values()]) if self.device == "cpu" else None

    def _stack(self, trials: Sequence[Trial], material: Material, losses: Sequence[Loss], kind: str) -> list[Fit] | None:
        """Train fresh students for trials that differ in seed and loss alone, in one pass; None where that does not pay."""
        first = trials[0]
        fits = self._trainer.train_together(
            self._members(trials, losses),
            material,
            recipe(first),
            self._kept_labels(trials),
            kind=kind,
            model=_architecture(first),
            taught=" ".join(first.teacher),
            checkpoint=self.checkpoint(trials, losses),
        )
        for fit in fits or ():
            fit.stack = tuple(range(len(trials)))
        return fits

    def _in_step(
        self, trials: Sequence[Trial], material: Material, losses: Sequence[Loss], stacks: Sequence[Sequence[int]]
    ) -> list[Fit] | None:
        """Train fresh students beside each other, in stacks as their numbers say; None where they are not given the same."""
        numbers = {frozenset(trials[number].seed for number in stack) for stack in stacks}
        if len(numbers) > 1 or len({trial.setup.stream for trial in trials}) > 1:
            return None
        parts: list[Part] = []
        for stack in stacks:
            first = trials[stack[0]]
            members = self._members([trials[number] for number in stack], [losses[number] for number in stack])
            if len(members) > 1 and not self._trainer.stackable(members, material, _architecture(first)):
                return None
            if len(members) == 1:
                members[0].forward = self._forward(first, members[0].student, material)
            parts.append(Part(members, recipe(first)))
        teacher = self._kept_labels(trials)
        trained = self._trainer.train_in_step(parts, material, teacher, self.checkpoint(trials, losses))
        fits = dict(zip((number for stack in stacks for number in stack), trained, strict=True))
        for part, stack in zip(parts, stacks, strict=True):
            for number in stack:
                fits[number].stack = tuple(stack) if len(stack) > 1 else ()
                fits[number].compiled = part.members[0].forward is not None
        return [fits[number] for number in range(len(trials))]

    def _members(self, trials: Sequence[Trial], losses: Sequence[Loss]) -> list[Member]:
        """Return what trains a fresh student for each trial; equal losses are one object, which is called for all at once."""
        tied = dict(zip((signature(loss) for loss in reversed(losses)), reversed(losses), strict=True))
        members = []
        for trial, loss in zip(trials, losses, strict=True):
            student = self.student(trial)
            members.append(Member(student, tied[signature(loss)], trial.seed, self._tested(trial), seeds.Place()))
        return members

    def begin(self, trials: Sequence[Trial], asks: Mapping[str, Hashable] = MappingProxyType({})) -> None:
        """Note that these trials begin, anew if need be: a trial's trainings are told apart by their number.

        Args:
            asks: by trial, the same for those that ask their teacher the same, where their seed is (`harness.Scenario.asks`).
        """
        for trial in trials:
            self._trainings[trial.id] = 0
        counts = Counter((asks[trial.id], (trial.seed,)) for trial in trials if trial.id in asks)
        self._asks, self._in_turn = asks, {stream for stream, count in counts.items() if count > 1}
        numbers = tuple(sorted({trial.seed for trial in trials}))
        self._labels.hold({*counts, *((asked, numbers) for asked, _ in counts)})

    def end(self) -> None:
        """Note that the trials have ended: what their teachers have said is kept in files where it is to be."""
        self._labels.settle()

    def checkpoint(
        self, trials: Sequence[Trial], losses: Sequence[Callable[[Tensor, Targets], Tensor]] = ()
    ) -> Checkpoint | None:
        """Return where the next training of a trial, or the one that several share, is kept while it lasts.

        None where there is no folder for it, and where a part of the training may remember what no checkpoint holds: a loss that
        is an object, or that a scenario made of others, and a schedule that does not ship.

        Args:
            losses: one a trial.
        """
        first = trials[0]
        self._trainings[first.id] += 1
        if self._checkpoints is None or not all(map(_forgets, losses)):
            return None
        if any(optimizers.schedules.origin(trial.protocol.schedule.name) != "giftbench" for trial in trials):
            return None
        number = self._trainings[first.id]
        name = f"{first.id}{f'-{number}' if number > 1 else ''}.safetensors"
        making = {"trials": [trial.id for trial in trials], "training": number, "device": self.device}
        return Checkpoint(self._checkpoints / name, lambda: {**making, **surroundings.making()})

    def _tested(self, trial: Trial) -> Callable[[nn.Module], dict[str, float]]:
        return lambda network: self.evaluate(network, trial)

    def evaluate(self, student: nn.Module, trial: Trial) -> dict[str, float]:
        """Return top-1 and top-5 accuracy on the dataset's test split, in percent."""
        precision: Precision = trial.protocol.precision
        return evaluate(student, self.test_material(trial), precision, tests=self.tests)


def _architecture(trial: Trial) -> tuple[str, str]:
    """Return the same for trials whose students are of one architecture."""
    return trial.model.model_dump_json(), trial.dataset.digest


class _Logits(nn.Module):
    """A teacher as a module: [B, C, H, W] -> [B, classes], without gradient."""

    def __init__(self, teacher: teachers.Teacher) -> None:
        super().__init__()
        self.teacher = teacher

    def forward(self, images: Tensor) -> Tensor:
        return self.teacher.logits(images)


def _forgets(loss: Callable[[Tensor, Targets], Tensor]) -> bool:
    """Whether a loss is a function, made of its name and parameters alone."""
    resolved = resolved_from(loss)
    return resolved is not None and not isinstance(resolved.target, type)


def _statistics(dataset: Dataset, normalisation: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return the mean and std per channel that a protocol's images are normalised by."""
    return STATISTICS.get(normalisation, (dataset.mean, dataset.std))


def recipe(trial: Trial) -> Recipe:
    """Return what `fit` needs of a trial's protocol."""
    protocol = trial.protocol
    return Recipe(
        epochs=protocol.epochs,
        batch_size=protocol.batch_size,
        optimizer=optimizers.resolve(trial.optimizer),
        schedule=optimizers.schedules.resolve(protocol.schedule),
        augmentation=protocol.augmentation,
        mixing=protocol.mixing,
        cutout=protocol.cutout if protocol.squares else BORDER,
        precision=protocol.precision,
        evaluations=protocol.evaluations,
        stages=protocol.stages,
        accumulation=protocol.accumulation,
        ema=protocol.ema,
        ranks=protocol.ranks,
    )
