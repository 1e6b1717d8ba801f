"""The batches of several seeds and what the teacher says of them all at once, as a CUDA graph of its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from harness.training.batches import Shuffled
from harness.training.batches import Step as Batches
from harness.training.devices import arithmetic
from harness.training.feed import Feed
from harness.training.graphs import (
    GRADIENT_GAP,
    WARMUPS,
    Recorder,
    Step,
    cuda_graph,
    gap,
    side_stream,
    torch_stream_kept,
)
from harness.training.values import Material, Member, Recipe


class CapturedFeed:
    """What trainings of several seeds are given a step, captured; it lies where it lay at capture.

    Args:
        material, recipe, teacher, record: as `Captured` takes them.

    Raises: RuntimeError, as torch does, when that cannot be captured, or when a replay makes something else.
    """

    def __init__(
        self,
        seeds: Sequence[int],
        material: Material,
        recipe: Recipe,
        teacher: Callable[[Tensor], Tensor] | None,
        record: Recorder | None = None,
    ) -> None:
        self.feed = Feed(material, recipe, seeds, teacher)
        self.replays: dict[int, tuple[Tensor, Step]] = {}
        self._held: dict[int, Batches] = {}
        assert isinstance(self.feed.source, Shuffled)  # stored batches are not captured
        self.source: Shuffled = self.feed.source
        with arithmetic(material.images.device, recipe.precision):
            for size in sorted({*self.source.sizes}):
                self._capture(size, record or cuda_graph)

    def of(self, size: int) -> Batches:
        """Return the step of batches of `size` images that was made last."""
        return self._held[size]

    def __call__(self, given: Tensor) -> None:
        """Make the step of the images at `given`, [S, B]."""
        index, replay = self.replays[given.shape[1]]
        index.copy_(given)
        replay()

    def _capture(self, size: int, record: Recorder) -> None:
        seeds, count = self.feed.seeds, len(self.source.material.labels)
        index = torch.arange(size * len(seeds), device=self.source.device).remainder(count).view(len(seeds), size)

        def make() -> None:
            self._held[size] = self.feed.step(index)

        with torch_stream_kept(index), side_stream(index, None):
            for _ in range(WARMUPS):
                self.source.restart(seeds)
                expected = self.feed.step(index)
        self.source.restart(seeds)
        with torch_stream_kept(index):
            replay = record(make, self.source.streams)
            for tensor in _numbers(self._held[size]) if size in self._held else ():
                tensor.fill_(torch.nan)  # which a replay writes over
            self.source.restart(seeds)
            replay()
        apart = gap(_numbers(expected), _numbers(self._held[size])) if size in self._held else torch.inf
        if not apart <= GRADIENT_GAP:
            raise RuntimeError(f"a replayed feed does not make what the feed does: images and soft labels part by {apart:.2g}")
        self.replays[size] = index, replay


def _numbers(step: Batches) -> list[Tensor]:
    return [step.images, *([] if step.taught is None else [step.taught])]


def distinct(members: Sequence[Member]) -> list[int]:
    """Return the seeds of trainings, each once, in order."""
    return [*dict.fromkeys(member.seed for member in members)]


def pattern(members: Sequence[Member]) -> tuple[int, ...]:
    """Return which of the distinct seeds each training has, by number: what is alike where the same share a seed."""
    seeds = distinct(members)
    return tuple(seeds.index(member.seed) for member in members)
