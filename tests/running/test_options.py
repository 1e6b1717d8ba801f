"""How to run, beside what the board says."""

from __future__ import annotations

import pytest

from harness.running import options


@pytest.mark.parametrize(
    ("device", "threads", "jobs"), [("cpu", 1, 6), ("cpu", 4, 1), ("cpu", 8, 1), ("cuda", 1, 1), ("cuda:1", 1, 1)]
)
def test_cores_decide_the_workers_on_a_cpu_and_a_gpu_has_one(
    monkeypatch: pytest.MonkeyPatch, device: str, threads: int, jobs: int
) -> None:
    monkeypatch.setattr(options, "cores", lambda: 6)
    assert options.default_jobs(device, threads) == jobs
