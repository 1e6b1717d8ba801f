"""What a machine does at most: pieces of work that are counted, not asserted of seconds."""

from __future__ import annotations

import pytest
import torch

from tests.benchmarks import limits, loops


def test_a_product_is_as_many_pieces_as_its_operations_say() -> None:
    for precision in ("float32", "bf16"):
        limit = limits.product(2 * 2.0 * limits.SIDE**3, precision)
        assert (limit.name, limit.pieces) == (limits.PRODUCT, 2.0)
        found = limit.run()
        assert isinstance(found, torch.Tensor)
        assert found.shape == (limits.SIDE, limits.SIDE)
        assert found.dtype == (torch.bfloat16 if precision == "bf16" else torch.float32)


def test_a_copy_counts_what_is_read_and_what_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "COPIED", 1 << 20)
    limits._buffers.cache_clear()
    limit = limits.bandwidth(3 * 2.0 * (1 << 20))
    found = limit.run()
    limits._buffers.cache_clear()
    assert (limit.name, limit.pieces) == (limits.BANDWIDTH, 3.0)
    assert isinstance(found, torch.Tensor)
    assert found.numel() == 1 << 20
    assert not found.any(), "zeros were copied"


def test_a_job_knows_its_operations_and_bytes() -> None:
    job = loops.job("convnet1(width=8)", 8, images=4, batch=2, epochs=3)
    convolution, linear = 8 * 8 * 8 * (3 * 9), 10 * (8 * 4 * 4)
    assert job.operations == 2 * (convolution + linear)
    assert job.training == 3 * 4 * (3 + 1) * job.operations
    assert job.moved == 3 * 2 * (4 * 3 * 8 * 8 * 4)
