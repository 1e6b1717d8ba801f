"""What the tests of continual learning share: a workbench with a distilled set and a teacher, and class-incremental trials."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.boards.board import Board
from harness.boards.trial import Trial
from harness.planning.artefacts import Artefacts
from harness.planning.preparation import Workshop
from harness.running.planning import plan
from harness.running.workbench import Workbench

Bench = Callable[..., tuple[list[Trial], Workbench]]


@pytest.fixture
def bench(tiny: Callable[..., Board], tmp_path: Path) -> Bench:
    """Return a maker of class-incremental trials on digits and the workbench to run them, from keys of scenario and board."""

    def make(scenario: dict[str, Any], device: str = "cpu", **board: Any) -> tuple[list[Trial], Workbench]:
        given = {"model": "convnet2(width=8)", "sets": [{"method": "random", "ipc": 3}], **board}
        made = tiny(**given, scenarios=[{"name": "class-incremental", **scenario}])
        artefacts = Artefacts(tmp_path / "artefacts")
        return plan(Workshop(made, "board.toml", artefacts, device="cpu")), Workbench(device, artefacts)

    return make
