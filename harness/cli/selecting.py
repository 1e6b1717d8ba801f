"""Options that say which of a board's records are meant: the same words for `show` and `remove`, and for what `run` trains."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from harness.boards.selection import Selection


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
OnlySet = Annotated[
    Names,
    typer.Option(
        "--set",
        help="only trials of this set; with =PATH, where a published one that the board waits for lies: NAME[/DATASET][/NETWORK]",
        metavar="NAME[=PATH]",
    ),
]
OnlyModel = Annotated[Names, _option("model", "only trials of this student, as tables show it")]
OnlyOptimizer = Annotated[Names, _option("optimizer", "only trials of this optimizer")]
OnlySeed = Annotated[Names, _option("seed", "only trials of this seed")]
#: How messages name them.
OPTIONS = "--scenario, --loss, --set, --model, --optimizer, --protocol, --seed"


def selected(sets: Names, model: Names, optimizer: Names, seed: Names) -> tuple[list[str], Selection]:
    """Return what `--set` brings to a board, NAME=PATH, and which trials are meant: of a set that is only named, say."""
    from harness.boards.selection import Selection

    named = tuple(word for word in sets or () if "=" not in word)
    chosen = Selection(set=named, model=tuple(model or ()), optimizer=tuple(optimizer or ()), seed=tuple(seed or ()))
    return [word for word in sets or () if "=" in word], chosen
