"""What a reader works from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from harness.datasets.cards import Card
from harness.distilled.order import Order


@dataclass(frozen=True)
class Reading:
    """Where a published distilled set lies, and what it is a set of.

    A reader is a function `name(reading: Reading, *, option=default) -> DistilledSet`.

    Attributes:
        path: the file or folder.
        card: the dataset whose classes these are.
        ipc: images a class to take, by the publisher's own rule; None takes all there are.
        workers: processes that decode images; 0 takes one a core.
        say: is told, in one line each, what the reader found or assumed that its user should know.
        order: of the set's classes, where its user states one; None leaves that to what the files show.
        origin: what `path` was unpacked from, beside which more of the set may lie; None where nothing was.
    """

    path: Path
    card: Card
    ipc: int | None = None
    workers: int = 0
    say: Callable[[str], None] = field(default=lambda line: None, repr=False)
    order: Order | None = None
    origin: Path | None = None
