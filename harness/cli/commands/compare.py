"""`giftbench compare`: reported and measured numbers side by side."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.cli.options import AllowPluginsOption, BoardArgument, PluginOption


def compare(
    board: BoardArgument,
    reported: Annotated[
        Path | None, typer.Option(help="a CSV file of reported numbers (the board's own)", metavar="FILE")
    ] = None,
    plugin: PluginOption = None,
    allow_plugins: AllowPluginsOption = False,
) -> None:
    """Put reported and measured numbers side by side; write comparison.md and comparison.csv beside the board."""
    from harness.leaderboard.comparison import compare as compared
    from harness.running.opening import read_board, say
    from harness.running.plugged import outdated

    file, _, left_out = read_board(board, plugin or (), allow_plugins)
    say(left_out)
    comparison = compared(file, reported, outdated)
    print(comparison.text)
    for path in comparison.paths:
        print(path)
