"""The command line: parse, call, print. Heavy libraries are imported by the commands that need them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from harness.core.errors import GiftbenchError, at

app = typer.Typer(
    name="giftbench",
    help="How much is a distilled dataset worth, whoever trains on it, with whatever loss, optimizer and architecture?",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # plain help is printed in a third of the time
)

BoardArgument = Annotated[Path, typer.Argument(help="board.toml, or the folder that holds it", metavar="BOARD")]
PluginOption = Annotated[
    list[str] | None, typer.Option("--plugin", help="a Python file that registers plugins (repeatable)", metavar="FILE")
]
DeviceOption = Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N")]
DataOption = Annotated[Path | None, typer.Option(help="folder of the dataset's files (else GIFTBENCH_DATA)", metavar="PATH")]


@app.command()
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
    rerun: Annotated[bool, typer.Option("--rerun", help="run all trials again")] = False,
) -> None:
    """Run a board's missing trials, then write its leaderboard. Stop it at any time; the same command goes on."""
    from harness.cli.progress import Reporter
    from harness.planning.supplies import Supplies
    from harness.running.options import Options
    from harness.running.planning import Overrides
    from harness.running.run import run_board
    from harness.training.devices import resolve_device

    resolve_device(device)
    overrides = Overrides(tuple(scenario or ()), tuple(loss or ()), seeds, protocol, precision)
    supplies = Supplies.parse(set_ or (), teacher or ())
    options = Options(device, jobs, threads, stack, data_dir, tuple(plugin or ()), retry, rerun, supplies)
    with Reporter() as reporter:
        summary = run_board(board, overrides, options, reporter)
    from harness.leaderboard.render import render  # pandas loads once the work is done, and a mistake is answered sooner
    from harness.running.scenario import named

    for path in render(board, named):
        print(path)
    if summary.failed:
        print(f"{len(summary.failed)} of {summary.planned} trials failed; run again with --retry to repeat them", file=sys.stderr)
        raise typer.Exit(1)


@app.command()
def table(
    board: BoardArgument,
    into: Annotated[
        Path | None, typer.Option(help="a Markdown file whose marked part the tables replace", metavar="FILE")
    ] = None,
    check: Annotated[
        Path | None, typer.Option(help="only say whether a Markdown file's marked part is what the records give", metavar="FILE")
    ] = None,
    plugin: PluginOption = None,
) -> None:
    """Write a board's leaderboard from its records; nothing is trained."""
    from harness.leaderboard.render import insert, inserted, render
    from harness.running.opening import open_board
    from harness.running.scenario import named

    file, _, _ = open_board(board, plugin or ())
    if check is not None:
        if not any((file.parent / "records").glob("*.json")):
            print(f"{check}: not compared; {file} has no records here")
            raise typer.Exit(0)
        same = inserted(check, file, named).encode() == check.read_bytes()
        print(f"{check}: {'as the records of' if same else 'not what the records give of'} {file}")
        raise typer.Exit(0 if same else 1)
    for path in render(file, named):
        print(path)
    if into is not None:
        insert(into, file, named)
        print(into)


@app.command(name="list")
def list_(
    kind: Annotated[
        str, typer.Argument(help="losses, models, optimizers, schedules, datasets, distillers, scenarios or protocols; or all")
    ] = "all",
    plugin: PluginOption = None,
) -> None:
    """List what can be named on a board, its parameters, and where it comes from."""
    from harness.cli.listing import show

    show(kind, plugin or ())


@app.command()
def new(
    kind: Annotated[str, typer.Argument(help="loss or scenario")],
    name: Annotated[str, typer.Argument(help="what boards shall call it: lower-case letters, digits, - and _")],
    folder: Annotated[Path, typer.Option(help="where to write", metavar="DIR")] = Path(),
) -> None:
    """Write a plugin that works as it stands, and its test, into the current folder."""
    from shlex import quote

    from harness.cli.scaffold import KINDS, scaffold

    plugin, test = scaffold(kind, name, folder)
    print(f"{plugin}\n{test}\nnext:")
    print(f"  giftbench list {KINDS[kind][0]} --plugin {quote(str(plugin))}\n  pytest {quote(str(test))}")


@app.command()
def distill(
    dataset: Annotated[str, typer.Option(help="dataset to distil")],
    method: Annotated[str, typer.Option(help='distiller, as "rded(min_scale=0.5)"')],
    ipc: Annotated[int, typer.Option(help="images per class", min=1)],
    output: Annotated[Path, typer.Option("--output", "-o", help="safetensors file to write", metavar="FILE")],
    teacher: Annotated[str, typer.Option(help="teacher to score with, trained first when nobody has it")] = "convnet3",
    seed: Annotated[int, typer.Option(help="the distiller's seed", min=0)] = 0,
    device: DeviceOption = "auto",
    data_dir: DataOption = None,
    plugin: PluginOption = None,
) -> None:
    """Make a distilled set from a dataset and write it to a file."""
    from harness import models
    from harness.boards.board import TeacherSpec, checked
    from harness.cli.progress import Reporter
    from harness.core.plugins import load_files
    from harness.planning.preparation import distil
    from harness.training.devices import resolve_device

    resolve_device(device)
    load_files(plugin or ())
    for model in checked(TeacherSpec, teacher, "--teacher").models:
        with at("--teacher"):
            models.registry.resolve(model)
    with Reporter() as reporter:
        made = distil(dataset, method, ipc, teacher, seed, device, data_dir, reporter.preparing)
    print(f"{made.save(output)}: {made!r}")


@app.command(name="import")
def import_(
    format_: Annotated[
        str, typer.Argument(help='reader, as "rded" or "datm(zca=false)"; see giftbench list readers', metavar="FORMAT")
    ],
    path: Annotated[Path, typer.Argument(help="the file or folder that its authors publish")],
    dataset: Annotated[str, typer.Option(help="dataset whose classes these are")],
    output: Annotated[Path, typer.Option("--output", "-o", help="safetensors file to write", metavar="FILE")],
    ipc: Annotated[
        int | None, typer.Option(help="images per class to take, by the publisher's rule (all)", min=1, metavar="K")
    ] = None,
    teacher: Annotated[
        Path | None, typer.Option(help="a teacher's .safetensors to check the classes with", metavar="FILE")
    ] = None,
    check: Annotated[
        bool, typer.Option("--check/--no-check", help="compare with the dataset's images, when they are at hand")
    ] = True,
    workers: Annotated[int, typer.Option(help="processes that decode images; 0: one a core", min=0, metavar="N")] = 0,
    data_dir: DataOption = None,
    plugin: PluginOption = None,
) -> None:
    """Read a published distilled set, check it against the dataset, and write it to a file."""
    from harness.core.plugins import load_files
    from harness.planning.published_sets import import_set

    load_files(plugin or ())
    made = import_set(format_, path, dataset, ipc, data_dir=data_dir, workers=workers, check=check, teacher=teacher, say=print)
    print(f"{made.save(output)}: {made!r}\ndigest {made.digest}")


@app.command()
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
    found = compared(file, reported)
    print(found.text)
    for path in found.paths:
        print(path)


@app.command()
def doctor(
    board: Annotated[
        list[Path] | None, typer.Argument(help="boards to ask about (those in leaderboards/)", metavar="[BOARD]...")
    ] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="as for giftbench run (repeatable)", metavar="NAME=PATH")
    ] = None,
    teacher: Annotated[list[str] | None, typer.Option(help="as for giftbench run (repeatable)", metavar="PATH")] = None,
    data_dir: DataOption = None,
) -> None:
    """Say which datasets, distilled sets and teachers are at hand, what each board lacks, and the command that gets it."""
    from harness.cli.doctor import examine
    from harness.planning.supplies import Supplies

    print(examine(board or (), Supplies.parse(set_ or (), teacher or ()), data_dir))


@app.command()
def inspect(
    file: Annotated[Path, typer.Argument(help="a distilled set")],
    png: Annotated[
        Path | None, typer.Option(help="where to write the grid of images (default: beside the file)", metavar="FILE")
    ] = None,
) -> None:
    """Check a distilled set, print what it is, and write a PNG grid of its images."""
    from harness.distilled.inspection import describe, draw
    from harness.distilled.set import DistilledSet

    loaded = DistilledSet.load(file)
    print(describe(loaded))
    print(f"images: {draw(loaded, png or file.with_suffix('.png'))}")


def main() -> None:
    """Run the command line. The user's mistakes end in one line and exit status 2."""
    try:
        app()
    except GiftbenchError as error:
        print("giftbench:", *str(error).split("\n"), file=sys.stderr)  # one line, whatever a library's message brings
        sys.exit(2)
    except KeyboardInterrupt:
        print("giftbench: stopped; the same command goes on where it was", file=sys.stderr)
        sys.exit(130)
