"""A test of 10,000 images against the loop that a user would write.

pytest tests/benchmarks/test_evaluation_speed.py --benchmark-only -p no:xdist
"""

from __future__ import annotations

from typing import Any

import pytest

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
