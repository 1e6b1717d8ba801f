"""DSA against the training step that it prepares a batch for, and against kornia's modules of the same operations.

    pytest tests/benchmarks/test_augmentation_speed.py --benchmark-only -p no:xdist

For batches of 50 x 3 x 32 x 32; the step is that of ConvNet-3 of width 128 with its teacher.
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.benchmarks import limits, loops
from tests.benchmarks.ratios import has_bf16, in_turn, paired


@pytest.mark.benchmark(group="augmentation of batches of 50, 3 x 32 x 32")
def test_dsa_against_the_step_it_is_part_of(benchmark: Any) -> None:
    job = loops.job("convnet3", 32, 100, 50)
    bare = loops.bare_steps(job)
    sides = {"the bare step": lambda: bare("float32"), "DSA": loops.our_augmentation(job)}
    pairs = {("DSA", "the bare step"): "≤ 0.05"}
    if has_bf16():
        sides = {"the bare bf16 step": lambda: bare("bf16")} | sides
        pairs[("DSA", "the bare bf16 step")] = ""
    held = dict.fromkeys(pairs, limits.bandwidth(job.moved))
    in_turn(benchmark, "ConvNet-3, 32 px, batch 50: ", sides, pairs, rounds=15, limits=held)


@pytest.mark.benchmark(group="augmentation of batches of 50, 3 x 32 x 32")
def test_dsa_against_kornias_modules(benchmark: Any) -> None:
    job = loops.job("convnet3", 32, 1000, 50)
    paired(
        benchmark,
        "DSA / kornia's modules of the same operations, batch 50, 32 px",
        loops.our_augmentation(job),
        loops.kornia_augmentation(job),
        rounds=15,
        target="≤ 0.33",
        limit=limits.bandwidth(job.moved),
    )
