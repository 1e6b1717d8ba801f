"""`giftbench inspect`: what a distilled set is, and its images."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


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
