"""What the tests of scenarios share: a tiny board run to its records, tables and figures."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.boards.board import Board
from harness.boards.records import Record
from harness.planning.artefacts import Artefacts
from harness.planning.preparation import Workshop
from harness.running.executors.work import run_bundle
from harness.running.planning import plan
from harness.running.workbench import Workbench

Run = Callable[..., list[Record]]


@pytest.fixture
def run(tiny: Callable[..., Board], tmp_path: Path) -> Run:
    """Return a runner: keys of one scenario and of a tiny board in, its records out."""

    def records(scenario: dict[str, Any], **board: Any) -> list[Record]:
        artefacts = Artefacts(tmp_path / "artefacts")
        trials = plan(Workshop(tiny(scenarios=[scenario], **board), "board.toml", artefacts, device="cpu"))
        return list(run_bundle(trials, Workbench("cpu", artefacts)))

    return records
