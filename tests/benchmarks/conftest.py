"""Prints, after the benchmarks, the table of ratios; writes it where the command line says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.benchmarks.ratios import PLACE, insert, machine, markdown, rows_of


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("ratios")
    group.addoption("--ratios", metavar="FILE", help="write the table of ratios to this Markdown file")
    group.addoption("--ratios-into", metavar="FILE", help="put the table of ratios between its markers in this Markdown file")


def pytest_configure(config: pytest.Config) -> None:
    """Say that a file has no place for the table before minutes of benchmarks, not after."""
    if file := config.getoption("ratios_into", None):
        try:
            PLACE.around(Path(file))
        except ValueError as error:
            raise pytest.UsageError(str(error)) from None


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    session = getattr(config, "_benchmarksession", None)
    rows = rows_of(benchmark.extra_info for benchmark in session.benchmarks) if session is not None else []
    if not rows:
        return
    table = markdown(rows, machine())
    terminalreporter.section("ratios")
    terminalreporter.write_line(table)
    if file := config.getoption("ratios", None):
        Path(file).write_text(table, encoding="utf-8")
    if file := config.getoption("ratios_into", None):
        insert(Path(file), rows, machine())
