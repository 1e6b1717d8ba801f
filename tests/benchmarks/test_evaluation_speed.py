"""A test of 10,000 images against the loop that a user would write, and against the student asked about each image as it is.

pytest tests/benchmarks/test_evaluation_speed.py --benchmark-only -p no:xdist
"""

from __future__ import annotations

from typing import Any

import pytest
import torch

from harness.boards.protocol import Precision
from harness.training.evaluation import Answers, Tested, at_once, hits
from harness.training.values import Material
from tests.benchmarks import limits, loops
from tests.benchmarks.ratios import paired

IMAGES = 10_000


@pytest.mark.filterwarnings("ignore:This DataLoader will create")
@pytest.mark.benchmark(group="a test of 10,000 images")
def test_evaluation_against_a_plain_loop(benchmark: Any) -> None:
    job = loops.job("convnet3", 32, IMAGES, 50)
    what = "ConvNet-3, 32 px, 10,000 images tested: ours / DataLoader of 256 with .item()"
    ours, plain = loops.in_a_worker(loops.our_evaluation(job)), loops.as_users_have_it(loops.plain_evaluation(job))
    paired(benchmark, what, ours, plain, rounds=3, warmups=1, limit=limits.product(IMAGES * job.operations))


@pytest.mark.parametrize("precision", ["float32", "bf16"])
@pytest.mark.benchmark(group="a test of 10,000 images")
def test_folded_passes_against_plain_ones(benchmark: Any, precision: Precision) -> None:
    """Of the student itself, asked about every image as it is; both sides give the same answers."""
    job = loops.job("convnet3", 32, IMAGES, 50)
    material = Material(job.images, job.labels)
    everything = torch.arange(IMAGES).split(at_once(material.images.device))
    tested = Tested(job.student.eval(), material, precision)

    @torch.inference_mode()
    def plain() -> Answers:
        return tested.answers(everything)

    def ours() -> Answers:
        return hits(job.student, material, precision=precision)

    assert all(map(torch.equal, ours(), plain()))
    what = f"ConvNet-3, 32 px, 10,000 images tested, {precision}: batch norm and ReLU folded / as they are"
    most = limits.product(IMAGES * job.operations, precision)
    paired(benchmark, what, loops.in_a_worker(ours), loops.in_a_worker(plain), rounds=3, warmups=1, limit=most)
