"""`giftbench new`: a plugin and its test, written."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.cli.templates import KINDS


def new(
    kind: Annotated[str, typer.Argument(help=f"{', '.join(list(KINDS)[:-1])} or {list(KINDS)[-1]}")],
    name: Annotated[str, typer.Argument(help="what boards shall call it: lower-case letters, digits, - and _")],
    folder: Annotated[Path, typer.Option(help="where to write", metavar="DIR")] = Path(),
) -> None:
    """Write a plugin that works as it stands, and its test, into the current folder."""
    from shlex import quote

    from harness.cli.scaffold import scaffold

    plugin, test = scaffold(kind, name, folder)
    print(f"{plugin}\n{test}\nnext:")
    print(f"  giftbench list {KINDS[kind][0]} --plugin {quote(str(plugin))}\n  pytest {quote(str(test))}")
