"""What workers are forked from: it has all that a worker needs, has computed nothing, and lives though a library is broken."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest

from harness.running.executors import libraries
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


def test_what_a_board_loads_besides_is_loaded_and_what_is_broken_of_it_passed_over(
    monkeypatch: pytest.MonkeyPatch, recwarn: pytest.WarningsRecorder, tmp_path: Path
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "ahead_broken.py").write_text("raise OSError('planted')\n")
    (tmp_path / "ahead_noisy.py").write_text("import warnings\nwarnings.warn('planted')\n")
    libraries.load(["ahead_broken", "ahead_absent", "ahead_noisy"])
    assert "ahead_noisy" in sys.modules
    assert not recwarn.list
    del sys.modules["ahead_noisy"]
