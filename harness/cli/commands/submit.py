"""`giftbench submit`: a contributor's records, checked and joined to a board's."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Annotated

import typer

from harness.cli.options import AllowPluginsOption, BoardArgument, DataOption, FollowLinksOption, PluginOption


def submit(
    records: Annotated[
        Path, typer.Argument(help="a folder with submission.toml and records/: submissions/NAME of the board", metavar="RECORDS")
    ],
    board: BoardArgument,
    check: Annotated[bool, typer.Option("--check", help="only say what would come of it")] = False,
    rerun: Annotated[
        int, typer.Option("--rerun", help="first train so many of them, drawn at random, again and compare", min=0, metavar="N")
    ] = 0,
    draw: Annotated[int, typer.Option("--draw", help="the number that the drawing starts from", min=0, metavar="SEED")] = 0,
    ranks: Annotated[
        Path | None,
        typer.Option(help="where to write, as Markdown, which cells change, and which places", metavar="FILE"),
    ] = None,
    data_dir: DataOption = None,
    follow_links: FollowLinksOption = False,
    plugin: PluginOption = None,
    allow_plugins: AllowPluginsOption = False,
) -> None:
    """Check a contributor's records as verify does, join them to the board's, and render it. Exit status 1 where any is refused.

    All are taken or none. A record of a trial that the board has another record of is shown and stays where it is.
    """
    from harness.cli.commands.verify import again
    from harness.files import atomic
    from harness.leaderboard.ranks import changes
    from harness.leaderboard.render import rendered
    from harness.running.opening import open_board, read_board
    from harness.running.options import Options
    from harness.running.plugged import outdated
    from harness.running.prices import prices
    from harness.running.reruns import drawn, keep
    from harness.running.scenario import named
    from harness.running.submitting import join, look, own_store

    options = Options(device="cpu", data_dir=data_dir, plugins=tuple(plugin or ()), allow_plugins=allow_plugins)
    file = read_board(board, options.plugins, options.allow_plugins)[0]
    brought = look(records, file, options)
    report = brought.report
    for line in (*report.faults, *(f"note: {note}" for note in report.notes)):
        print(line)
    for conflict in brought.conflicts:
        print(f"conflict: {conflict}; the board keeps its own")
    said = f"{len(brought.new)} new, {len(brought.known)} known, {len(brought.conflicts)} in conflict"
    print(f"{len(report.records)} records of {brought.submission.name}: {said}, {len(report.faults)} faults")
    if report.faults:
        raise typer.Exit(1)
    done = []
    if rerun:
        open_board(file, options.plugins, options.allow_plugins)
        sample = drawn(brought.new, rerun, draw)
        print(f"drawn with --draw {draw}: {len(sample)} of {len(brought.new)} new records are trained again")
        with tempfile.TemporaryDirectory() as scratch:
            done = again(sample, file, options.data_dir, own_store(brought, file, Path(scratch)))
        if not all(repeat.same for repeat in done):
            raise typer.Exit(1)
    if check:
        return
    table = file.parent / "table.csv"
    earlier = rendered(file, named, outdated=outdated, prices=prices)
    before = table.read_text("utf-8")
    for path in join(brought, file):
        print(path)
    keep(file.parent, done)
    later = rendered(file, named, outdated=outdated, prices=prices)
    for path in later.files:
        print(path)
    if ranks is not None:
        atomic.write(ranks, changes(before, table.read_text("utf-8"), {**earlier.scales, **later.scales}))
        print(ranks)
