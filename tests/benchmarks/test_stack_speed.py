"""Six trainings stacked against the six one after another, and six of a seed stacked against the six step by step beside each
other, by the size of a step: what `harness.running.grouping.SMALL_STEP` rests on.

pytest tests/benchmarks/test_stack_speed.py --benchmark-only -p no:xdist
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import pytest
import torch
from torch import nn

from harness import losses, models, optimizers
from harness.core import seeds
from harness.running.executors import memory
from harness.training.devices import on_device
from harness.training.in_step import Part, fit_in_step
from harness.training.loop import fit, fit_together
from harness.training.values import Material, Member, Recipe
from tests.benchmarks import limits
from tests.benchmarks.ratios import paired

TOGETHER = 6
#: Model, pixels, batch size: from far below to above the size up to which a stack pays.
STEPS = [
    ("convnet3(width=32)", 8, 10),
    ("convnet3(width=32)", 8, 50),
    ("convnet3(width=64)", 16, 10),
    ("convnet3(width=32)", 16, 50),
]


#: The same for trainings of one seed, which share batches and what the teacher says either way.
SHARED = [
    ("convnet3(width=16)", 8, 10),
    ("convnet3(width=16)", 16, 10),
    ("convnet3(width=32)", 16, 10),
    ("convnet3(width=32)", 16, 20),
]


class Trainings:
    """Six trainings of a small student under a teacher of its kind, one batch an epoch."""

    def __init__(self, model: str, side: int, batch: int) -> None:
        self.model, self.shape = model, (1, side, side)
        images = torch.randn(batch, *self.shape, generator=torch.Generator().manual_seed(0))
        self.material = Material.on_device("cpu", images, torch.arange(batch) % 10)
        constant = optimizers.schedules.resolve("constant")
        augmentation = "color_crop_cutout_flip_scale_rotate"
        self.recipe = Recipe(10, batch, optimizers.resolve("adamw"), constant, augmentation)
        self.loss, self.teacher = losses.create("gift"), self._student().eval()
        self.operations = batch * limits.forward(model, self.shape, 10)
        self.what = f"{model}, {side} px, batch {batch}, {self.operations:.1e} operations: {TOGETHER}"

    def _student(self) -> nn.Module:
        return on_device(models.build(self.model, self.shape, 10), "cpu")

    def members(self, seeds_of: Sequence[int]) -> list[Member]:
        torch.manual_seed(0)
        return [Member(self._student(), self.loss, seed, place=seeds.Place()) for seed in seeds_of]

    def stacked(self, seeds_of: Sequence[int]) -> None:
        fit_together(self.members(seeds_of), self.material, self.recipe, teacher=self.teacher)

    def alone(self) -> None:
        for one in self.members(range(TOGETHER)):
            fit(one.student, self.material, self.loss, self.recipe, seed=one.seed, teacher=self.teacher)

    def in_step(self) -> None:
        parts = [Part([member], self.recipe) for member in self.members([0] * TOGETHER)]
        fit_in_step(parts, self.material, teacher=self.teacher)

    def most(self, asked: float) -> limits.Limit:
        """Return the limit of six trainings of which so many ask the teacher."""
        steps = TOGETHER * limits.step(self.operations, 0) + asked * self.operations
        return limits.product(self.recipe.epochs * steps)


@pytest.fixture(autouse=True)
def _as_in_a_worker() -> Iterator[None]:
    memory.keep_freed()
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.benchmark(group="trainings stacked")
@pytest.mark.parametrize(("model", "side", "batch"), STEPS)
def test_a_stack(benchmark: Any, model: str, side: int, batch: int) -> None:
    trainings = Trainings(model, side, batch)
    what = f"{trainings.what} stacked / one after another"
    stacked = partial(trainings.stacked, range(TOGETHER))
    paired(benchmark, what, stacked, trainings.alone, rounds=3, warmups=1, limit=trainings.most(TOGETHER))


@pytest.mark.benchmark(group="trainings stacked")
@pytest.mark.parametrize(("model", "side", "batch"), SHARED)
def test_a_stack_of_one_seed(benchmark: Any, model: str, side: int, batch: int) -> None:
    trainings = Trainings(model, side, batch)
    what = f"{trainings.what} of a seed stacked / beside each other"
    stacked = partial(trainings.stacked, [0] * TOGETHER)
    paired(benchmark, what, stacked, trainings.in_step, rounds=5, warmups=1, limit=trainings.most(1))
