"""`giftbench doctor`: what is at hand, what is missing, and how to get it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.cli.options import DataOption, FollowLinksOption


def doctor(
    board: Annotated[
        list[Path] | None, typer.Argument(help="boards to ask about (those in leaderboards/)", metavar="[BOARD]...")
    ] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="as for giftbench run (repeatable)", metavar="NAME=PATH")
    ] = None,
    teacher: Annotated[list[str] | None, typer.Option(help="as for giftbench run (repeatable)", metavar="PATH")] = None,
    data_dir: DataOption = None,
    follow_links: FollowLinksOption = False,
) -> None:
    """Say which datasets, distilled sets and teachers are at hand, what each board lacks, and the command that gets it."""
    from harness.cli.doctor import examine
    from harness.planning.supplies import Supplies

    print(examine(board or (), Supplies.parse(set_ or (), teacher or ()), data_dir))
