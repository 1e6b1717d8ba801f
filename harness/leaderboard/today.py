"""Which records are of today: a leaderboard, and a comparison, leave out those of plugins as they no longer are, and say so."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from harness.boards.board import Board
from harness.boards.records import Contents, Record
from harness.boards.setup import Setup
from harness.leaderboard.text import escape, listed

#: Gives in words the plugins that a setup rests on and that have been changed since: its records are not shown. It is told what
#: the board says of plugins that records do not name (`Board.unnoted`).
Outdated = Callable[[Setup, Mapping[str, str]], tuple[str, ...]]


def none_is(setup: Setup, unnoted: Mapping[str, str]) -> tuple[str, ...]:
    """No plugin has been changed: for records whose plugins nobody can look at."""
    return ()


def of_today(contents: Contents, board: Board, outdated: Outdated) -> tuple[list[Record], str]:
    """Return the records whose plugins are as they were, and a sentence on the others and on those that cannot be read yet."""
    records, newer = contents.records, len(contents.newer)
    later = f" Not shown: {newer} record{'s' * (newer > 1)} made by a newer giftbench." if newer else ""
    earlier: dict[int, tuple[str, ...]] = {}
    for record in records:
        setup = record.trial.setup
        if id(setup) not in earlier:
            earlier[id(setup)] = outdated(setup, board.unnoted)
    shown = [record for record in records if not earlier[id(record.trial.setup)]]
    hidden = len(records) - len(shown)
    if not hidden:
        return shown, later
    names = sorted({name for words in earlier.values() for name in words})
    return shown, f" Not shown: {hidden} record{'s' * (hidden > 1)} made by an earlier {listed([*map(escape, names)])}.{later}"
