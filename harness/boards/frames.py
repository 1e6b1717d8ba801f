"""Records as a DataFrame: one row a record, what every table is made of."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.boards.board import board_path
from harness.boards.evidence import Evidence, evidence
from harness.boards.records import LOSS, Record, RecordStore, uncollected

if TYPE_CHECKING:
    import pandas

#: Columns of a frame of records, beside those that trials state and metrics: facts in words, and what is none.
FACTS = (
    *("scenario", "scenario_version", "dataset_digest", "distilled", "teacher_digest", "plugins", "setup"),
    *("status", "error", "device", "versions", "id"),
)
REST = ("options", "seed", "seconds", "history", "training_loss", "warnings", "evidence")


def records(board: str | Path) -> pandas.DataFrame:
    """Return every record of a board as a DataFrame: see `to_frame`; an empty one when nothing has run yet.

    Args:
        board: its folder, or its file; or a folder of `evaluate(board=…)`, which has records and no board file.
    Raises: BoardError when there is no board.
    """
    with uncollected():
        kept = Path(board) if any((Path(board) / "records").glob("*.json")) else None
        folder = kept or board_path(board).parent
        return to_frame(RecordStore(folder / "records").read(), evidence(folder))


def to_frame(records: list[Record], known: Mapping[str, Evidence] | None = None) -> pandas.DataFrame:
    """Return one row a record: the trial's labels, `FACTS` and `REST`, and metrics.

    `dataset_digest`, `distilled` and `teacher_digest` are of the data, `plugins` of code, `setup` is the hash of all but the
    seed: labels that look alike may hide that these differ. `training_loss` is the mean of the last steps, since the evaluation
    before the last one, NaN where a record does not hold it. Sorted by the order in which the board planned the trials, then by
    id, so that the same records give the same frame. `evidence` is how far a record is to be believed
    (`harness.boards.evidence`): what `known` says of its id, and else claimed.
    """
    import pandas

    frame = pandas.DataFrame([_row(record, (known or {}).get(record.id, "claimed")) for record in records])
    return frame if frame.empty else frame.sort_values(["order", "id"], kind="stable", ignore_index=True)


def _row(record: Record, evidence: Evidence) -> dict[str, Any]:
    trial, environment = record.trial, record.environment
    return {
        **trial.labels.stated(),
        "scenario": trial.scenario,
        "scenario_version": trial.version,
        "dataset_digest": trial.dataset.digest,
        "distilled": trial.distilled,
        "teacher_digest": "+".join(trial.teacher),
        "plugins": "; ".join(f"{name} of {plugin.source} ({plugin.digest[:8]})" for name, plugin in trial.setup.plugins.items()),
        "setup": trial.setup.hash,
        "status": record.status,
        "error": record.error,
        "device": environment.device,
        "versions": ", ".join(f"{name} {version}" for name, version in environment.versions.items()),
        "id": record.id,
        "options": trial.options,
        "seed": trial.seed,
        "seconds": record.timing.get("total", 0.0),
        "history": record.history,
        "training_loss": record.history[-1].get(LOSS, math.nan) if record.history else math.nan,
        "warnings": "; ".join(record.provenance.warnings),
        "evidence": evidence,
        **record.metrics,
    }
