"""What a training of several stages does in which epoch: the images it sees, the labels it learns and under which loss."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

from harness.boards.stages import Stage
from harness.losses.classic import smoothed
from harness.losses.targets import Loss
from harness.training.batches import Alteration, Replayed, Shuffled
from harness.training.values import Material, Recipe

Goal = TypeVar("Goal")


@dataclass(frozen=True)
class Turn(Generic[Goal]):
    """One stage: its last epoch; by how many its source's own epochs lag behind; what its steps are made of and are to reach.

    `alteration` is None where the source replays what is stored.
    """

    last: int
    others: int
    source: Shuffled | Replayed
    alteration: Alteration | None
    objective: Goal


def turns(
    recipe: Recipe, material: Material, seeds: Sequence[int], soft: Goal, hard: Callable[[Loss], Goal], replayed: Replayed | None
) -> list[Turn[Goal]]:
    """Return the stages of trainings that are made together.

    Shuffled epochs are of one source, whose random streams go on from stage to stage, and so are replayed ones, which go on
    through what is stored; where that is permuted, every stage begins a permutation, and hard ones use theirs up too (HALD).

    Args:
        seeds: of the trainings.
        soft: the objective of stages of soft labels.
        hard: returns that of stages of hard labels under a loss.
        replayed: what stages of soft labels replay, or None.
    """
    shuffled: Shuffled | None = None
    made: list[Turn[Goal]] = []
    last, shuffled_epochs, replayed_epochs = 0, 0, 0
    round_epochs = _round(replayed)
    rounds = 0
    for stage in recipe.stages:
        objective = soft if stage.soft else hard(smoothed(stage.smoothing))
        if stage.soft and replayed is not None:
            others = last - rounds * round_epochs if round_epochs else shuffled_epochs
            made.append(Turn(last + stage.epochs, others, replayed, None, objective))
            replayed_epochs += stage.epochs
        else:
            own = _recipe(recipe, stage)
            shuffled = shuffled or Shuffled(material, own, seeds)
            made.append(Turn(last + stage.epochs, replayed_epochs, shuffled, Alteration(own, material), objective))
            shuffled_epochs += stage.epochs
        last += stage.epochs
        rounds += -(-stage.epochs // round_epochs) if round_epochs else 0
    return made


def _round(replayed: Replayed | None) -> int:
    """Return how many epochs go through all that is stored, where it is permuted for each such round; else 0."""
    if replayed is None or replayed.replay.rule.order != "permuted":
        return 0
    return max(1, replayed.replay.epochs // replayed.replay.rule.steps)


def _recipe(recipe: Recipe, stage: Stage) -> Recipe:
    """Return the recipe with what the stage says in its place."""
    return replace(recipe, augmentation=stage.augmentation or recipe.augmentation, mixing=stage.mixing or recipe.mixing)
