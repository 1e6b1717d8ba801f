"""What the tests of scenarios share: a tiny board run to its records."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from harness.boards.records import Record
from harness.planning.artefacts import Artefacts
from harness.running.executors.work import run_bundle
from harness.running.workbench import Workbench
from tests.conftest import Planner

Run = Callable[..., list[Record]]


@pytest.fixture
def run(plan: Planner, artefacts: Artefacts) -> Run:
    """Return a runner: keys of one scenario and of a tiny board in, its records out."""

    def records(scenario: dict[str, Any], **board: Any) -> list[Record]:
        trials = plan(scenarios=[scenario], **board)
        return list(run_bundle(trials, Workbench("cpu", artefacts)))

    return records
