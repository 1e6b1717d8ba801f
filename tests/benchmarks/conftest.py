"""Prints, after the benchmarks, each one's ratio to the one it is measured against in the same round."""

from __future__ import annotations

from typing import Any

import pytest


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    session = getattr(config, "_benchmarksession", None)
    rows = [b for b in session.benchmarks if "ratio" in b.extra_info] if session is not None else []
    if not rows:
        return
    terminalreporter.section("ratios (median of pairs taken in turn; range)")
    width = max(len(b.extra_info["what"]) for b in rows)
    for benchmark in rows:
        facts = benchmark.extra_info
        spread = f"{facts['lowest']:.2f} to {facts['highest']:.2f}"
        terminalreporter.write_line(f"{facts['what']:<{width}}  {facts['ratio']:.2f}  ({spread}, {facts['threads']} threads)")
