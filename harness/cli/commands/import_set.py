"""`giftbench import`: a published distilled set, read and checked."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.cli.options import DataOption, FollowLinksOption, PluginOption


def import_(
    format_: Annotated[
        str, typer.Argument(help='reader, as "rded" or "datm(zca=false)"; see giftbench list readers', metavar="FORMAT")
    ],
    path: Annotated[
        Path,
        typer.Argument(
            help="the file or folder that its authors publish, a zip or tar of it, or hub:USER/NAME[@REVISION][/FILE]"
        ),
    ],
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
    classes: Annotated[
        str, typer.Option(help="the order of its classes: names, numbers, wnid, or a file of them", metavar="FILE|WORD")
    ] = "",
    force: Annotated[bool, typer.Option("--force", help="take it though another order of the classes fits far better")] = False,
    workers: Annotated[int, typer.Option(help="processes that decode images; 0: one a core", min=0, metavar="N")] = 0,
    data_dir: DataOption = None,
    follow_links: FollowLinksOption = False,
    plugin: PluginOption = None,
) -> None:
    """Read a published distilled set, check it against the dataset, and write it to a file."""
    from harness.core.plugins import load_files
    from harness.planning.published_sets import import_set

    load_files(plugin or ())
    distilled = import_set(
        format_,
        path,
        dataset,
        ipc,
        data_dir=data_dir,
        workers=workers,
        check=check,
        teacher=teacher,
        order=classes,
        force=force,
        say=print,
    )
    print(f"{distilled.save(output)}: {distilled!r}\ndigest {distilled.digest}")
