"""Records: one JSON file a trial, written whole or not at all."""

from __future__ import annotations

import gc
import json
import logging
import math
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, SerializerFunctionWrapHandler, ValidationError, model_serializer
from pydantic_core import from_json

from harness.boards.board import board_path
from harness.boards.labels import Stated
from harness.boards.setup import Setups
from harness.boards.trial import Trial
from harness.files import atomic
from harness.files.claims import clock

if TYPE_CHECKING:
    import pandas

log = logging.getLogger("giftbench")

SCHEMA = "giftbench.record/1"
#: Seconds after which a file that is not written to any more, and has not been given its name, is nobody's: a record takes none.
ABANDONED = 600.0
Status = Literal["done", "diverged", "failed"]


class Environment(Stated):
    """Where a record was made, and with what. Further facts are kept by name.

    Attributes:
        versions: of Python and the packages that numbers depend on.
        device: the processor's or the GPU's name, `CPU …` or NVIDIA's.
        threads: how many torch computed with.
        precision: of the trial's protocol.
        commit: of the checkout that the harness ran from, with a plus when it was changed; empty outside of one.
        together: how many trainings were made in the same pass, of whose time this one's is a share.
    """

    versions: dict[str, str] = Field(default_factory=dict)
    device: str = ""
    threads: int = 0
    precision: str = ""
    commit: str = ""
    together: int = 1


class Provenance(Stated):
    """What a record's number rests on beside its trial. Further facts are kept by name.

    Attributes:
        warnings: what the checks of the distilled set warn of, a line each.
    """

    warnings: Annotated[tuple[str, ...], Field(strict=False)] = ()


class Record(BaseModel):
    """A trial with its outcome and provenance.

    Attributes:
        metrics: `accuracy` (last epoch, percent), `best_accuracy` (best of those evaluated), `top5_accuracy`, and the
            scenario's own.
        history: one entry an evaluation: epoch, accuracy, top5_accuracy; `not_finite`, how many images of the test split had
            logits that are not finite, where there were any.
        error: what went wrong, when the status is `failed`.
        timing: seconds by phase.
        environment: where it was made.
        provenance: what else is to be known of its number; left out of the file where there is nothing.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_: str = Field(SCHEMA, alias="schema")
    id: str
    trial: Trial
    status: Status
    metrics: dict[str, float] = Field(default_factory=dict)
    history: list[dict[str, float]] = Field(default_factory=list)
    error: str = ""
    timing: dict[str, float] = Field(default_factory=dict)
    environment: Environment = Field(default_factory=Environment)
    created: str = ""
    provenance: Provenance = Field(default_factory=Provenance)

    @model_serializer(mode="wrap")
    def _without_nothing(self, written: SerializerFunctionWrapHandler) -> dict[str, object]:
        """Leave out a provenance that says nothing, so that such a record is written as it always was."""
        content: dict[str, object] = written(self)
        return content if content.get("provenance") else {k: v for k, v in content.items() if k != "provenance"}

    def warned(self, warnings: tuple[str, ...]) -> Record:
        """Return the record with what the checks of its distilled set warn of."""
        if not warnings:
            return self
        provenance = Provenance.model_validate({**self.provenance.stated(), "warnings": warnings})
        return self.model_copy(update={"provenance": provenance})

    @classmethod
    def of(
        cls,
        trial: Trial,
        status: Status,
        *,
        metrics: Mapping[str, float] | None = None,
        history: Sequence[Mapping[str, float]] = (),
        error: str = "",
        timing: Mapping[str, float] | None = None,
        environment: Environment | Mapping[str, object] | None = None,
    ) -> Record:
        """Return a record of `trial`, stamped with the time. Metrics that no JSON can hold make it a failed one that says so."""
        odd = [f"{name} = {value}" for name, value in (metrics or {}).items() if not math.isfinite(value)]
        if odd:
            status, metrics, history = "failed", None, ()
            error = f"the scenario returned metrics that are not finite: {', '.join(odd)}"
        return cls(
            schema=SCHEMA,
            id=trial.id,
            trial=trial,
            status=status,
            metrics=dict(metrics or {}),
            history=[dict(entry) for entry in history],
            error=error,
            timing=dict(timing or {}),
            environment=Environment.model_validate(environment or {}),
            created=datetime.now(UTC).isoformat(timespec="seconds"),
        )


class RecordStore:
    """The records of one board, in a folder: `ID.json` each."""

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)

    def write(self, record: Record) -> Path:
        """Write a record whole or not at all, and return its path."""
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / f"{record.id}.json"
        content = json.dumps(record.model_dump(mode="json", by_alias=True), indent=1, sort_keys=True, allow_nan=False)
        atomic.write(path, content + "\n")
        return path

    def __iter__(self) -> Iterator[Record]:
        """Yield every record, by id. A broken one is named in a warning and moved to `broken/`."""
        reader = Reader()
        for name in _names(self.folder):
            record = self._read(self.folder / name, reader)
            if record is not None:
                yield record

    def ids(self) -> set[str]:
        """Return the ids of all records, by the names of their files; none of them is read."""
        return {name.removesuffix(".json") for name in _names(self.folder)}

    def read(self) -> list[Record]:
        """Return every record, by id, as iterating does, in less time."""
        with uncollected():
            return list(self)

    def get(self, name: str) -> Record | None:
        """Return the record of an id; None where there is none, or a broken one."""
        path = self.folder / f"{name}.json"
        return self._read(path, Reader()) if path.is_file() else None

    def _read(self, path: Path, reader: Reader) -> Record | None:
        try:
            record = reader.read(path.read_bytes())
            if record.schema_ != SCHEMA:
                raise ValueError(f"schema {record.schema_!r}, expected {SCHEMA!r}")
            if record.id != path.stem or record.trial.id != record.id:
                raise ValueError("its id is not the hash of its trial")
            return record
        except (ValidationError, ValueError) as error:
            aside = self.folder / "broken" / path.name
            aside.parent.mkdir(exist_ok=True)
            path.replace(aside)
            reason = str(error).splitlines()[0]
            log.warning("%s: broken record, set aside in %s: %s", path, aside.parent, reason)
            return None

    def set_aside(self, ids: Iterable[str], folder: Path) -> None:
        """Move records into another folder; one of the same id that lies there is replaced."""
        folder.mkdir(parents=True, exist_ok=True)
        for name in ids:
            (self.folder / f"{name}.json").replace(folder / f"{name}.json")

    def sweep(self) -> None:
        """Remove what writers that were killed have left, so long ago that no other can still be writing it."""
        temporary = [*self.folder.glob(".*.tmp")]
        now = clock(self.folder) if temporary else 0.0
        for path in temporary:
            with suppress(OSError):  # which another may have removed by now
                if now - path.stat().st_mtime > ABANDONED:
                    path.unlink()

    def frame(self) -> pandas.DataFrame:
        """Return the records as a DataFrame: see `to_frame`."""
        with uncollected():
            return to_frame(list(self))


def records(board: str | Path) -> pandas.DataFrame:
    """Return every record of a board as a DataFrame: see `to_frame`; an empty one when nothing has run yet.

    Args:
        board: its folder, or its file.
    Raises: BoardError when there is no board.
    """
    return RecordStore(board_path(board).parent / "records").frame()


@contextmanager
def uncollected() -> Iterator[None]:
    """Keep Python from looking for garbage while many objects are made that all stay: it would go through them time and again."""
    running = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if running:
            gc.enable()


def _names(folder: Path) -> list[str]:
    """Return the names of a folder's records, sorted; none when there is no folder. Thousands of Paths take longer to sort."""
    with suppress(FileNotFoundError, NotADirectoryError, PermissionError), os.scandir(folder) as entries:
        return sorted(entry.name for entry in entries if entry.name.endswith(".json"))
    return []


class Reader:
    """Reads records, and checks the setup that trials share once for all of them."""

    def __init__(self) -> None:
        self.setups = Setups()

    def read(self, content: bytes) -> Record:
        """Return the record of a file's bytes. Raises ValidationError."""
        try:
            record = from_json(content)
            trial = record["trial"]
            own = {name: trial.pop(name) for name in ("seed", "labels")}
            record["trial"] = {"setup": self.setups.read(trial), **own}
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
            return Record.model_validate_json(content)  # which says what is wrong with it
        return Record.model_validate(record)


#: Columns of a frame of records, beside those that trials state and metrics: facts in words, and what is none.
FACTS = (
    *("scenario", "scenario_version", "dataset_digest", "distilled", "teacher_digest", "plugins", "setup"),
    *("status", "error", "device", "versions", "id"),
)
REST = ("options", "seed", "seconds", "history", "warnings")


def to_frame(records: list[Record]) -> pandas.DataFrame:
    """Return one row a record: the trial's labels, `FACTS` and `REST`, and metrics.

    `dataset_digest`, `distilled` and `teacher_digest` are of the data, `plugins` of code, `setup` is the hash of all but the
    seed: labels that look alike may hide that these differ. Sorted by the order in which the board planned the trials, then by
    id, so that the same records give the same frame.
    """
    import pandas

    frame = pandas.DataFrame([_row(record) for record in records])
    return frame if frame.empty else frame.sort_values(["order", "id"], kind="stable", ignore_index=True)


def _row(record: Record) -> dict[str, Any]:
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
        "warnings": "; ".join(record.provenance.warnings),
        **record.metrics,
    }
