"""`giftbench list`: what can be named."""

from __future__ import annotations

from typing import Annotated

import typer

from harness.cli.options import PluginOption
from harness.cli.registries import LISTED


def list_(
    kind: Annotated[str, typer.Argument(help=f"{', '.join(LISTED[:-1])} or {LISTED[-1]}; or all")] = "all",
    plugin: PluginOption = None,
) -> None:
    """List what can be named on a board, its parameters, and where it comes from."""
    from harness.cli.listing import show

    show(kind, plugin or ())
