"""Captured trainings side by side, each on a CUDA stream of its own; and the captured trainings that a workbench keeps."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn

from harness.core.resolved import resolved_from
from harness.losses.targets import Loss
from harness.training.batches import Given
from harness.training.captured_feed import CapturedFeed, distinct, pattern
from harness.training.checkpoints import Checkpoint
from harness.training.graphs import Captured, Recorder, capturable, timed
from harness.training.loop import Job, equal_shares, run
from harness.training.values import Fit, Material, Member, Recipe

#: How several trainings are made together.
Way = Literal["stacked", "overlapped", "asked together"]


class NotSideBySide(RuntimeError):
    """Steps of this kind can be captured, but not for several trainings at the same time."""


class Overlapped:
    """Trainings of one kind that run at the same time, each captured by itself and replayed on a stream of its own.

    Where the steps of one leave most of a device idle, others fill it; and each does what it does alone, to the bit.

    Args:
        members, material, recipe, teacher, record: as `Captured` takes them.

    Raises: RuntimeError as `Captured` does; NotSideBySide where a student draws from torch's own random stream, one for all.
    """

    def __init__(
        self,
        members: Sequence[Member],
        material: Material,
        recipe: Recipe,
        teacher: Callable[[Tensor], Tensor] | None,
        record: Recorder | None = None,
    ) -> None:
        self.members = members
        self.device = material.images.device
        self.given = self._given(material, recipe, teacher, record)
        own = teacher if self.given is None else None
        self.streams = [new_stream(self.device) for _ in members]
        self.parts: list[Captured] = []
        for member, stream in zip(members, self.streams, strict=True):
            self.parts.append(Captured([member], material, recipe, own, record, stream, given=self.given))
            if self.parts[-1].draws_from_torch:
                raise NotSideBySide("students that draw from torch's own random stream cannot be trained side by side")

    def _given(
        self, material: Material, recipe: Recipe, teacher: Callable[[Tensor], Tensor] | None, record: Recorder | None
    ) -> CapturedFeed | None:
        """Return what makes the batches of all trainings; None where each makes its own."""
        return None

    @property
    def total(self) -> Tensor:
        return torch.cat([part.job.total for part in self.parts])

    @property
    def sizes(self) -> Sequence[int]:
        return self.parts[0].job.sizes

    def train(self) -> None:
        for part in self.parts:
            part.job.train()

    def epoch(self, number: int) -> Iterator[Sequence[Given]]:
        """Yield which images each training is given at each step, one [1, B] a training."""
        steps = [*zip(*(part.job.epoch(number) for part in self.parts), strict=True)]
        self._fork()
        yield from steps

    def step(self, given: Sequence[Given], progress: float) -> None:
        """Let every training make its step."""
        for part, stream, index in zip(self.parts, self.streams, given, strict=True):
            with on_stream(stream):
                part.step(index, progress)

    def ended(self, fits: Sequence[Fit]) -> None:
        """Nothing to do: a captured training that has diverged goes on beside the others."""

    def shares(self, members: Sequence[int], seconds: float) -> Sequence[float]:
        return equal_shares(members, seconds)

    @property
    def jobs(self) -> Sequence[Job]:
        return [part.job for part in self.parts]

    def fit(self, members: Sequence[Member], recipe: Recipe, checkpoint: Checkpoint | None = None) -> list[Fit]:
        """Train other members of the same kind in place, as `Captured.fit` does."""
        self.members = members
        with ExitStack() as begun:
            ends = [begun.enter_context(part.begun([member], recipe)) for part, member in zip(self.parts, members, strict=True)]

            def end_epoch() -> None:
                self._join()
                for end in ends:
                    end()

            return run(self, recipe, self.step, end_epoch, checkpoint)

    def seconds_per_step(self, repeats: int = 30) -> float:
        """Return how long it takes until all have made a replayed step of the largest batch; the weights are put back."""
        self._fork()
        seconds = timed(self._replay, [student for part in self.parts for student in part.job.network.students], repeats)
        self._join()
        return seconds

    def _replay(self) -> None:
        """Replay a step of the largest batch of every training."""
        for part, stream in zip(self.parts, self.streams, strict=True):
            with on_stream(stream):
                part.replays[max(part.replays)][1]()

    def _fork(self) -> None:
        """Let the streams wait for what has been asked of the device so far."""
        for stream in self.streams:
            if stream is not None:
                stream.wait_stream(torch.cuda.current_stream(self.device))

    def _join(self) -> None:
        """Let what is asked of the device from here on wait for the streams."""
        for stream in self.streams:
            if stream is not None:
                torch.cuda.current_stream(self.device).wait_stream(stream)


class AskedTogether(Overlapped):
    """Trainings side by side whose batches are made, and whose teacher is asked, once a step for all of them.

    Those that share a seed are given the same. The teacher is asked for the images of all seeds in one batch, which a device
    answers sooner than several small ones; float noise of its answers tells what comes of it from what each gives alone.
    """

    given: CapturedFeed

    def _given(
        self, material: Material, recipe: Recipe, teacher: Callable[[Tensor], Tensor] | None, record: Recorder | None
    ) -> CapturedFeed:
        return CapturedFeed(distinct(self.members), material, recipe, teacher, record)

    def epoch(self, number: int) -> Iterator[Sequence[Given]]:
        """Yield which images each seed is given at each step, [S, B]."""
        yield from ((given,) for given in self.given.feed.epoch(number))

    def step(self, given: Sequence[Given], progress: float) -> None:
        """Make the batches of a step, then let every training learn of them."""
        (index,) = given
        assert isinstance(index, Tensor)  # stored batches are not captured
        self.given(index)
        self._fork()
        super().step([index] * len(self.parts), progress)
        self._join()

    def fit(self, members: Sequence[Member], recipe: Recipe, checkpoint: Checkpoint | None = None) -> list[Fit]:
        """Train other members of the same kind in place: those that share a seed stand in the same places."""
        self.given.source.restart(distinct(members))
        return super().fit(members, recipe, checkpoint)

    def _replay(self) -> None:
        self.given.replays[max(self.given.replays)][1]()
        self._fork()
        super()._replay()
        self._join()


def new_stream(device: torch.device) -> torch.cuda.Stream | None:
    return torch.cuda.Stream(device) if device.type == "cuda" else None  # type: ignore[no-untyped-call]


def on_stream(stream: torch.cuda.Stream | None) -> AbstractContextManager[object]:
    return nullcontext() if stream is None else torch.cuda.stream(stream)


WAYS: Mapping[Way, Callable[..., Captured | Overlapped]] = MappingProxyType(
    {"stacked": Captured, "overlapped": Overlapped, "asked together": AskedTogether}
)


@dataclass
class Graphs:
    """The latest captured trainings, kept for others of their kind: a board runs those one after the other.

    Where a step cannot be captured, that is said once, and trainings of its kind are made step by step. `record` is as `Captured`
    takes it.
    """

    record: Recorder | None = None
    latest: Any = None  # Captured, Overlapped, or what keeps captured steps of its own (`harness.continual.captured.Lanes`)
    kind: tuple[Any, ...] = ()
    refused: list[tuple[Any, ...]] = field(default_factory=list)
    _streams: list[torch.cuda.Stream | None] = field(default_factory=list)

    def side_streams(self, device: torch.device, count: int) -> Sequence[torch.cuda.Stream | None]:
        """Return CUDA streams, always the same ones, on which captured steps are kept from those of others; None on the CPU."""
        while len(self._streams) < count:
            self._streams.append(new_stream(device))
        return self._streams[:count]

    def get(
        self,
        members: Sequence[Member],
        material: Material,
        recipe: Recipe,
        teacher: Callable[[Tensor], Tensor] | None,
        way: Way = "stacked",
    ) -> Captured | Overlapped | None:
        """Return captured steps for these members, stacked or side by side, or None where there can be none."""
        built = structure(members[0].student)
        kind = (
            built,
            way if len(members) > 1 else "",
            pattern(members) if way == "asked together" else len(members),
            *(signature(member.loss) for member in members),
            id(material),
            teacher,
            recipe.step,
        )
        if self.latest is not None and kind == self.kind:
            return cast("Captured | Overlapped", self.latest)
        if built is None or kind in self.refused or not capturable(material, recipe, [member.loss for member in members]):
            return None
        self.latest = None  # its memory is needed
        try:
            self.latest = WAYS[way](members, material, recipe, teacher, self.record)
        except torch.OutOfMemoryError:
            raise
        except NotSideBySide:
            self.refused.append(kind)
            return None
        except RuntimeError as error:
            self.refused.append(kind)
            warnings.warn(f"trained step by step, without a CUDA graph: {' '.join(str(error).split())[:300]}", stacklevel=2)
            return None
        self.kind = kind
        return cast("Captured | Overlapped", self.latest)


def signature(loss: Loss) -> object:
    """Return what two losses share when they have one registered name and the same parameters; else what is its own."""
    return resolved_from(loss) or id(loss)


def structure(student: nn.Module) -> tuple[object, ...] | None:
    """Return what two students share when a step of one is a step of the other; None where hooks do what cannot be seen."""
    modules = [*student.named_modules()]
    if any(hooks for _, module in modules for name, hooks in vars(module).items() if name.endswith("_hooks")):
        return None
    tensors = [*student.named_parameters(), *student.named_buffers()]
    return (
        *((name, type(module), module.extra_repr()) for name, module in modules),
        *((name, tensor.shape, tensor.dtype, tensor.requires_grad) for name, tensor in tensors),
    )
