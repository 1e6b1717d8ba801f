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

from tests.benchmarks.ratios import paired

GIFTBENCH = Path(sys.executable).parent / "giftbench"


def started(*command: str) -> Callable[[], None]:
    return lambda: subprocess.run(command, check=True, stdout=subprocess.DEVNULL) and None


@pytest.mark.benchmark(group="start-up")
def test_help_against_bare_imports(benchmark: Any) -> None:
    paired(
        benchmark,
        "`giftbench --help` / `python -c 'import typer, rich'`",
        started(str(GIFTBENCH), "--help"),
        started(sys.executable, "-c", "import typer, rich"),
        rounds=15,
        target="≤ 2",
    )
