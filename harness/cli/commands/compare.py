"""`giftbench compare`: reported and measured numbers side by side."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.cli.options import BoardArgument, PluginOption


def compare(
    board: BoardArgument,
    reported: Annotated[
        Path | None, typer.Option(help="a CSV file of reported numbers (the board's own)", metavar="FILE")
    ] = None,
    plugin: PluginOption = None,
) -> None:
    """Put reported and measured numbers side by side; write comparison.md and comparison.csv beside the board."""
    from harness.leaderboard.comparison import compare as compared
    from harness.running.opening import open_board

    file, _, _ = open_board(board, plugin or ())
    comparison = compared(file, reported)
    print(comparison.text)
    for path in comparison.paths:
        print(path)
