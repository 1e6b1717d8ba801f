"""A board as one of its scenarios sees it, and the trials that it makes of names, sets and seeds."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, TypedDict

from harness import datasets, losses, models, optimizers
from harness.augmentation.steps import registry as augmentations
from harness.augmentation.words import BORDER, STORED, changes_pixels, plugged, versions
from harness.boards.board import Board, ScenarioSpec, checked
from harness.boards.labels import Labels, Scalar
from harness.boards.protocol import DATASET, Protocol
from harness.boards.setup import DatasetReference, PluginSource, Setup
from harness.boards.stages import said as stages_said
from harness.boards.trial import Trial
from harness.core.code import Code
from harness.core.errors import BoardError, MissingTargets, at, suggest
from harness.core.resolved import Resolved
from harness.core.sources import Source
from harness.core.spec import Named, Spec, read
from harness.planning.preparation import Preparation, PreparedSet
from harness.planning.resolution import (
    ResolvedLoss,
    ResolvedModel,
    check_lone_batch,
    check_schedule,
    resolve_loss,
    resolve_model,
    resolve_optimizer,
    try_student,
)

if TYPE_CHECKING:
    from torch import nn

    from harness.datasets.base import Dataset
    from harness.losses.targets import Loss
    from harness.optimizers.optimizers import MakeOptimizer


#: What a board calls the loss that a set's authors train with.
NATIVE = "native"


class Changes(TypedDict, total=False):
    """What a scenario says instead of the board, as `Plan.vary` takes it."""

    model: Named
    optimizer: Named
    losses: Sequence[Named | Resolved[object]]
    seeds: Sequence[int]
    sets: Sequence[PreparedSet]
    protocol: Mapping[str, object]
    options: Mapping[str, object]
    labels: Mapping[str, object]


@dataclass
class Plan:
    """A board as one of its scenarios sees it: overrides applied, sets prepared. This is what `Scenario.trials` is given."""

    preparation: Preparation
    spec: ScenarioSpec
    place: str
    counter: Iterator[int]
    version: int = 1
    code: Code = field(default_factory=Code)  # of the scenario

    @property
    def board(self) -> Board:
        return self.preparation.board

    @property
    def losses(self) -> tuple[Spec, ...]:
        return self.spec.losses or self.board.losses

    @property
    def seeds(self) -> tuple[int, ...]:
        return self.spec.seeds or self.board.seeds

    @property
    def protocol(self) -> Protocol:
        return self.spec.protocol or self.board.protocol

    def protocol_of(self, prepared: PreparedSet) -> Protocol:
        """Return the protocol of one set: what the board says of it stands in place of the scenario's and its own."""
        return self._changed(self.protocol, prepared.protocol)

    def _changed(self, protocol: Protocol, changes: Mapping[str, object]) -> Protocol:
        """Return a protocol of which some fields are others; another one altogether where `changes` name it."""
        if not changes:
            return protocol
        fields = changes if "name" in changes else protocol.model_dump() | dict(changes)
        return checked(Protocol, fields, f"{self.place}: protocol")

    @property
    def model(self) -> Spec:
        return self.spec.model or self.board.model

    @property
    def optimizer(self) -> Spec:
        return self.spec.optimizer or self.protocol.optimizer

    @property
    def dataset(self) -> Dataset:
        return self.preparation.dataset

    @property
    def sets(self) -> list[PreparedSet]:
        """The distilled sets that this scenario is asked about."""
        sets = self.preparation.sets()
        if self.spec.sets is not None:
            names = {s.name for s in sets} | {s.name for s in self.board.sets if s.format}  # some may not be at hand
            for name in self.spec.sets:
                if name not in names:
                    raise BoardError(f"{self.place}.sets: no set {name!r} on this board; {suggest(name, names)}")
            sets = [s for s in sets if s.name in self.spec.sets]
        if self.spec.ipc is not None:
            sets = [s for s in sets if s.file.ipc in self.spec.ipc]
            asked = {ipc for s in self.board.sets if s.format for ipc in s.ipc}
            if not sets and not asked & {*self.spec.ipc}:
                raise BoardError(f"{self.place}.ipc: no set of this board has IPC {' or '.join(map(str, self.spec.ipc))}")
        return sets

    def vary(
        self,
        *,
        model: Named | None = None,
        optimizer: Named | None = None,
        losses: Sequence[Named | Resolved[object]] | None = None,
        seeds: Sequence[int] | None = None,
        sets: Sequence[PreparedSet] | None = None,
        protocol: Mapping[str, object] | None = None,
        options: Mapping[str, object] | None = None,
        labels: Mapping[str, object] | None = None,
    ) -> Iterator[Trial]:
        """Yield a trial for every set, loss and seed; see `Scenario.vary`."""
        student = self.resolve_model(self.model if model is None else model)
        given = optimizer if optimizer is not None else self.spec.optimizer
        asked = self._asked(self.losses if losses is None else losses)
        for prepared in self.sets if sets is None else sets:
            chosen = self._changed(self.protocol_of(prepared), protocol or {})
            full = self._resolved(chosen, prepared, student.spec.name)
            if _meets_one_image(full, prepared.file.images):
                self.check_lone_batch(student)
            with at(f"{self.place}: optimizer"):
                resolved_optimizer = resolve_optimizer(full.own_optimizer if given is None else given, student.spec.name)
            for loss in self._each_loss(asked, prepared):
                resolved = self.resolve_loss(loss, prepared, chosen)
                setup = self._setup(prepared, student, resolved, resolved_optimizer, full, options or {})
                described = self._described(prepared, student, resolved, resolved_optimizer, full, chosen.label)
                with at(self.place):
                    said = Labels.of({**described, **(labels or {})})
                for seed in self.seeds if seeds is None else seeds:
                    yield Trial(setup=setup, seed=seed, labels=said.numbered(next(self.counter)))

    def resolve_model(self, spec: Named | Resolved[object]) -> ResolvedModel:
        """Return a student's full spec, label and adaptation, having built it once without weights."""
        with at(f"{self.place}: model"):
            return resolve_model(spec, self.dataset.shape, len(self.dataset.classes))

    def check_lone_batch(self, student: ResolvedModel | None = None) -> None:
        """Raise BoardError for a student, the board's unless one is given, that cannot train on a batch of one image."""
        with at(f"{self.place}: model"):
            model = self.resolve_model(self.model) if student is None else student
            check_lone_batch(model, self.dataset.shape, len(self.dataset.classes))

    def try_student(self, check: Callable[[nn.Module], object]) -> None:
        """Call `check` with the board's student, whose weights may be on torch's meta device."""
        try_student(self.resolve_model(self.model), self.dataset.shape, len(self.dataset.classes), check)

    def _asked(self, given: Sequence[Named | Resolved[object]]) -> list[Resolved[Loss] | None]:
        """Return the losses that are asked for; None stands for the native one of each set."""
        with at(f"{self.place}: losses"):
            return [None if _is_native(loss) else losses.registry.resolve(loss) for loss in given]

    def _each_loss(self, asked: Sequence[Resolved[Loss] | None], prepared: PreparedSet) -> list[Resolved[Loss]]:
        """Return the losses for one set: `native` is its own, and left out where the board names that one too."""
        others = [loss for loss in asked if loss is not None]
        if len(others) == len(asked):
            return others
        if prepared.native is None:
            raise BoardError(
                f'{self.place}: losses: set {prepared.name!r} states no native loss; give its [[sets]] native = "…", '
                "or name a loss"
            )
        with at(f"{self.place}: losses"):
            native = losses.registry.resolve(prepared.native)
        return others if native in others else [native if loss is None else loss for loss in asked]

    def resolve_loss(self, spec: Named | Resolved[object], prepared: PreparedSet, protocol: Protocol) -> ResolvedLoss:
        """Return a loss, and where its soft labels come from. Raises MissingTargets when they cannot come."""
        with at(f"{self.place}: losses"):
            loss = resolve_loss(spec)
            if protocol.stages and not any(stage.soft for stage in protocol.stages):
                return loss  # no epoch asks it
            stored = prepared.has_soft and protocol.labels in ("auto", "stored")
            taught = not stored and protocol.labels in ("auto", "teacher", "fixed")
            if loss.looks.needs_soft and not stored and not taught:
                raise MissingTargets(
                    f"loss {loss.label!r} needs soft labels; set {prepared.name!r} stores none and the protocol's labels are "
                    f"{protocol.labels!r}: use labels = \"teacher\" or a loss on hard labels such as 'ce'"
                )
            if stored and loss.looks.soft and prepared.ruled_out and not loss.bears_absent:
                raise BoardError(
                    f"loss {loss.label!r} needs a number of every class; of set {prepared.name!r} the largest soft labels are "
                    f"stored, and the others have no share (fill = {prepared.ruled_out}): use a loss such as 'kl', or read it "
                    "with fill = mrs"
                )
            return replace(loss, taught=taught and loss.looks.soft)

    def _resolved(self, protocol: Protocol, prepared: PreparedSet, model: str) -> Protocol:
        """Return the protocol with all filled in that depends on set and student. Raises BoardError when the set lacks it."""
        facts = prepared.file.metadata
        with at(f"{self.place}: protocol"):
            full = protocol.resolved(
                prepared.file.images,
                self.dataset.name,
                classes=len(self.dataset.classes),
                factor=facts.get("factor", 1),
                provenance=facts.get("provenance"),
                replay_batch=facts.get("replay_batch", 0),
                normalised=bool(facts.get("normalised", False)),
                model=model,
            )
            changed = (full.augmentation, *(stage.augmentation for stage in full.stages))
            if facts.get("whitening") and any(map(changes_pixels, changed)):
                raise BoardError(
                    f"augmentation = {full.augmentation!r} changes pixels, and the images of set {prepared.name!r} are whitened: "
                    "they have none to change"
                )
            channels = self.dataset.shape[0]
            if full.normalisation != DATASET and channels != 3:
                raise BoardError(
                    f"normalisation = {full.normalisation!r} is of images with three channels, and {self.dataset.name} has "
                    f"{channels}; {DATASET!r} is right for it"
                )
            schedule = optimizers.schedules.resolve(full.schedule)
            check_schedule(schedule, full.epochs)
        return full.model_copy(update={"schedule": schedule.spec})

    def _setup(
        self,
        prepared: PreparedSet,
        student: ResolvedModel,
        loss: ResolvedLoss,
        optimizer: Resolved[MakeOptimizer],
        full: Protocol,
        options: Mapping[str, object],
    ) -> Setup:
        """Return what trials that differ only in their seed share; its parts are checked already."""
        code = self._code(prepared, student, loss, optimizer, full, options)
        return Setup.model_construct(
            scenario=self.spec.name,
            version=self.version,
            options=dict(options),
            dataset=DatasetReference(name=str(self.board.dataset), digest=self.dataset.digest),
            distilled=prepared.file.digest,
            teacher=self.preparation.trial_teacher() if loss.taught else (),
            model=student.spec,
            loss=loss.spec,
            optimizer=optimizer.spec,
            protocol=full,
            plugins={key: self._stated(source) for key, source in code.sources.items()},
            versions=dict(code.versions),
        )

    def _stated(self, source: Source) -> PluginSource:
        unnoted = self.board.unnoted.get(source.name) == source.digest
        return PluginSource(source=source.name, digest=source.digest, hashed=not unnoted)

    def _code(
        self,
        prepared: PreparedSet,
        student: ResolvedModel,
        loss: ResolvedLoss,
        optimizer: Resolved[MakeOptimizer],
        full: Protocol,
        options: Mapping[str, object],
    ) -> Code:
        """Return the code of all that a trial touches: what its setup names, and what its set and soft labels were made by."""
        code = Code.of(
            (datasets.registry, self.board.dataset),
            (models.registry, student.spec),
            (losses.registry, loss.spec),
            (optimizers.registry, optimizer.spec),
            (optimizers.schedules, full.schedule),
            *((augmentations, step) for text in full.augmentations for step in plugged(text)),
        )
        code |= self.code | prepared.code | Code(versions=versions(full.augmentation, full.mixing))
        for stage in full.stages:
            code |= Code(versions=versions(stage.augmentation or full.augmentation, stage.mixing or full.mixing))
        code |= Code.within(options, (losses.registry, models.registry, optimizers.registry, optimizers.schedules))
        return code | self.preparation.teacher_code() if loss.taught else code

    def _described(
        self,
        prepared: PreparedSet,
        student: ResolvedModel,
        loss: ResolvedLoss,
        optimizer: Resolved[MakeOptimizer],
        full: Protocol,
        protocol: str,
    ) -> dict[str, Scalar]:
        """Return what trials that differ only in their seed say of themselves."""
        teachers = self.preparation.teacher_files() if loss.taught else []
        return {
            "dataset": self.dataset.name,
            "method": prepared.name,
            "ipc": prepared.file.ipc,
            **({"distilled_on": prepared.distilled_on} if prepared.distilled_on else {}),
            "images": prepared.file.images,
            "model": student.label,
            "adaptation": student.adaptation,
            "loss": loss.label,
            "native": prepared.native_label,
            "optimizer": optimizer.label,
            "learning_rate": optimizer.spec.options.get("lr"),
            "teacher": " + ".join(file.label for file in teachers),
            "teacher_accuracy": sum(f.accuracy for f in teachers) / len(teachers) if teachers else None,
            "protocol": protocol,
            "epochs": full.epochs,
            "batch_size": full.batch_size,
            "augmentation": _said(full),
            "precision": full.precision,
        }


def _meets_one_image(full: Protocol, images: int) -> bool:
    """Whether a batch, or a part of one, holds one image: the last one may of those stored with a set, and not of others."""
    batch = min(full.batch_size, images)
    ends_alone = full.augmentation == STORED and images % full.batch_size == 1
    return batch == 1 or ends_alone or -(-full.batch_size // full.accumulation) == 1


def _said(full: Protocol) -> str:
    """Return augmentation and mixing in words, and what a protocol does beside one pass a batch under one kind of labels.

    Statistics are mentioned where they are other than the dataset's; squares of the first records, centred `inner`, were not.
    """
    words = [full.augmentation + (" (cutout to the border)" if full.squares == BORDER else "")]
    words += [] if full.mixing in ("none", STORED) else [full.mixing]
    words += [] if full.normalisation == DATASET else [f"normalisation {full.normalisation}"]
    words += [f"labels {stages_said(full.stages)}"] if full.stages else []
    words += [f"batches in {full.accumulation} parts"] if full.accumulation > 1 else []
    tested = "ranks, the raw ones beside it" if full.ranks == "ema" else "beside the raw ones"
    words += [f"mean of the weights {full.ema:g} {tested}"] if full.ema else []
    return ", ".join(words)


def _is_native(loss: Named | Resolved[object]) -> bool:
    return not isinstance(loss, Resolved) and read(loss)[0] == NATIVE
