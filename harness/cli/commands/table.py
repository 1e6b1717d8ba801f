"""`giftbench table`: a board's leaderboard from its records."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.cli.options import AllowPluginsOption, BoardArgument, PluginOption


def table(
    board: BoardArgument,
    into: Annotated[
        Path | None, typer.Option(help="a Markdown file whose marked part the tables replace", metavar="FILE")
    ] = None,
    check: Annotated[
        Path | None, typer.Option(help="only say whether a Markdown file's marked part is what the records give", metavar="FILE")
    ] = None,
    plugin: PluginOption = None,
    allow_plugins: AllowPluginsOption = False,
) -> None:
    """Write a board's leaderboard from its records; nothing is trained."""
    from harness.leaderboard.render import insert, inserted, render
    from harness.running.opening import read_board, say
    from harness.running.plugged import outdated
    from harness.running.prices import prices
    from harness.running.scenario import named

    file, _, left_out = read_board(board, plugin or (), allow_plugins)
    say(left_out)
    if check is not None:
        if not any((file.parent / "records").glob("*.json")):
            print(f"{check}: not compared; {file} has no records here")
            raise typer.Exit(0)
        same = inserted(check, file, named, outdated, prices).encode() == check.read_bytes()
        print(f"{check}: {'as the records of' if same else 'not what the records give of'} {file}")
        raise typer.Exit(0 if same else 1)
    for path in render(file, named, outdated=outdated, prices=prices):
        print(path)
    if into is not None:
        insert(into, file, named, outdated, prices)
        print(into)
