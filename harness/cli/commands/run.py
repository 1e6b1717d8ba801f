"""`giftbench run`: a board's missing trials, then its leaderboard."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from harness.cli.options import (
    AddressOption,
    AllowPluginsOption,
    ArrayOption,
    BoardArgument,
    CompileOption,
    DataOption,
    DeterministicOption,
    DeviceOption,
    DryRunOption,
    ExecutorOption,
    FollowLinksOption,
    ForceOption,
    GpusPerNodeOption,
    JobsOption,
    LossOption,
    PartitionOption,
    PluginOption,
    PrecisionOption,
    ProtocolOption,
    RetryOption,
    ScenarioOption,
    SeedsOption,
    StackOption,
    TeacherOption,
    ThreadsOption,
    TimeOption,
)
from harness.cli.selecting import OnlyModel, OnlyOptimizer, OnlySeed, OnlySet, selected


def run(
    board: BoardArgument,
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
    executor: ExecutorOption = "local",
    address: AddressOption = None,
    array: ArrayOption = None,
    time: TimeOption = None,
    partition: PartitionOption = None,
    gpus_per_node: GpusPerNodeOption = None,
    dry_run: DryRunOption = False,
    retry: RetryOption = False,
    force: ForceOption = False,
    rerun: Annotated[bool, typer.Option("--rerun", help="run all trials again")] = False,
    deterministic: DeterministicOption = False,
    keep_labels: Annotated[
        Path | None,
        typer.Option(
            help="publish the soft labels that trainings asked for, in FKD's format; `true`: beside the board", metavar="FOLDER"
        ),
    ] = None,
    compile_: CompileOption = "never",
    watch: Annotated[bool, typer.Option("--watch", help="only show what others do on the board; nothing is trained")] = False,
) -> None:
    """Run a board's missing trials, then write its leaderboard. Stop it at any time; the same command goes on."""
    from harness.cli.progress import Reporter
    from harness.core.plugins import load_files
    from harness.core.spec import read
    from harness.planning.supplies import Supplies
    from harness.running import executors
    from harness.running.opening import given
    from harness.running.options import Options
    from harness.running.overrides import Overrides
    from harness.running.stopping import signals

    if read(executor)[0] not in executors.registry:  # a plugin may bring it
        load_files(given(plugin or ()))
    flags: dict[str, object] = {
        "address": address,
        "array": array,
        "time": time,
        "partition": partition,
        "gpus_per_node": gpus_per_node,
        "dry_run": dry_run or None,
    }
    carried = executors.resolve(executor, **{name: value for name, value in flags.items() if value is not None})
    overrides = Overrides(tuple(scenario or ()), tuple(loss or ()), seeds, protocol, precision)
    brought, selection = selected(set_, model, optimizer, seed)
    supplies = Supplies.parse(brought, teacher or ())
    options = Options(
        *(device, jobs, threads, stack, data_dir, tuple(plugin or ()), retry, rerun, supplies, force),
        deterministic=deterministic,
        compiling=compile_,
        allow_plugins=allow_plugins,
        selection=selection,
        executor=carried,
        keep_labels=keep_labels is not None,
    )
    if dry_run:
        from harness.running.run import script

        print(script(board, overrides, options), end="")
        return
    with Reporter() as reporter:
        if watch:
            from harness.running.status import watch as watched

            summary = watched(board, reporter)
            raise typer.Exit(1 if summary.failed or summary.ran < summary.planned else 0)
        from harness.running.run import leaderboard, run_board

        with signals(reporter.say) as stop:
            ended = run_board(board, overrides, options, reporter, stop)
    for path in leaderboard(ended):
        print(path)
    if keep_labels is not None:
        from harness.running.run import published_labels

        for path in published_labels(ended, keep_labels, options):
            print(path)
    if ended.failed:
        print(f"{len(ended.failed)} of {ended.planned} trials failed; run again with --retry to repeat them", file=sys.stderr)
        raise typer.Exit(1)
