"""`giftbench work`: a share of a board, and no more; what batch systems run on many machines at once."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from harness.cli.options import (
    AllowPluginsOption,
    BoardArgument,
    CompileOption,
    DataOption,
    DeterministicOption,
    DeviceOption,
    FollowLinksOption,
    ForceOption,
    JobsOption,
    LossOption,
    PluginOption,
    PrecisionOption,
    ProtocolOption,
    RetryOption,
    ScenarioOption,
    SeedsOption,
    StackOption,
    TeacherOption,
    ThreadsOption,
)
from harness.cli.selecting import OnlyModel, OnlyOptimizer, OnlySeed, OnlySet, selected


def work(
    board: BoardArgument,
    shard: Annotated[
        str, typer.Option(help="the I-th of N shares of the board, the first being 0; without: whatever is free", metavar="I/N")
    ] = "",
    scenario: ScenarioOption = None,
    loss: LossOption = None,
    seeds: SeedsOption = None,
    protocol: ProtocolOption = None,
    precision: PrecisionOption = None,
    jobs: JobsOption = 0,
    threads: ThreadsOption = 1,
    stack: StackOption = 0,
    device: DeviceOption = "auto",
    data_dir: DataOption = None,
    follow_links: FollowLinksOption = False,
    plugin: PluginOption = None,
    allow_plugins: AllowPluginsOption = False,
    set_: OnlySet = None,
    model: OnlyModel = None,
    optimizer: OnlyOptimizer = None,
    seed: OnlySeed = None,
    teacher: TeacherOption = None,
    retry: RetryOption = False,
    force: ForceOption = False,
    deterministic: DeterministicOption = False,
    compile_: CompileOption = "never",
) -> None:
    """Train one share of a board's missing trials, or all that nobody has begun, and end; `giftbench run` renders."""
    from harness.cli.progress import Reporter
    from harness.planning.supplies import Supplies
    from harness.running.options import Options
    from harness.running.overrides import Overrides
    from harness.running.run import run_board
    from harness.running.stopping import signals

    overrides = Overrides(tuple(scenario or ()), tuple(loss or ()), seeds, protocol, precision)
    brought, selection = selected(set_, model, optimizer, seed)
    supplies = Supplies.parse(brought, teacher or ())
    options = Options(
        *(device, jobs, threads, stack, data_dir, tuple(plugin or ()), retry, False, supplies, force),
        deterministic=deterministic,
        compiling=compile_,
        shard=parsed(shard) if shard else None,
        wait=False,
        allow_plugins=allow_plugins,
        selection=selection,
    )
    with Reporter() as reporter, signals(reporter.say) as stop:
        summary = run_board(board, overrides, options, reporter, stop)
    if summary.failed:
        print(f"{len(summary.failed)} of {summary.planned} trials failed; work with --retry repeats them", file=sys.stderr)
        raise typer.Exit(1)


def parsed(shard: str) -> tuple[int, int]:
    """Return the index and the number of shares that I/N says. Raises BadOption."""
    from harness.core.errors import BadOption

    index, _, count = shard.partition("/")
    if index.isdecimal() and count.isdecimal() and len(shard) < 20 and int(index) < int(count):
        return int(index), int(count)
    raise BadOption(f"--shard: expected I/N with I from 0 to N - 1, as 0/32 to 31/32, not {shard[:40]!r}")
