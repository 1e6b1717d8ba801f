"""`giftbench boards`: all leaderboards of a folder from their records, and the list of them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.cli.options import AllowPluginsOption


def boards(
    folder: Annotated[Path, typer.Argument(help="a folder of boards, each in a folder of its own", metavar="FOLDER")],
    without: Annotated[list[str] | None, typer.Option(help="leave this board out (repeatable)", metavar="NAME")] = None,
    allow_plugins: AllowPluginsOption = False,
) -> None:
    """Write the leaderboards of all boards in a folder that have records, and the lists of these in README.md and index.html."""
    from harness.core.errors import BoardError
    from harness.leaderboard.page.boards import write_list
    from harness.leaderboard.render import rendered
    from harness.running.opening import read_board, say
    from harness.running.plugged import outdated
    from harness.running.prices import prices
    from harness.running.scenario import named

    if not folder.is_dir():
        raise BoardError(f"{folder}: no such folder of boards")
    listed = []
    for place in sorted(folder.iterdir()):
        if place.name in (without or ()) or not (place / "board.toml").is_file() or not any((place / "records").glob("*.json")):
            continue
        file, _, left_out = read_board(place, (), allow_plugins)
        say(left_out)
        leaderboard = rendered(file, named, outdated=outdated, prices=prices)
        listed.append(leaderboard.listed)
        for path in leaderboard.files:
            print(path)
    if not listed:
        raise BoardError(f"{folder}: none of the folders in it holds a board.toml and records")
    for path in write_list(folder, listed):
        print(path)
