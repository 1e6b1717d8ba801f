"""What trainings that see the same are given: the batches of each seed, and what the teacher says of them, made once a step."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor

from harness.core.errors import DataError
from harness.training.batches import Given, Replayed, Shuffled, Step
from harness.training.devices import Cast, autocast
from harness.training.turns import Turn, turns

if TYPE_CHECKING:
    from harness.losses.targets import Loss
    from harness.training.values import Material, Recipe


class Feed:
    """The steps of trainings that see the same, whatever their students, losses, optimizers and schedules.

    Args:
        seeds: one for each batch of a step.
        teacher: images [B, C, H, W] -> logits [B, K], or None. Not asked where the material has stored augmentations, whose soft
            labels are stored with them, nor in stages of hard labels.

    Attributes:
        source: of the steps of this epoch.
        hard: the loss of hard labels that takes the place of each training's own in this epoch, or None.
    """

    def __init__(
        self, material: Material, recipe: Recipe, seeds: Sequence[int], teacher: Callable[[Tensor], Tensor] | None = None
    ) -> None:
        self.seeds = tuple(seeds)
        if material.replay is not None and len(self.seeds) > 1:
            raise DataError("trainings on stored augmentations are made one at a time")
        replayed = None if material.replay is None else Replayed(material, self.seeds[0])
        self.teacher = teacher if replayed is None else None
        self._turns: list[Turn[Loss | None]] = turns(recipe, material, self.seeds, None, lambda loss: loss, replayed)
        self.source: Shuffled | Replayed = (
            self._turns[0].source if self._turns else replayed or Shuffled(material, recipe, self.seeds)
        )
        self.hard: Loss | None = None
        self._cast = autocast(material.images.device, recipe.precision)

    @property
    def sources(self) -> Sequence[Shuffled | Replayed]:
        """What the stages of the trainings take their steps from, each once."""
        return [*dict.fromkeys(turn.source for turn in self._turns)] or [self.source]

    def epoch(self, number: int) -> Iterator[Given]:
        """Yield what each step of an epoch (1 the first) is given, having turned to its stage."""
        turn = next((turn for turn in self._turns if number <= turn.last), None)
        if turn is None:
            return self.source.epoch(number)
        self.source, self.hard = turn.source, turn.objective
        if turn.alteration is not None and isinstance(turn.source, Shuffled):
            turn.source.alteration = turn.alteration
        return turn.source.epoch(number - turn.others)

    def step(self, given: Given) -> Step:
        """Return the step of what an epoch yields; nothing in it waits for the device."""
        step = cast("Callable[[Given], Step]", self.source.step)(given)
        if self.teacher is None or self.hard is not None:
            return step
        return Step(step.images, step.batches, asked(self.teacher, step.images, self._cast))


def asked(teacher: Callable[[Tensor], Tensor], images: Tensor, computing: Cast) -> Tensor:
    """Return what a teacher says of images [B, C, H, W] as the student sees them, [B, K] float."""
    with torch.no_grad(), computing():
        return teacher(images).float()
