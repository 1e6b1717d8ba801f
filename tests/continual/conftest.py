"""What the tests of continual learning share: a workbench with a distilled set and a teacher, and class-incremental trials."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from harness.boards.trial import Trial
from harness.planning.artefacts import Artefacts
from harness.running.workbench import Workbench
from tests.conftest import Planner

Bench = Callable[..., tuple[list[Trial], Workbench]]


@pytest.fixture
def bench(plan: Planner, artefacts: Artefacts) -> Bench:
    """Return a maker of class-incremental trials on digits and the workbench to run them, from keys of scenario and board."""

    def trials(scenario: dict[str, Any], device: str = "cpu", **board: Any) -> tuple[list[Trial], Workbench]:
        keys = {"model": "convnet2(width=8)", "sets": [{"method": "random", "ipc": 3}], **board}
        return plan(**keys, scenarios=[{"name": "class-incremental", **scenario}]), Workbench(device, artefacts)

    return trials
