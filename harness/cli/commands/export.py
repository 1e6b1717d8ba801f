"""`giftbench export`: a distilled set as others can use it, with its card, perhaps on the Hub."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def export(
    file: Annotated[Path, typer.Argument(help="a distilled set", metavar="SET")],
    output: Annotated[Path, typer.Option("--output", "-o", help="folder to write; a new one", metavar="FOLDER")],
    licence: Annotated[
        str, typer.Option("--licence", "--license", help="that you publish it under: mit, cc-by-4.0, or a name and a link")
    ],
    title: Annotated[str, typer.Option(help="what the card calls it (its method and dataset)", metavar="WORDS")] = "",
    push: Annotated[str, typer.Option(help="put it on the Hugging Face Hub, too", metavar="hub:USER/NAME")] = "",
    private: Annotated[bool, typer.Option("--private", help="with --push: seen by its owner alone")] = False,
) -> None:
    """Write a set as parquet with a dataset card and Croissant metadata; `giftbench import parquet` reads it back the same."""
    from harness.distilled.publishing import publish
    from harness.distilled.set import DistilledSet

    for written in publish(DistilledSet.load(file), output, licence, title=title, place=push, private=private):
        print(written)
