"""From a board to its trials: overrides applied, names checked, everything resolved."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import count
from typing import TYPE_CHECKING, Any

from harness import datasets, losses, models, optimizers
from harness.augmentation.words import STORED
from harness.boards.board import Board, ScenarioSpec, checked
from harness.boards.protocol import Protocol
from harness.boards.trial import Kinds, Trial
from harness.core.errors import BoardError, MissingTargets, at, suggest
from harness.core.registry import check_type
from harness.core.spec import Spec
from harness.distilled import distillers, readers
from harness.planning.preparation import PreparedSet, Workshop
from harness.planning.resolution import (
    ResolvedLoss,
    ResolvedModel,
    ResolvedOptimizer,
    probe_loss,
    resolve_model,
    resolve_optimizer,
)
from harness.scenario import Scenario, named

if TYPE_CHECKING:
    from harness.datasets.base import Dataset


#: What a board calls the loss that a set's authors train with.
NATIVE = "native"


@dataclass
class Plan:
    """A board as one of its scenarios sees it: overrides applied, sets prepared. This is what `Scenario.trials` is given."""

    workshop: Workshop
    spec: ScenarioSpec
    place: str
    counter: Iterator[int]
    read_options: set[str] = field(default_factory=set)

    @property
    def board(self) -> Board:
        return self.workshop.board

    @property
    def losses(self) -> tuple[Spec, ...]:
        return self.spec.losses or self.board.losses

    @property
    def seeds(self) -> tuple[int, ...]:
        return self.spec.seeds or self.board.seeds

    @property
    def protocol(self) -> Protocol:
        return self.spec.protocol or self.board.protocol

    @property
    def model(self) -> Spec:
        return self.spec.model or self.board.model

    @property
    def optimizer(self) -> Spec:
        return self.spec.optimizer or self.protocol.optimizer

    @property
    def dataset(self) -> Dataset:
        return self.workshop.dataset

    @property
    def sets(self) -> list[PreparedSet]:
        """The distilled sets that this scenario is asked about."""
        found = self.workshop.sets()
        if self.spec.sets is not None:
            names = {s.name for s in found} | {s.name for s in self.board.sets if s.format}  # some may not be at hand
            for name in self.spec.sets:
                if name not in names:
                    raise BoardError(f"{self.place}.sets: no set {name!r} on this board; {suggest(name, names)}")
            found = [s for s in found if s.name in self.spec.sets]
        if self.spec.ipc is not None:
            found = [s for s in found if s.file.ipc in self.spec.ipc]
            asked = {ipc for s in self.board.sets if s.format for ipc in s.ipc}
            if not found and not asked & {*self.spec.ipc}:
                raise BoardError(f"{self.place}.ipc: no set of this board has IPC {' or '.join(map(str, self.spec.ipc))}")
        return found

    def option(self, name: str, default: Any) -> Any:
        """Return an option of the scenario, checked to be of the default's type; reading it makes it known.

        Where the default is a list, one value may stand for a list of one, as everywhere on a board.
        """
        self.read_options.add(name)
        value = self.spec.options.get(name, default)
        if isinstance(default, list) and isinstance(value, (str, int, float, dict)) and not isinstance(value, bool):
            value = [value]
        check_type(f"{self.place}.{name}", default, value)
        return value

    def check_options(self) -> None:
        """Raise BoardError for an option that the scenario did not read."""
        for name in self.spec.options:
            if name not in self.read_options:
                valid = {*self.read_options, *ScenarioSpec.model_fields} - {"name"}
                raise BoardError(f"{self.place}: scenario {self.spec.name!r} has no option {name!r}; {suggest(name, valid)}")

    def vary(
        self,
        scenario: Scenario,
        *,
        model: Any = None,
        optimizer: Any = None,
        losses: Sequence[Any] | None = None,
        seeds: Sequence[int] | None = None,
        sets: Sequence[PreparedSet] | None = None,
        protocol: Mapping[str, Any] | None = None,
        options: Mapping[str, Any] | None = None,
        labels: Mapping[str, Any] | None = None,
    ) -> Iterator[Trial]:
        """Yield a trial for every set, loss and seed; see `Scenario.vary`."""
        chosen = self.protocol if protocol is None else Protocol.model_validate(self.protocol.model_dump() | dict(protocol))
        student = self.resolve_model(self.model if model is None else model)
        given = optimizer if optimizer is not None else self.spec.optimizer
        asked = [Spec.model_validate(loss) for loss in (self.losses if losses is None else losses)]
        for prepared in self.sets if sets is None else sets:
            full = self._resolved(chosen, prepared)
            with at(f"{self.place}: optimizer"):
                made = resolve_optimizer(full.own_optimizer if given is None else given, student.spec.name)
            for loss in self._each_loss(asked, prepared):
                resolved = self.resolve_loss(loss, prepared, chosen)
                common = self._common(scenario, prepared, student, resolved, made, full)
                described = self._described(prepared, student, resolved, made, full, chosen.label)
                for seed in self.seeds if seeds is None else seeds:
                    yield Trial.model_construct(
                        **common,
                        options=dict(options or {}),
                        seed=seed,
                        labels={"order": next(self.counter), **described, **(labels or {})},
                    )

    def resolve_model(self, spec: Any) -> ResolvedModel:
        """Return a student's full spec, label and adaptation, having built it once without weights."""
        with at(f"{self.place}: model"):
            given = Spec.model_validate(spec)
            return resolve_model(given.model_dump_json(), self.dataset.shape, len(self.dataset.classes))

    def _each_loss(self, given: Sequence[Spec], prepared: PreparedSet) -> list[Spec]:
        """Return the losses for one set: `native` is its own, and left out where the board names that one too."""
        if all(loss.name != NATIVE for loss in given):
            return [*given]
        named = []
        others = {losses.registry.label(loss) for loss in given if loss.name != NATIVE}
        for loss in given:
            if loss.name != NATIVE:
                named.append(loss)
            elif prepared.native is None:
                raise BoardError(
                    f'{self.place}: losses: set {prepared.name!r} states no native loss; give its [[sets]] native = "…", '
                    "or name a loss"
                )
            elif prepared.native_label not in others:
                named.append(prepared.native)
        return named

    def resolve_loss(self, spec: Any, prepared: PreparedSet, protocol: Protocol) -> ResolvedLoss:
        """Return a loss's full spec and where its soft labels come from. Raises MissingTargets when they cannot come."""
        with at(f"{self.place}: losses"):
            given = Spec.model_validate(spec)
            probe = probe_loss(given.model_dump_json())
            stored = prepared.has_soft and protocol.labels in ("auto", "stored")
            taught = not stored and protocol.labels in ("auto", "teacher", "fixed")
            if probe.needs_soft and not stored and not taught:
                raise MissingTargets(
                    f"loss {str(given)!r} needs soft labels; set {prepared.name!r} stores none and the protocol's labels are "
                    f"{protocol.labels!r}: use labels = \"teacher\" or a loss on hard labels such as 'ce'"
                )
            return replace(probe, taught=taught and probe.uses_soft)

    def _resolved(self, protocol: Protocol, prepared: PreparedSet) -> Protocol:
        """Return the protocol with everything filled in that depends on the set. Raises BoardError when the set lacks it."""
        facts = prepared.file.metadata
        with at(f"{self.place}: protocol"):
            full = protocol.resolved(
                prepared.file.images,
                self.dataset.name,
                classes=len(self.dataset.classes),
                factor=facts.get("factor", 1),
                provenance=facts.get("provenance"),
                replay_batch=facts.get("replay_batch", 0),
            )
        return full.model_copy(update={"schedule": optimizers.schedules.resolve(full.schedule)})

    def _common(
        self,
        scenario: Scenario,
        prepared: PreparedSet,
        student: ResolvedModel,
        loss: ResolvedLoss,
        optimizer: ResolvedOptimizer,
        full: Protocol,
    ) -> dict[str, Any]:
        """Return the fields of trials that differ only in their seed, without the scenario's options."""
        return {
            "scenario": scenario.name,
            "version": scenario.version,
            "dataset": {"name": str(self.board.dataset), "digest": self.dataset.digest},
            "distilled": prepared.file.digest,
            "teacher": self.workshop.trial_teacher() if loss.taught else (),
            "model": student.spec,
            "loss": loss.spec,
            "optimizer": optimizer.spec,
            "protocol": full,
        }

    def _described(
        self,
        prepared: PreparedSet,
        student: ResolvedModel,
        loss: ResolvedLoss,
        optimizer: ResolvedOptimizer,
        full: Protocol,
        protocol: str,
    ) -> dict[str, Any]:
        """Return the labels of trials that differ only in their seed."""
        teachers = self.workshop.teacher_files() if loss.taught else []
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
            "augmentation": full.augmentation if full.mixing in ("none", STORED) else f"{full.augmentation}, {full.mixing}",
            "precision": full.precision,
        }


@dataclass(frozen=True)
class Overrides:
    """What the command line says instead of the board; None leaves the board's word."""

    scenarios: Sequence[str] = ()
    losses: Sequence[str] = ()
    seeds: int | None = None
    protocol: str | None = None
    precision: str | None = None

    def apply(self, board: Board) -> Board:
        """Return the board, its parts too, with the overrides in place. Raises BoardError for an unknown scenario or protocol."""
        present = {s.name for part in board.boards for s in part.scenarios}
        parts = tuple(self._apply(part, present) for part in board.parts)
        return self._apply(board, present).model_copy(update={"parts": parts})

    def _apply(self, board: Board, present: set[str]) -> Board:
        scenarios = list(board.scenarios)
        if self.scenarios:
            extra = [ScenarioSpec(name=name) for name in self.scenarios if name not in present]
            for spec in extra:
                named(spec.name)
            scenarios = [s for s in scenarios if s.name in self.scenarios] + extra
        else:
            scenarios = [s for s in scenarios if not s.on_request]
        changes: dict[str, Any] = {}
        if self.losses:
            changes["losses"] = tuple(Spec.model_validate(loss) for loss in self.losses)
        if self.seeds is not None:
            changes["seeds"] = tuple(range(self.seeds))

        def protocol(current: Protocol) -> Protocol:
            made = checked(Protocol, self.protocol, "--protocol") if self.protocol else current
            fields = made.model_dump() | ({"precision": self.precision} if self.precision else {})
            return checked(Protocol, fields, "--precision")

        scenarios = [
            s.model_copy(
                update={
                    **({"losses": None} if self.losses else {}),
                    **({"seeds": None} if self.seeds is not None else {}),
                    **({"protocol": protocol(s.protocol)} if s.protocol is not None else {}),
                }
            )
            for s in scenarios
        ]
        return board.model_copy(update={**changes, "scenarios": tuple(scenarios), "protocol": protocol(board.protocol)})


def check_names(board: Board, source: str) -> None:
    """Check every name and parameter on a board of one part before anything is made. Raises with the place in the file."""

    def each(values: Sequence[Any] | None, place: str, resolve: Callable[[Any], Any]) -> None:
        for i, value in enumerate(values or ()):
            with at(f"{source}: {place}[{i}]"):
                resolve(value)

    with at(f"{source}: dataset"):
        datasets.registry.resolve(board.dataset)
    with at(f"{source}: model"):
        models.registry.resolve(board.model)
    each(board.losses, "losses", _check_loss)
    each(board.teacher.models, "teacher.models", models.registry.resolve)
    with at(f"{source}: teacher.optimizer"):
        optimizers.resolve(board.teacher.optimizer)
    with at(f"{source}: teacher.schedule"):
        optimizers.schedules.resolve(board.teacher.schedule)
    _check_protocol(board.protocol, f"{source}: protocol")
    for i, spec in enumerate(board.sets):
        with at(f"{source}: sets[{i}]"):
            if spec.method:
                distillers.resolve(Spec(name=spec.method, options=spec.options))
            if spec.format:
                readers.resolve(Spec(name=spec.format, options=spec.options))
            if spec.native is not None:
                losses.registry.resolve(spec.native)
    for i, scenario in enumerate(board.scenarios):
        place = f"scenarios[{i}]"
        with at(f"{source}: {place}.name"):
            named(scenario.name)
        each(scenario.losses, f"{place}.losses", _check_loss)
        if scenario.model is not None:
            with at(f"{source}: {place}.model"):
                models.registry.resolve(scenario.model)
        if scenario.optimizer is not None:
            with at(f"{source}: {place}.optimizer"):
                optimizers.resolve(scenario.optimizer)
        if scenario.protocol is not None:
            _check_protocol(scenario.protocol, f"{source}: {place}.protocol")


def _check_loss(spec: Spec) -> None:
    if spec.name == NATIVE and not spec.options:
        return
    losses.registry.resolve(spec)
    probe_loss(spec.model_dump_json())  # only a call tells a value out of its range


def _check_protocol(protocol: Protocol, place: str) -> None:
    with at(f"{place}.optimizer"):
        if protocol.optimizer.name != NATIVE:
            optimizers.resolve(protocol.optimizer)
    with at(f"{place}.schedule"):
        if protocol.schedule.name != NATIVE:
            optimizers.schedules.resolve(protocol.schedule)


def plan(workshop: Workshop, counter: Iterator[int] | None = None) -> list[Trial]:
    """Return the trials of a board, or of one of its parts, in order, each once.

    `counter` numbers the trials; the parts of one board share it. Raises BoardError with the place of what is wrong.
    """
    check_names(workshop.board, workshop.source)
    trials: dict[str, Trial] = {}
    counter, kinds = count() if counter is None else counter, Kinds()
    for i, spec in enumerate(workshop.board.scenarios):
        view = Plan(workshop, spec, f"{workshop.source}: scenarios[{i}]", counter)
        scenario = named(spec.name)
        within: set[str] = set()
        for trial in scenario.trials(view):
            kinds.share(trial)
            if trial.id in within:
                raise BoardError(
                    f"{view.place}: scenario {spec.name!r} yields two trials with one id ({describe(trial)}); "
                    "name a thing once, and put what differs into the trial's options"
                )
            within.add(trial.id)
            trials.setdefault(trial.id, trial)
        view.check_options()
    return list(trials.values())


def describe(trial: Trial) -> str:
    """Return a trial in a few words, for messages."""
    labels = trial.labels
    words = [labels.get("method"), f"IPC {labels.get('ipc')}", labels.get("loss"), labels.get("model"), labels.get("optimizer")]
    return ", ".join(str(word) for word in words if word) + f", seed {trial.seed}"
