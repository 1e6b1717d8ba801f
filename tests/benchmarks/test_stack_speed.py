"""Six trainings stacked against the six one after another, by the size of a step: what `harness.running.grouping.SMALL_STEP`
rests on.

pytest tests/benchmarks/test_stack_speed.py --benchmark-only -p no:xdist
"""

from __future__ import annotations

from typing import Any

import pytest
import torch

from harness import losses, models, optimizers
from harness.running.executors import memory
from harness.training.devices import on_device
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


@pytest.mark.benchmark(group="trainings stacked")
@pytest.mark.parametrize(("model", "side", "batch"), STEPS)
def test_a_stack(benchmark: Any, model: str, side: int, batch: int) -> None:
    shape = (1, side, side)
    images = torch.randn(batch, *shape, generator=torch.Generator().manual_seed(0))
    material = Material.on_device("cpu", images, torch.arange(batch) % 10)
    constant = optimizers.schedules.resolve("constant")
    recipe = Recipe(10, batch, optimizers.resolve("adamw"), constant, "color_crop_cutout_flip_scale_rotate")
    loss, teacher = losses.create("gift"), on_device(models.build(model, shape, 10), "cpu").eval()
    memory.keep_freed()
    threads = torch.get_num_threads()

    def members() -> list[Member]:
        torch.manual_seed(0)
        return [Member(on_device(models.build(model, shape, 10), "cpu"), loss, seed) for seed in range(TOGETHER)]

    def stacked() -> None:
        fit_together(members(), material, recipe, teacher=teacher)

    def alone() -> None:
        for one in members():
            fit(one.student, material, loss, recipe, seed=one.seed, teacher=teacher)

    operations = batch * limits.forward(model, shape, 10)
    torch.set_num_threads(1)  # as the harness's workers have it
    try:
        what = f"{model}, {side} px, batch {batch}, {operations:.1e} operations: {TOGETHER} stacked / one after another"
        most = limits.product(TOGETHER * recipe.epochs * limits.step(operations, operations))
        paired(benchmark, what, stacked, alone, rounds=3, warmups=1, limit=most)
    finally:
        torch.set_num_threads(threads)
