"""How trainings are made: alone or several together, a step after the other or by captured ones; what pays is found out here."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence

import torch
from torch import Tensor

from harness.training.checkpoints import Checkpoint
from harness.training.graphs import Captured
from harness.training.in_step import Part, fit_in_step
from harness.training.loop import fit_together
from harness.training.overlap import AskedTogether, Graphs, Overlapped, Way
from harness.training.pilots import ALONE, Pilots, kind_of
from harness.training.stack import agrees
from harness.training.values import Fit, Material, Member, Recipe

Teacher = Callable[[Tensor], Tensor]
#: How many times as long as another a way counts that adds float noise.
NOISE = 1.1


class Trainer:
    """Trains students on one device. Keeps the latest captured steps, and what it has found out about trainings of a kind.

    Args:
        device: `cpu`, `cuda` or `cuda:N`.
        stack: 0 has the faster way taken on a GPU; any other number, like the CPU, stacks what can be stacked.
        capture: whether steps on a GPU are captured as CUDA graphs.
        pilots: where what was found out is kept for others, if anywhere.
    """

    def __init__(self, device: str, stack: int = 0, capture: bool = True, pilots: Pilots | None = None) -> None:
        self.stack = stack
        self.pilots = pilots
        self.graphs = Graphs() if capture and device != "cpu" else None
        self._stackable: dict[Hashable, bool] = {}
        self._ways: dict[Hashable, Way | None] = {}

    def train(
        self,
        members: Sequence[Member],
        material: Material,
        recipe: Recipe,
        teacher: Teacher | None,
        *,
        capture: bool = True,
        way: Way = "stacked",
        checkpoint: Checkpoint | None = None,
    ) -> list[Fit]:
        """Train members in place, as `fit_together` does; on a GPU by captured steps where that can be and `capture` is set."""
        captured = self._captured(members, material, recipe, teacher, way) if capture else None
        called = "alone" if len(members) == 1 else "stacked"
        if captured is not None:
            called = "captured" + " stacked" * (len(members) > 1)
            if isinstance(captured, Overlapped):
                called = "side by side" + ", asked together" * isinstance(captured, AskedTogether)
        if checkpoint is not None:
            checkpoint.way = called
        if captured is not None:
            fits = captured.fit(members, recipe, checkpoint)
        else:
            fits = fit_together(members, material, recipe, teacher=teacher, checkpoint=checkpoint)
        for fit in fits:
            fit.way = called
        return fits

    def train_together(
        self,
        members: Sequence[Member],
        material: Material,
        recipe: Recipe,
        teacher: Teacher | None,
        *,
        kind: Hashable,
        model: Hashable,
        taught: str = "",
        checkpoint: Checkpoint | None = None,
    ) -> list[Fit] | None:
        """Train members in place in one pass; None, and nothing trained, where each should be trained alone.

        Args:
            kind: the same for trainings that differ in seed and loss alone.
            model: the same for students of one architecture.
            taught: tells teachers apart in what is kept for other runs; empty for none.
        """
        way = self.way(members, material, recipe, teacher, kind=kind, model=model, taught=taught)
        if way is None:
            return None
        try:
            return self.train(members, material, recipe, teacher, way=way, checkpoint=checkpoint)
        except torch.OutOfMemoryError:
            self._let_go()
            return None  # one may fit where several do not

    def train_in_step(
        self, parts: Sequence[Part], material: Material, teacher: Teacher | None, checkpoint: Checkpoint | None = None
    ) -> list[Fit]:
        """Train the members of several parts in place on the CPU, step by step beside each other, as `fit_in_step` does."""
        if checkpoint is not None:
            checkpoint.way = "in step: " + ", ".join(str(len(part.members)) for part in parts)
        fits = fit_in_step(parts, material, teacher=teacher, checkpoint=checkpoint)
        ways = ["alone" if len(part.members) == 1 else "stacked" for part in parts for _ in part.members]
        for fit, way in zip(fits, ways, strict=True):
            fit.way = way
        return fits

    def way(
        self,
        members: Sequence[Member],
        material: Material,
        recipe: Recipe,
        teacher: Teacher | None,
        *,
        kind: Hashable,
        model: Hashable,
        taught: str = "",
    ) -> Way | None:
        """Return how these trainings are best made together, or None where they are best made one after the other.

        On a GPU that is measured, once for trainings of a kind, and kept where there are `pilots`: what a captured step takes.
        What adds float noise, a stack and a teacher that is asked for all at once, has to be the faster by a tenth. Arguments
        as of `train_together`.
        """
        stackable = self.stackable(members, material, model)
        if self.graphs is None or self.stack:
            return "stacked" if stackable else None
        if kind not in self._ways:
            self._ways[kind] = self._known(members, material, recipe, teacher, stackable, taught)
        return self._ways[kind]

    def stackable(self, members: Sequence[Member], material: Material, model: Hashable) -> bool:
        """Return whether students of this architecture can be stacked. Arguments as of `train_together`."""
        if model not in self._stackable:
            self._stackable[model] = _stackable(members, material)
        return self._stackable[model]

    def _known(
        self,
        members: Sequence[Member],
        material: Material,
        recipe: Recipe,
        teacher: Teacher | None,
        stackable: bool,
        taught: str,
    ) -> Way | None:
        """Return the fastest way: as it was found out before, here or by another run, or measured now."""
        name = None if self.pilots is None else kind_of(members, material, recipe, taught)
        known = None if self.pilots is None or name is None else self.pilots.get(name)
        if known is not None and (stackable or known != "stacked"):
            return None if known == ALONE else known
        way, measured = self._fastest(members, material, recipe, teacher, stackable)
        if self.pilots is not None and name is not None and measured:
            self.pilots.put(name, way)
        return way

    def _fastest(
        self, members: Sequence[Member], material: Material, recipe: Recipe, teacher: Teacher | None, stackable: bool
    ) -> tuple[Way | None, bool]:
        """Return the fastest way, and whether that was measured; it is not where a step cannot be captured."""
        seconds: dict[Way | None, float] = {}
        ways: list[tuple[Way | None, Sequence[Member], float]] = [(None, members[:1], 1.0)]
        if stackable:
            ways.append(("stacked", members, NOISE))
        if teacher is not None or len({member.seed for member in members}) < len(members):
            ways.append(("asked together", members, NOISE))
        ways.append(("overlapped", members, 1.0))  # the last, which is kept and which usually wins
        for way, some, handicap in ways:
            try:
                captured = self._captured(some, material, recipe, teacher, way or "stacked")
                if captured is not None:
                    seconds[way] = handicap * captured.seconds_per_step() / len(some)
                elif way is None:
                    break  # what one cannot, several cannot either
            except torch.OutOfMemoryError:
                if way is None:
                    raise
                self._let_go()
        if None not in seconds:  # launched kernel by kernel, fewer kernels win
            return "stacked" if stackable else None, False
        return min(seconds, key=lambda way: seconds[way]), True

    def _captured(
        self, members: Sequence[Member], material: Material, recipe: Recipe, teacher: Teacher | None, way: Way
    ) -> Captured | Overlapped | None:
        return None if self.graphs is None else self.graphs.get(members, material, recipe, teacher, way)

    def _let_go(self) -> None:
        """Give back the device's memory that captured trainings hold."""
        if self.graphs is not None:
            self.graphs.latest = None
        torch.cuda.empty_cache()


def _stackable(members: Sequence[Member], material: Material) -> bool:
    """Try a stack of the first two students on a few random images."""
    device = material.images.device
    images = torch.randn(4, *material.images.shape[1:], generator=torch.Generator(device).manual_seed(0), device=device)
    return agrees([member.student for member in members[:2]], images.to(memory_format=torch.channels_last))
