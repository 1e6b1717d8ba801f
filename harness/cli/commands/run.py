"""`giftbench run`: a board's missing trials, then its leaderboard."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from harness.cli.options import AllowPluginsOption, BoardArgument, DataOption, DeviceOption, PluginOption


def run(
    board: BoardArgument,
    scenario: Annotated[list[str] | None, typer.Option(help="only this scenario (repeatable)", metavar="NAME")] = None,
    loss: Annotated[
        list[str] | None, typer.Option(help='this loss instead of the board\'s, as "gift(gamma=0.2)" (repeatable)')
    ] = None,
    seeds: Annotated[int | None, typer.Option(help="this many seeds, 0 to N-1", min=1, metavar="N")] = None,
    protocol: Annotated[str | None, typer.Option(help="paper, quick or smoke instead of the board's")] = None,
    precision: Annotated[str | None, typer.Option(help="float32, bf16 (autocast) or tf32 (GPUs)")] = None,
    jobs: Annotated[int, typer.Option(help="worker processes; 0: one a core on the CPU, one on a GPU", min=0, metavar="N")] = 0,
    threads: Annotated[int, typer.Option(help="CPU threads of each worker", min=1, metavar="N")] = 1,
    stack: Annotated[
        int, typer.Option(help="trainings of one student made in one pass: 0 chooses, 1 never, N up to N", min=0, metavar="N")
    ] = 0,
    device: DeviceOption = "auto",
    data_dir: DataOption = None,
    plugin: PluginOption = None,
    allow_plugins: AllowPluginsOption = False,
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            help="where a published set that the board waits for lies: NAME[/DATASET][/NETWORK] (repeatable)",
            metavar="NAME=PATH",
        ),
    ] = None,
    teacher: Annotated[
        list[str] | None,
        typer.Option(
            help="a teacher's checkpoint instead of those the board looks for: [MODEL[/DATASET]=] (repeatable)", metavar="PATH"
        ),
    ] = None,
    retry: Annotated[bool, typer.Option("--retry", help="run failed trials again")] = False,
    force: Annotated[
        bool, typer.Option("--force", help="take distilled sets though another order of their classes fits far better")
    ] = False,
    rerun: Annotated[bool, typer.Option("--rerun", help="run all trials again")] = False,
) -> None:
    """Run a board's missing trials, then write its leaderboard. Stop it at any time; the same command goes on."""
    from harness.cli.progress import Reporter
    from harness.planning.supplies import Supplies
    from harness.running.options import Options
    from harness.running.overrides import Overrides
    from harness.running.run import leaderboard, run_board

    overrides = Overrides(tuple(scenario or ()), tuple(loss or ()), seeds, protocol, precision)
    supplies = Supplies.parse(set_ or (), teacher or ())
    options = Options(device, jobs, threads, stack, data_dir, tuple(plugin or ()), retry, rerun, supplies, force, allow_plugins)
    with Reporter() as reporter:
        summary = run_board(board, overrides, options, reporter)
    for path in leaderboard(summary):
        print(path)
    if summary.failed:
        print(f"{len(summary.failed)} of {summary.planned} trials failed; run again with --retry to repeat them", file=sys.stderr)
        raise typer.Exit(1)
