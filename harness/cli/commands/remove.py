"""`giftbench remove`: some of a board's records, set aside."""

from __future__ import annotations

from typing import Annotated

import typer

from harness.cli.options import AllowPluginsOption, BoardArgument, PluginOption
from harness.cli.selecting import OPTIONS, OfLoss, OfModel, OfOptimizer, OfProtocol, OfScenario, OfSeed, OfSet


def remove(
    board: BoardArgument,
    scenario: OfScenario = None,
    loss: OfLoss = None,
    set_: OfSet = None,
    model: OfModel = None,
    optimizer: OfOptimizer = None,
    protocol: OfProtocol = None,
    seed: OfSeed = None,
    all_: Annotated[bool, typer.Option("--all", help="every record, where nothing else says which")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="only say how many")] = False,
    plugin: PluginOption = None,
    allow_plugins: AllowPluginsOption = False,
) -> None:
    """Set records aside, those that fit all that is said, and render the others again.

    They are moved to removed/ beside the board; moved back into records/, they count again. `run` makes them anew.
    """
    from harness.boards.records import RecordStore
    from harness.boards.selection import Selection
    from harness.core.errors import BoardError, at
    from harness.leaderboard.render import render
    from harness.running.opening import read_board, say
    from harness.running.plugged import outdated
    from harness.running.prices import prices
    from harness.running.queue import alone
    from harness.running.scenario import named

    file, _, left_out = read_board(board, plugin or (), allow_plugins)
    say(left_out)
    given = (scenario, loss, set_, model, optimizer, protocol, seed)
    if not any(given) and not all_:
        raise BoardError(f"{file}: say which records, by {OPTIONS}, or --all")
    aside, store = file.parent / "removed", RecordStore(file.parent / "records")
    with alone(file.parent):
        records = store.read()
        with at(str(file)):
            chosen = Selection(*(tuple(names or ()) for names in given)).of(records)
        count = f"{len(chosen)} of {len(records)} records"
        if dry_run:
            print(f"{count} would be moved to {aside}")
            return
        if chosen:
            store.set_aside((record.id for record in chosen), aside)
        print(f"{count} moved to {aside}" if chosen else f"{count}: nothing to move")
        if chosen:
            render(file, named, outdated=outdated, prices=prices)
