"""What every executor is held to: the local one keeps the protocol; why a worker ended is said."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.running.executors.local import Workers
from harness.running.executors.protocol import Executor, Settings, reason


def test_workers_of_this_machine_are_an_executor(tmp_path: Path) -> None:
    executor: Executor = Workers(Settings("cpu", 1, tmp_path), 3)
    assert executor.jobs == 3
    with executor:
        assert list(executor.run(iter([]))) == []


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (-9, "its worker process died: killed by signal 9, probably out of memory"),
        (-11, "its worker process died: killed by signal 11"),
        (3, "its worker process died: exit status 3"),
        (None, "its worker process died: exit status None"),
    ],
)
def test_why_a_worker_ended_is_said_by_signal_or_status(status: int | None, said: str) -> None:
    assert reason(status) == said
