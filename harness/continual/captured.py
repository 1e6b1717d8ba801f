"""Steps of a class-incremental stream as CUDA graphs: one for each number of classes met and of images in a batch.

What Avalanche's loop does in Python at every step costs a small student ten times what the device needs. Strategies whose step
is the plain one (`harness.continual.strategies.Strategy.plain`) have theirs captured as other trainings have. Which classes have
been met is read from where it lay at capture, so that what was captured serves other seeds and strategies, too.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol, cast, runtime_checkable

import torch
from torch import Tensor, nn

from harness.losses.targets import Loss, Targets
from harness.training.graphs import Captured, Recorder, capturable
from harness.training.overlap import Graphs, signature, structure
from harness.training.values import Material, Member, Recipe

#: Captured steps that are kept, at most: streams of one kind have as many as they have steps, or twice that.
MOST = 64


class Met(Protocol):
    """The classes met so far (`harness.continual.loop.Seen`): which these are, [S], and the place of each class, [C]."""

    columns: Tensor
    place: Tensor

    def logits(self, logits: Tensor) -> Tensor: ...

    def targets(self, targets: Targets) -> Targets: ...


@runtime_checkable
class Indexed(Protocol):
    """Batches by the places of their images (`harness.continual.loop.Batches`)."""

    @property
    def lengths(self) -> Sequence[int]: ...

    def indices(self) -> Iterator[Tensor]: ...


class OfMet:
    """A loss over the classes met: [B, C] logits and their targets to a scalar, whichever S classes these are."""

    def __init__(self, loss: Loss, met: Met) -> None:
        self.loss, self.met = loss, copy.deepcopy(met)

    def __call__(self, logits: Tensor, targets: Targets) -> Tensor:
        return self.loss(self.met.logits(logits), self.met.targets(targets))

    def turn_to(self, met: Met) -> None:
        """Ask about other classes from now on, as many as before."""
        self.met.columns.copy_(met.columns)
        self.met.place.copy_(met.place)


@dataclass(frozen=True)
class Kind:
    """What captured steps of a stream are made for: those of another seed, strategy or order of classes do with the same."""

    material: Material
    recipe: Recipe
    teacher: Callable[[Tensor], Tensor] | None
    loss: Loss

    def key(self, student: nn.Module, sliced: bool) -> tuple[object, ...] | None:
        """Return what two streams share that can have the same captured steps; None where a stream's cannot be captured."""
        built = structure(student)
        if built is None or not capturable(self.material, self.recipe, [self.loss]):
            return None
        return "stream", built, signature(self.loss), id(self.material), self.teacher, self.recipe.step, sliced


@dataclass
class Lane:
    """Captured steps by number of classes met, for one stream at a time. `record` and `stream` are as `Captured` takes them."""

    record: Recorder | None = None
    stream: torch.cuda.Stream | None = None
    parts: dict[int, tuple[OfMet, Captured]] = field(default_factory=dict)

    def get(self, kind: Kind, student: nn.Module, met: Met, sizes: Sequence[int], seed: int) -> Captured:
        """Return the captured steps of these classes, those of these sizes of batches among them. Raises RuntimeError."""
        count = len(met.columns)
        if sum(len(captured.replays) for _, captured in self.parts.values()) + len({*sizes}) > MOST:
            self.parts.clear()
        try:
            return self._get(kind, student, met, sizes, seed)
        except torch.OutOfMemoryError:
            self.parts.clear()
            torch.cuda.empty_cache()
            return self._get(kind, student, met, sizes, seed)
        except RuntimeError:
            self.parts.pop(count, None)
            raise

    def _get(self, kind: Kind, student: nn.Module, met: Met, sizes: Sequence[int], seed: int) -> Captured:
        count = len(met.columns)
        if count not in self.parts:
            loss = OfMet(kind.loss, met)
            member = Member(student, cast("Loss", loss), seed)
            captured = Captured([member], kind.material, kind.recipe, kind.teacher, self.record, self.stream, sizes=())
            self.parts[count] = loss, captured
        loss, captured = self.parts[count]
        loss.turn_to(met)
        if {*sizes} - captured.replays.keys():  # what a loss looks at is found out on images whose classes have been met
            captured.ready(sizes, torch.isin(kind.material.labels, met.columns).nonzero()[:, 0])
        return captured


class Lanes:
    """The captured steps of one kind of stream, kept as the latest of `Graphs`; what cannot be captured is tried once."""

    def __init__(self, record: Recorder | None = None) -> None:
        self.alone = Lane(record)
        self.refused: dict[tuple[int, ...], str] = {}

    @classmethod
    def of(cls, graphs: Graphs, key: tuple[object, ...]) -> Lanes:
        """Return those of this kind, new ones where others were the latest."""
        lanes = graphs.latest if graphs.kind == key else None
        if not isinstance(lanes, Lanes):
            graphs.latest = None  # its memory is needed
            lanes = graphs.latest = cls(graphs.record)
            graphs.kind = key
        return lanes


class Replaying:
    """Mixed into a strategy with the resident loop whose step is the plain one: steps are replayed where they are captured.

    Attributes:
        graphs: where captured steps are kept; None where nothing is captured.
        trained: how the stream's steps were made so far: `alone`, or `captured` where any was.
        uncaptured: why some were not: {which step of the stream, 1 the first: the reason}.
    """

    graphs: Graphs | None = None
    trained: str = "alone"

    # What the resident loop has, said here for type checkers.
    model: nn.Module
    material: Material
    recipe: Recipe
    seen: Met
    sliced: bool
    groups: list[list[int]]
    again: list[Any]
    mbatch: list[Tensor]
    dataloader: object
    derived: int
    _stop_training: bool
    _objective: Any
    _schedule: Any
    _replay: Callable[[Tensor, float], None] | None = None

    def prepare(
        self,
        material: Material,
        recipe: Recipe,
        loss: Callable[[Tensor, Targets], Tensor],
        teacher: Callable[[Tensor], Tensor] | None,
        *others: Any,
        **named: Any,
    ) -> None:
        """Set what the loop works with, as `harness.continual.loop.ResidentLoop.prepare` does."""
        super().prepare(material, recipe, loss, teacher, *others, **named)  # type: ignore[misc]
        self._kind = Kind(material, recipe, teacher, loss)
        self.uncaptured: dict[int, str] = {}

    def _train_exp(self, *experience: object, **options: object) -> None:
        captured = self._captured()
        if captured is None:
            super()._train_exp(*experience, **options)  # type: ignore[misc]
            return
        with self._replayed(captured):
            super()._train_exp(*experience, **options)  # type: ignore[misc]

    def _captured(self) -> Captured | None:
        """Return captured steps of this step of the stream; None where there are none to be had, the reason being noted."""
        loader, number = self.dataloader, len(self.groups)
        if self.graphs is None or number <= len(self.again) or not isinstance(loader, Indexed):
            return None
        key = self._kind.key(self.model, self.sliced)
        if key is None:
            return None
        lanes = Lanes.of(self.graphs, key)
        shape = (len(self.seen.columns), *sorted({*loader.lengths}))
        if shape not in lanes.refused:
            try:
                return lanes.alone.get(self._kind, self.model, self.seen, loader.lengths, self.derived)
            except RuntimeError as error:
                lanes.refused[shape] = " ".join(str(error).split())[:300]
        self.uncaptured[number] = lanes.refused[shape]
        return None

    @contextmanager
    def _replayed(self, captured: Captured) -> Iterator[None]:
        """Have the epochs of this step of the stream made by captured steps."""
        finite, schedule = self._objective.finite, self._schedule
        with captured.begun([Member(self.model, self._kind.loss, self.derived)], self.recipe) as end_epoch:
            self._replay, self._schedule, self._objective.finite = captured.step, Ends(end_epoch), captured.job.finite
            self.trained, self.mbatch = "captured", []
            try:
                yield
            finally:
                self._replay, self._schedule, self._objective.finite = None, schedule, finite

    def training_epoch(self, **options: object) -> None:
        """Make an epoch's steps: by Avalanche's loop, or replayed."""
        if self._replay is None:
            super().training_epoch(**options)  # type: ignore[misc]
            return
        for index in cast("Indexed", self.dataloader).indices():
            self._replay(index[None], 0.0)


@dataclass(frozen=True)
class Ends:
    """What a schedule's place is taken by: its step is what ends an epoch."""

    step: Callable[[], None]
