"""`giftbench list`: what can be named."""

from __future__ import annotations

from typing import Annotated

import typer

from harness.cli.options import PluginOption


def list_(
    kind: Annotated[
        str, typer.Argument(help="losses, models, optimizers, schedules, datasets, distillers, scenarios or protocols; or all")
    ] = "all",
    plugin: PluginOption = None,
) -> None:
    """List what can be named on a board, its parameters, and where it comes from."""
    from harness.cli.listing import show

    show(kind, plugin or ())
