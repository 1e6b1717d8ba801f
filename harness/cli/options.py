"""Arguments and options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

BoardArgument = Annotated[Path, typer.Argument(help="board.toml, or the folder that holds it", metavar="BOARD")]
PluginOption = Annotated[
    list[str] | None, typer.Option("--plugin", help="a Python file that registers plugins (repeatable)", metavar="FILE")
]
AllowPluginsOption = Annotated[
    bool, typer.Option("--allow-plugins", help="let the board's own plugin files run, from now on and until they change")
]
DeviceOption = Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N")]
DataOption = Annotated[Path | None, typer.Option(help="folder of the dataset's files (else GIFTBENCH_DATA)", metavar="PATH")]
