"""`giftbench show`: some of a board's records and their numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from harness.cli.options import AllowPluginsOption, BoardArgument, PluginOption
from harness.cli.selecting import OfLoss, OfModel, OfOptimizer, OfProtocol, OfScenario, OfSeed, OfSet

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from harness.boards.evidence import Evidence
    from harness.boards.records import Record


def show(
    board: BoardArgument,
    scenario: OfScenario = None,
    loss: OfLoss = None,
    set_: OfSet = None,
    model: OfModel = None,
    optimizer: OfOptimizer = None,
    protocol: OfProtocol = None,
    seed: OfSeed = None,
    plugin: PluginOption = None,
    allow_plugins: AllowPluginsOption = False,
) -> None:
    """List records and their numbers, those that fit all that is said, in the board's order.

    What is the same of all is said once, above. `giftbench rerun ID` trains one of them again.
    """
    from harness.boards.evidence import evidence
    from harness.boards.records import RecordStore
    from harness.boards.selection import Selection
    from harness.core.errors import at
    from harness.running.opening import read_board

    file, _, _ = read_board(board, plugin or (), allow_plugins)
    records = RecordStore(file.parent / "records").read()
    chosen = Selection(*(tuple(names or ()) for names in (scenario, loss, set_, model, optimizer, protocol, seed)))
    with at(str(file)):
        shown = chosen.of(records)
    if not shown:
        why = chosen.why_none([record.trial for record in records]) if records else "it has no records yet"
        typer.echo(f"giftbench: {file}: {why}", err=True)
        raise typer.Exit(1)
    shown.sort(key=lambda record: (record.trial.labels.order, record.id))
    print("\n".join(lines(shown, evidence(file.parent), len(records))))


def lines(records: Sequence[Record], known: Mapping[str, Evidence], total: int) -> list[str]:
    """Return what is shown of records: how many, what they all share, and a line each of the rest.

    Args:
        known: how far each is to be believed; one that is missing is claimed.
        total: how many the board has.
    """
    rows = [_row(record, known.get(record.id, "claimed")) for record in records]
    names = list(dict.fromkeys(name for row in rows for name in row))
    shared = [name for name in names if name != "id" and len({row.get(name, "") for row in rows}) == 1]
    shared = [name for name in shared if name not in _NUMBERS] if len(rows) > 1 else []
    said = [f"{name} {rows[0][name]}" for name in shared if rows[0].get(name)]
    head = f"{len(records)} of {total} records" + (f", all of {', '.join(said)}" if said else "")
    shown = [name for name in names if name not in shared]
    cells = [shown, *([row.get(name, "") for name in shown] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    ends = [str.rjust if name in _NUMBERS else str.ljust for name in shown]
    body = ["  ".join(end(cell, width) for end, cell, width in zip(ends, row, widths, strict=True)).rstrip() for row in cells]
    return [head, "", *body]


_NUMBERS = ("accuracy", "best", "top-5", "seconds")


def _row(record: Record, evidence: Evidence) -> dict[str, str]:
    trial, labels, metrics = record.trial, record.trial.labels, record.metrics
    numbers = {"accuracy": "accuracy", "best": "best_accuracy", "top-5": "top5_accuracy"}
    return {
        "id": record.id,
        **{name: f"{metrics[metric]:.2f}" for name, metric in numbers.items() if metric in metrics},
        "scenario": trial.scenario,
        "dataset": labels.dataset or trial.dataset.name,
        "set": labels.method,
        "IPC": "" if labels.ipc is None else f"{labels.ipc:g}",
        "model": labels.model or trial.model.name,
        "loss": labels.loss or trial.loss.name,
        "optimizer": labels.optimizer or trial.optimizer.name,
        "protocol": labels.protocol or trial.protocol.name,
        **{name: str(value) for name, value in labels.own.items()},
        "seed": str(trial.seed),
        "status": record.status,
        "evidence": evidence,
        "device": record.environment.device,
        "seconds": f"{record.timing.get('total', 0.0):.1f}",
        **({"error": record.error} if record.error else {}),
    }
