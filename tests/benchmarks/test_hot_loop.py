"""The hot loop against the bare network step, our own naive loop after the published protocol, and Avalanche's loop.

    pytest tests/benchmarks/test_hot_loop.py --benchmark-only -p no:xdist

Each side trains the same job for the same epochs: several where an epoch is two short steps, so that what a training costs once
does not count as if every epoch cost it. The naive loop is ours, and no author's (those are in `tests.benchmarks.against`); its
workers start anew at every epoch, as those of a user who sets nothing else. The harness and the bare
steps keep the memory that they free, as the harness's workers do; the others have glibc's usual way with it.
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.benchmarks import limits, loops
from tests.benchmarks.ratios import has_bf16, in_turn

# Model, pixels, images, batch (the paper's), epochs a round, rounds, and whether the issue states targets.
JOBS = {
    "ConvNet-3, 32 px, 100 images": ("convnet3", 32, 100, 50, 5, 7),
    "ConvNet-3, 32 px, 1000 images": ("convnet3", 32, 1000, 100, 1, 5),
    "ConvNet-4, 64 px, 100 images": ("convnet4", 64, 100, 50, 1, 5),
    "ResNet-18-modified, 32 px, 100 images": ("resnet18-modified", 32, 100, 50, 1, 3),
}
#: What the ratios should be, on two cores.
TARGETS = {
    ("ConvNet-3, 32 px, 100 images", "float32", "bare"): "≤ 1.05",
    ("ConvNet-3, 32 px, 100 images", "float32", "naive"): "≤ 0.80",
    ("ConvNet-3, 32 px, 1000 images", "float32", "bare"): "≤ 1.05",
    ("ConvNet-3, 32 px, 1000 images", "float32", "naive"): "≤ 0.80",
    ("ConvNet-3, 32 px, 1000 images", "bf16", "naive"): "≤ 0.35",
}


NAIVE, BARE = "the naive loop (ours)", "the bare steps"


@pytest.mark.filterwarnings("ignore:This DataLoader will create")
@pytest.mark.benchmark(group="epochs of training")
@pytest.mark.parametrize("name", JOBS)
def test_epochs(benchmark: Any, name: str) -> None:
    model, side, images, batch, epochs, rounds = JOBS[name]
    job = loops.job(model, side, images, batch, epochs)
    ours, bare = loops.our_epochs(job), loops.bare_steps(job)
    others = {"Avalanche's loop": loops.avalanche_epochs(job), NAIVE: loops.naive_epochs(job)}
    sides = {name: loops.as_users_have_it(run) for name, run in others.items()}
    pairs = {
        ("float32", BARE): TARGETS.get((name, "float32", "bare"), ""),
        ("float32", NAIVE): TARGETS.get((name, "float32", "naive"), ""),
        ("float32", "Avalanche's loop"): "",
    }
    if has_bf16():
        sides["bf16"] = loops.in_a_worker(ours, "bf16")
        pairs |= {("bf16", NAIVE): TARGETS.get((name, "bf16", "naive"), ""), ("bf16", "float32"): ""}
    sides |= {BARE: loops.in_a_worker(bare, "float32"), "float32": loops.in_a_worker(ours, "float32")}
    most = {precision: limits.product(job.training, precision) for precision in ("float32", "bf16")}
    held = {(mine, its): most[mine] if mine == "bf16" or its == BARE else BARE for mine, its in pairs}
    in_turn(benchmark, f"{name}: ", sides, pairs, rounds, 1, held)
