"""Start-up of the command line against the imports that it cannot do without.

pytest tests/benchmarks/test_startup_speed.py --benchmark-only -p no:xdist
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.benchmarks.ratios import in_turn

HELP, BARE = "`giftbench --help`", "`python -c 'import typer, rich'`"
GIFTBENCH = Path(sys.executable).parent / "giftbench"


def started(*command: str) -> Callable[[], None]:
    return lambda: subprocess.run(command, check=True, stdout=subprocess.DEVNULL) and None


@pytest.mark.benchmark(group="start-up")
def test_help_against_bare_imports(benchmark: Any) -> None:
    sides = {BARE: started(sys.executable, "-c", "import typer, rich"), HELP: started(str(GIFTBENCH), "--help")}
    in_turn(benchmark, "", sides, {(HELP, BARE): "≤ 2"}, rounds=15, limits={(HELP, BARE): BARE})
