"""Options that say which of a board's records are meant: the same words for `show` and `remove`, and for what `run` trains."""

from __future__ import annotations

from typing import Annotated

import typer


def _option(name: str, what: str) -> object:
    return typer.Option(f"--{name}", help=f"{what} (repeatable)", metavar="NAME")


Names = list[str] | None
OfScenario = Annotated[Names, _option("scenario", "of this scenario")]
OfLoss = Annotated[Names, _option("loss", "of this loss, as tables show it")]
OfSet = Annotated[Names, _option("set", "of this distilled set, as tables show it")]
OfModel = Annotated[Names, _option("model", "of this student")]
OfOptimizer = Annotated[Names, _option("optimizer", "of this optimizer")]
OfProtocol = Annotated[Names, _option("protocol", "of this protocol; smoke where a board was only tried out")]
OfSeed = Annotated[Names, _option("seed", "of this seed")]
#: How messages name them.
OPTIONS = "--scenario, --loss, --set, --model, --optimizer, --protocol, --seed"
