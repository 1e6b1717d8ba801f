"""Published numbers of a board as tables of their own, each cell marked reported: nothing is ranked with them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pandas

from harness.boards.board import Board
from harness.leaderboard.reported import ReportedCell, load, of_tables
from harness.leaderboard.tables import Table
from harness.leaderboard.text import escape, fixed

#: How far the numbers are to be believed, in the words of `harness.boards.evidence`.
REPORTED = "reported"
NOTE = (
    "Reported: as a paper has it, the best of four test evaluations, mean ± standard deviation (ddof 0) over three runs. Nobody "
    "has trained it here, and it is ranked with nothing."
)


def reported_tables(board: Board, folder: Path) -> list[Table]:
    """Return the published numbers that a board names, a table for each dataset of each of the paper's tables.

    Args:
        folder: the board's.
    Raises: DataError for a file that is not what `harness.leaderboard.reported.load` reads, or has no such table.
    """
    tables = [name for name in board.reported_tables if not name.lower().startswith("figure")]  # which prints no numbers
    if not board.reported or (board.reported_tables and not tables):
        return []
    cells = of_tables(load(folder / Path(board.reported).expanduser()), tables, board.reported)
    groups: dict[tuple[str, str], list[ReportedCell]] = {}
    for cell in cells:
        groups.setdefault((cell.table, cell.dataset), []).append(cell)
    return [_table(table, dataset, group) for (table, dataset), group in groups.items()]


def _table(table: str, dataset: str, cells: Sequence[ReportedCell]) -> Table:
    several = {name: len({getattr(cell, name) for cell in cells}) > 1 for name in ("network", "optimizer", "distilled_on")}
    columns = ", ".join(name for name in ("network", "optimizer") if several[name])
    frame = pandas.DataFrame([*_rows(cells, several)])
    ipcs = sorted({cell.ipc for cell in cells})
    labels = [*dict.fromkeys(zip(frame["ipc"], frame["column"], strict=True))]
    return Table(
        f"{escape(dataset)} — table {escape(table)}",
        frame.assign(dataset=dataset),
        "loss",
        columns,
        tuple(dict.fromkeys(zip(frame["method"], frame["row"], strict=True))),
        tuple((str(ipc), column) for ipc in ipcs for place, column in labels if place == str(ipc)),
        notes=[NOTE],
        quantity="best test accuracy in %",
    )


def _rows(cells: Sequence[ReportedCell], several: dict[str, bool]) -> Iterator[dict[str, object]]:
    """Yield the cells of a table, under the words that the paper has for them."""
    for cell in cells:
        loss = cell.loss + (" + refinement" if cell.refine and cell.loss != "gift" else "")
        made_on = f" ({cell.distilled_on})" if several["distilled_on"] and cell.distilled_on else ""
        column = ", ".join(getattr(cell, name) for name in ("network", "optimizer") if several[name])
        spread = fixed(cell.std, 1)
        yield {
            "method": cell.method + made_on,
            "row": loss,
            "ipc": str(cell.ipc),
            "column": column,
            "loss": loss,
            "optimizer": cell.optimizer,
            "model": cell.network,
            "native": cell.native,
            "value": fixed(cell.accuracy, 1) + (f" ± {spread}" if spread else ""),
            "best_on_test_mean": cell.accuracy,
            "evidence": REPORTED,
        }
