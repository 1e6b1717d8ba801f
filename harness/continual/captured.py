"""Steps of a class-incremental stream as CUDA graphs: one for each number of classes met and of images in a batch.

What Avalanche's loop does in Python at every step costs a small student ten times what the device needs. Strategies whose step
is the plain one (`harness.continual.strategies.Strategy.plain`) have theirs captured as other trainings have. Which classes have
been met is read from where it lay at capture, so that what was captured serves other seeds and strategies, too.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any, Protocol, cast, runtime_checkable

import torch
from torch import Tensor, nn

from harness.continual import checkpoints
from harness.losses.targets import Loss, Targets
from harness.training.devices import arithmetic
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

    def __iter__(self) -> Iterator[list[Tensor]]: ...


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
    """What captured steps of a stream are made for; those of another seed, strategy or order of classes do with the same."""

    material: Material
    recipe: Recipe
    teacher: Callable[[Tensor], Tensor] | None
    loss: Loss

    def key(self, student: nn.Module, sliced: bool) -> tuple[object, ...] | None:
        """Return what two streams share that have the same captured steps, loss and teacher apart; None where there are none."""
        built = structure(student)
        if built is None or not capturable(self.material, self.recipe, [self.loss]):
            return None
        return "stream", built, id(self.material), self.recipe.step, sliced

    @property
    def told(self) -> tuple[object, object]:
        """What tells apart the steps of streams that have the same captured steps otherwise: loss and teacher."""
        return signature(self.loss), self.teacher


@dataclass
class Lane:
    """Captured steps by number of classes met, loss and teacher, for one stream of classes at a time.

    `record` and `stream` are as `Captured` takes them.
    """

    record: Recorder | None = None
    stream: torch.cuda.Stream | None = None
    parts: dict[tuple[object, ...], tuple[OfMet, Captured]] = field(default_factory=dict)

    def get(self, kind: Kind, student: nn.Module, met: Met, sizes: Sequence[int], seed: int) -> Captured:
        """Return the captured steps of these classes, those of these sizes of batches among them. Raises RuntimeError."""
        if sum(len(captured.replays) for _, captured in self.parts.values()) + len({*sizes}) > MOST:
            self.parts.clear()
        try:
            return self._get(kind, student, met, sizes, seed)
        except torch.OutOfMemoryError:
            self.parts.clear()
            torch.cuda.empty_cache()
            return self._get(kind, student, met, sizes, seed)
        except RuntimeError:
            self.parts.pop((len(met.columns), *kind.told), None)
            raise

    def _get(self, kind: Kind, student: nn.Module, met: Met, sizes: Sequence[int], seed: int) -> Captured:
        place = len(met.columns), *kind.told
        if place not in self.parts:
            loss = OfMet(kind.loss, met)
            member = Member(student, cast("Loss", loss), seed)
            captured = Captured([member], kind.material, kind.recipe, kind.teacher, self.record, self.stream, sizes=())
            self.parts[place] = loss, captured
        loss, captured = self.parts[place]
        loss.turn_to(met)
        if {*sizes} - captured.replays.keys():  # what a loss looks at is found out on images whose classes have been met
            captured.ready(sizes, torch.isin(kind.material.labels, met.columns).nonzero()[:, 0])
        return captured


class Lanes:
    """The captured steps of one kind of stream, kept as the latest of `Graphs`; what cannot be captured is tried once."""

    def __init__(self, record: Recorder | None = None) -> None:
        self.record = record
        self.refused: dict[tuple[object, ...], str] = {}
        self._lanes: dict[int | None, Lane] = {}

    def lane(self, number: int | None, graphs: Graphs, device: torch.device) -> Lane:
        """Return the captured steps of the stream of classes of this number of several side by side, or of one alone (None)."""
        if number not in self._lanes:
            stream = None if number is None else graphs.side_streams(device, number + 1)[number]
            self._lanes[number] = Lane(self.record, stream)
        return self._lanes[number]

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
        lane: its number among several that are trained side by side; None where it is trained alone.
        trained: how the stream's steps were made so far: `alone`, or `captured` or `side by side` where any was captured.
        uncaptured: why some were not: {which step of the stream, 1 the first: the reason}.
    """

    graphs: Graphs | None = None
    lane: int | None = None
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

    def epochs(self, experience: object) -> Iterator[None]:
        """Train on an experience, as `train` does, hook by hook; yield when an epoch's steps have been asked of the device.

        Avalanche's `train` calls what it calls in one go; others have their turn in between here.
        """
        own: Any = self
        with arithmetic(self.material.images.device, self.recipe.precision):
            own.is_training, own._stop_training, own._eval_streams = True, False, []
            self.model.train()
            own._before_training()
            own.experience = experience
            own._before_training_exp()
        yield
        if len(self.groups) <= len(self.again):
            own._train_exp(experience, eval_streams=[])
        else:
            captured = self._captured()
            with self._replayed(captured) if captured is not None else nullcontext():
                for _ in range(own.train_epochs):
                    with arithmetic(self.material.images.device, self.recipe.precision):
                        own._before_training_epoch()
                        if own._stop_training:
                            break
                        self.training_epoch()
                        own._after_training_epoch()
                    yield
            if own.ends is not None:
                own.ends.append(checkpoints.end_of(own))
        own._after_training_exp()
        own._after_training()
        own._train_cleanup()

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
        shape = (*self._kind.told, len(self.seen.columns), *sorted({*loader.lengths}))
        if shape not in lanes.refused:
            lane = lanes.lane(self.lane, self.graphs, self.material.images.device)
            try:
                return lane.get(self._kind, self.model, self.seen, loader.lengths, self.derived)
            except RuntimeError as error:
                lanes.refused[shape] = " ".join(str(error).split())[:300]
        self.uncaptured[number] = lanes.refused[shape]
        return None

    @contextmanager
    def _replayed(self, captured: Captured) -> Iterator[None]:
        """Have the epochs of this step of the stream made by captured steps."""
        total, schedule = self._objective.total, self._schedule
        with captured.begun([Member(self.model, self._kind.loss, self.derived)], self.recipe) as end_epoch:
            self._replay, self._schedule, self._objective.total = captured.step, Ends(end_epoch), captured.job.total
            self.trained, self.mbatch = "captured" if self.lane is None else "side by side", []
            try:
                yield
            finally:
                self._replay, self._schedule, self._objective.total = None, schedule, total

    def training_epoch(self, **options: object) -> None:
        """Make an epoch's steps: replayed, or by what a step consists of, without Avalanche's hooks, which do nothing in it."""
        own: Any = self
        if self._replay is not None:
            for index in cast("Indexed", self.dataloader).indices():
                self._replay(index[None], 0.0)
        elif isinstance(self.dataloader, Indexed):
            for batch in self.dataloader:
                self.mbatch = batch
                own._unpack_minibatch()
                own.optimizer.zero_grad(set_to_none=True)
                own.mb_output = own.forward()
                own.loss = own.criterion()
                own.loss.backward()
                own.optimizer.step()
        else:
            super().training_epoch(**options)  # type: ignore[misc]


@dataclass(frozen=True)
class Ends:
    """What a schedule's place is taken by: its step is what ends an epoch."""

    step: Callable[[], None]
