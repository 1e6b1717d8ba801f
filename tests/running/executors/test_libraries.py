"""What workers are forked from: it has all that a worker needs, has computed nothing, and lives though a library is broken."""

from __future__ import annotations

import importlib
import sys

import pytest

from tests.processes import loaded_by

PROGRAM = """
import sys
import harness.running.executors.libraries
import torch
from pathlib import Path

tasks = Path("/proc/self/task")
print(len(list(tasks.iterdir())) if tasks.exists() else 1, torch.cuda.is_initialized())
"""


def test_all_that_a_worker_loads_is_there_and_nothing_has_run_that_a_fork_would_lose(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # as where workers are forked from; more would be started as NumPy loads
    modules, printed = loaded_by(PROGRAM)
    assert {"torch", "harness.running.workbench", "harness.running.executors.work", "harness.training.stack"} <= modules
    assert not modules & {"pandas", "matplotlib", "typer", "harness.planning.preparation", "harness.running.planning"}
    threads, on_gpu = printed.split()
    assert int(threads) == 1  # a fork has the calling thread alone: whoever waits for another waits for ever
    assert on_gpu == "False"


def test_what_is_broken_is_said_by_who_needs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    name = "harness.running.executors.libraries"
    monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setitem(sys.modules, "harness.running.workbench", None)
    importlib.import_module(name)
    with pytest.raises(ImportError, match=r"harness\.running\.workbench"):
        importlib.import_module("harness.running.workbench")
