"""A step of students on the CPU, convolutions in the way that takes least against torch's (`harness.training.convolutions`).

pytest tests/benchmarks/test_convolutions_speed.py --benchmark-only -p no:xdist
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import pytest
import torch
from torch import nn

from harness import models, optimizers
from harness.running.executors import memory
from harness.training.convolutions import made_fast
from harness.training.devices import on_device
from harness.training.first_block import patches_kept
from tests.benchmarks import limits
from tests.benchmarks.ratios import paired

#: Student, channels and sides of its images, their number.
STEPS = [
    ("convnet3(width=32)", 1, 16, 50),
    ("convnet3(width=32)", 1, 32, 50),
    ("convnet3(width=64)", 1, 32, 50),
    ("convnet3(width=128)", 1, 32, 50),
    ("convnet3(width=64)", 3, 32, 50),
    ("convnet3(width=128)", 3, 32, 10),
    ("convnet3(width=128)", 3, 32, 50),
    ("convnet4(width=128)", 3, 64, 10),
    ("resnet18-modified", 3, 32, 50),
    ("resnet18", 3, 16, 10),
    ("resnet18", 3, 32, 50),
    ("resnet101", 3, 16, 10),
    ("resnet101", 3, 32, 50),
    ("mobilenet-v2", 3, 32, 50),
    ("efficientnet-b0", 3, 32, 50),
]


#: Those whose first block is made in one, where what it sees of the images is a good part of it.
SHARED = [("convnet3(width=32)", 1, 16, 30), ("convnet3(width=32)", 1, 16, 50)]
SHARED += [("convnet3(width=64)", 3, 32, 50), ("convnet3(width=128)", 3, 32, 50)]
STUDENTS = 6
#: Rounds; of images of 16 px, whose steps take milliseconds, more.
ROUNDS, OF_SMALL = 7, 41


def compared(benchmark: Any, model: str, channels: int, side: int, batch: int, students: int, kept: Callable[[], Any]) -> None:
    """Time a step of each of some students on the same images, convolutions in the way that takes least against torch's.

    Args:
        kept: makes the context in which the steps are made.
    """
    shape = (channels, side, side)
    images = torch.randn(batch, *shape).contiguous(memory_format=torch.channels_last)
    memory.keep_freed()
    threads = torch.get_num_threads()
    plain, ours = ([on_device(models.build(model, shape, 10), "cpu") for _ in range(students)] for _ in range(2))
    changed = [made_fast(student) for student in ours]
    assert all(changed)
    made_by = {student: optimizers.create("adamw", student) for student in (*plain, *ours)}

    def steps(of: list[nn.Module]) -> None:
        with kept():
            for student in of:
                made_by[student].zero_grad(set_to_none=True)
                student(images).square().mean().backward()
                made_by[student].step()

    torch.set_num_threads(1)  # as the harness's workers have it
    try:
        most = limits.product(students * batch * limits.step(limits.forward(model, shape, 10), 0))
        images_of = f"{'grey, ' if channels == 1 else ''}{side} px, batch {batch}"
        count = "a step" if students == 1 else f"a step of each of {students} on the same images"
        what = f"{model}, {images_of}: {count} / with torch's convolutions"
        rounds = OF_SMALL if side == 16 else ROUNDS
        paired(benchmark, what, lambda: steps(ours), lambda: steps(plain), rounds=rounds, warmups=2, limit=most)
    finally:
        torch.set_num_threads(threads)


@pytest.mark.benchmark(group="convolutions")
@pytest.mark.parametrize(("model", "channels", "side", "batch"), STEPS)
def test_a_step(benchmark: Any, model: str, channels: int, side: int, batch: int) -> None:
    compared(benchmark, model, channels, side, batch, 1, nullcontext)


@pytest.mark.benchmark(group="convolutions")
@pytest.mark.parametrize(("model", "channels", "side", "batch"), SHARED)
def test_steps_on_the_same_images(benchmark: Any, model: str, channels: int, side: int, batch: int) -> None:
    compared(benchmark, model, channels, side, batch, STUDENTS, patches_kept)
