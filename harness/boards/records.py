"""Records: one JSON file a trial, written whole or not at all."""

from __future__ import annotations

import gc
import json
import logging
import math
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, SerializerFunctionWrapHandler, ValidationError, model_serializer
from pydantic_core import from_json

from harness.boards.labels import Stated
from harness.boards.setup import Setups
from harness.boards.trial import Trial
from harness.core.errors import DataError
from harness.files import atomic, paths
from harness.files.claims import clock

log = logging.getLogger("giftbench")

SCHEMA = "giftbench.record/1"
#: Seconds after which a file that is not written to any more, and has not been given its name, is nobody's: a record takes none.
ABANDONED = 600.0
#: What every schema of records, a later one's too, is called before its number.
FAMILY = "giftbench.record/"
#: What an entry of a history calls the mean training loss of the steps before it.
LOSS = "loss"
#: Bytes of a record's file; one of a thousand evaluations has a tenth of a megabyte.
MAX_BYTES = 64 << 20
#: Digits of a number that nobody has measured, and that Python does not write.
LONG = re.compile(rb"\d{1001}")
Status = Literal["done", "diverged", "failed"]


class Environment(Stated):
    """Where a record was made, and with what. Further facts are kept by name: `uncaptured`, say, of steps of a stream on a GPU.

    Attributes:
        versions: of Python and the packages that numbers depend on.
        device: the processor's or the GPU's name, `CPU …` or NVIDIA's.
        threads: how many torch computed with.
        precision: of the trial's protocol.
        commit: of the checkout that the harness ran from, with a plus when it was changed; empty outside of one.
        together: how many trainings were made in the same pass, of whose time this one's is a share.
        trained: in which way: `alone`, `stacked`, `captured` as a CUDA graph, `captured stacked`, `side by side`, or
            `side by side, asked together`, the teacher for all at once; empty in records from before this was noted.
        trained_with: the ids of all trials of that pass, in the order in which they were stacked, its own among them.
        taken_from: the id of the record of the same training, asked for by another scenario, whose numbers these are; else empty.
        taken_up: how many epochs, or steps of a stream, were made by a run that was cut off.
        deterministic: whether torch was held to operations that repeat themselves.
        compiled: whether the student's training passes were torch.compile's.
        convolutions: `fast` where some of the student's were made in training by the ways of `harness.training.convolutions`;
            empty where all were torch's own.
    """

    versions: dict[str, str] = Field(default_factory=dict)
    device: str = ""
    threads: int = 0
    precision: str = ""
    commit: str = ""
    together: int = 1
    trained: str = ""
    trained_with: Annotated[tuple[str, ...], Field(strict=False)] = ()
    taken_from: str = ""
    taken_up: int = 0
    deterministic: bool = False
    compiled: bool = False
    convolutions: str = ""


class Provenance(Stated):
    """What a record's number rests on beside its trial. Further facts are kept by name.

    Attributes:
        warnings: what the checks of the distilled set warn of, a line each.
        image_bytes, pixel_bytes, label_bytes: of a distilled set that has files of its authors, or is not 8-bit pixels and
            classes alone, or is of a dataset that does not ship; None of others.
    """

    warnings: Annotated[tuple[str, ...], Field(strict=False)] = ()
    image_bytes: int | None = None
    pixel_bytes: int | None = None
    label_bytes: int | None = None


class Record(BaseModel):
    """A trial with its outcome and provenance.

    Attributes:
        metrics: `accuracy` (last epoch, percent), `best_accuracy` (best of those evaluated), `top5_accuracy`, and the
            scenario's own.
        history: one entry an evaluation: epoch, accuracy, top5_accuracy; `loss`, the mean training loss of the steps since the
            entry before it, which records from before this was noted lack, and those of streams; `not_finite`, how many images
            of the test split had logits that are not finite, where there were any.
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
        return self.stating(warnings=warnings) if warnings else self

    def stating(self, **facts: object) -> Record:
        """Return the record with facts of its provenance beside those that it has; none of them: itself."""
        if not facts:
            return self
        return self.model_copy(update={"provenance": Provenance.model_validate({**self.provenance.stated(), **facts})})

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
        odd = odd_numbers(metrics or {}, history, timing or {})
        if odd:
            status, metrics, history = "failed", None, ()
            error = f"the scenario returned what no measure can be: {'; '.join(odd)}"
            timing = {name: value for name, value in (timing or {}).items() if math.isfinite(value)}
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


class NoRecord(ValueError):
    """A JSON file that is nobody's record."""


class NewerRecord(ValueError):
    """A record whose schema came after this giftbench; the message is that schema."""


@dataclass(frozen=True)
class Contents:
    """What a folder of records holds.

    Attributes:
        records: those that can be read, by id.
        newer: {id: schema} of those that a newer giftbench made, which stay as they are.
    """

    records: list[Record]
    newer: Mapping[str, str]

    @property
    def said(self) -> str:
        """A line on the records that a newer giftbench made; empty where there is none."""
        if not self.newer:
            return ""
        count = len(self.newer)
        schemas = ", ".join(sorted({*self.newer.values()})[:3])
        return (
            f"{count} record{'s' * (count > 1)} made by a newer giftbench ({schemas}; this one reads {SCHEMA}) "
            f"{'are' if count > 1 else 'is'} left alone; a newer giftbench shows {'them' if count > 1 else 'it'}"
        )


def odd_numbers(metrics: Mapping[str, float], history: Sequence[Mapping[str, float]], timing: Mapping[str, float]) -> list[str]:
    """Return what is wrong with a record's numbers, a line each: those not finite, and accuracies that are no percentage."""
    parts = [("metrics", metrics), *((f"history[{i}]", entry) for i, entry in enumerate(history)), ("timing", timing)]
    lines = []
    for part, numbers in parts:
        for name, value in numbers.items():
            if not math.isfinite(value):
                lines.append(f"{part}.{name}: {value} is not finite")
            elif name.endswith("accuracy") and not 0 <= value <= 100:
                lines.append(f"{part}.{name}: {value:g} is outside of 0 to 100 percent")
    return lines


class RecordStore:
    """The records of one board, in a folder: `ID.json` each.

    Other things may lie there: each is passed over with a warning, and stays, unless a record needs its name.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self._passed: set[str] = set()

    def write(self, record: Record) -> Path:
        """Write a record whole or not at all, and return its path; what is no record and has its name is set aside.

        Raises: WriteError, and then the folder is what it was.
        """
        atomic.make_folder(self.folder)
        path = self.folder / f"{record.id}.json"
        if path.name in self._passed or (os.path.lexists(path) and not path.is_file()):
            with atomic.told(path):
                log.warning("%s: set aside as %s: a record needs its name", path, self._set_aside(path))
            self._passed.discard(path.name)
        content = json.dumps(record.model_dump(mode="json", by_alias=True), indent=1, sort_keys=True, allow_nan=False)
        atomic.write(path, content + "\n")
        return path

    def contents(self) -> Contents:
        """Return all that the folder holds. A broken record is named in a warning and moved to `broken/`."""
        records: list[Record] = []
        newer: dict[str, str] = {}
        reader = Reader()
        with uncollected():
            for name in _names(self.folder):
                path = self.folder / name
                try:
                    record = self._read(path, reader)
                except NewerRecord as error:
                    newer[path.stem] = str(error)
                    continue
                if record is not None:
                    records.append(record)
        return Contents(records, newer)

    def __iter__(self) -> Iterator[Record]:
        """Yield every record, by id, as `read` returns them."""
        return iter(self.read())

    def ids(self) -> set[str]:
        """Return the ids of all records, by the names of their files; none of them is read."""
        return {name.removesuffix(".json") for name in _names(self.folder)}

    def read(self) -> list[Record]:
        """Return every record that can be read, by id; on what else there is, a line each is said."""
        contents = self.contents()
        if contents.said:
            log.warning("%s: %s", self.folder, contents.said)
        return contents.records

    def get(self, name: str) -> Record | None:
        """Return the record of an id; None where there is none, or a broken one."""
        path = self.folder / f"{name}.json"
        return self._read(path, Reader()) if path.is_file() else None

    def _read(self, path: Path, reader: Reader) -> Record | None:
        """Return the record of a file; None for what is none, which is said. Raises NewerRecord."""
        try:
            content = paths.content(path, MAX_BYTES)
        except FileNotFoundError:  # another process has taken it away
            return None
        except DataError as error:
            self._pass_over(path, str(error).removeprefix(f"{path}: "))
            return None
        try:
            return reader.record(content, path.stem)
        except NewerRecord:
            raise
        except NoRecord as error:
            self._pass_over(path, str(error))
            return None
        except (ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RecursionError) as error:
            reason = reason_of(error)
        try:
            log.warning("%s: broken record, set aside in %s: %s", path, self._set_aside(path).parent, reason)
        except FileNotFoundError:  # as above
            return None
        except OSError as error:
            self._pass_over(path, f"broken record ({reason}), and it cannot be set aside: {error.strerror}")
        return None

    def _pass_over(self, path: Path, reason: str) -> None:
        if path.name not in self._passed:
            log.warning("%s: passed over: %s", path, reason)
        self._passed.add(path.name)

    def _set_aside(self, path: Path) -> Path:
        """Move an entry into `broken/`, or where that is no folder into one beside it; return where it is now.

        It keeps its name, with a number where that is taken. Raises OSError.
        """
        names = ("broken", *(f"broken-{number}" for number in range(2, 100)))
        folder = next(self.folder / name for name in names if _free(self.folder / name) or (self.folder / name).is_dir())
        folder.mkdir(exist_ok=True)
        number, place = 1, folder / path.name
        while not _free(place):
            number += 1
            place = folder / f"{path.stem}.{number}{path.suffix}"
        return path.rename(place)

    def set_aside(self, ids: Iterable[str], folder: Path) -> None:
        """Move records into another folder; one of the same id that lies there is replaced. Raises WriteError."""
        atomic.make_folder(folder)
        for name in ids:
            with atomic.told(folder / f"{name}.json"):
                (self.folder / f"{name}.json").replace(folder / f"{name}.json")

    def sweep(self) -> None:
        """Remove what writers that were killed have left, so long ago that no other can still be writing it."""
        temporary = [*self.folder.glob(".*.tmp")]
        now = clock(self.folder) if temporary else 0.0
        for path in temporary:
            with suppress(OSError):  # which another may have removed by now, or which is in nobody's way
                if now - path.stat().st_mtime > ABANDONED:
                    path.unlink()

    def statuses(self) -> Counter[str]:
        """Return how many files there are of each status, as they state it; nothing is checked, moved or said."""
        counts: Counter[str] = Counter()
        for name in _names(self.folder):
            try:
                content = json.loads(paths.content(self.folder / name, MAX_BYTES))
                _check_kind(content)
                counts[paths.line(content["status"])] += 1
            except NewerRecord:
                counts["made by a newer giftbench"] += 1
            except NoRecord:
                counts["no record"] += 1
            except (OSError, ValueError, LookupError, TypeError, RecursionError):
                counts["broken"] += 1
        return counts


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


def _free(path: Path) -> bool:
    return not os.path.lexists(path)


def _check_kind(content: object) -> None:
    """Raise NoRecord or NewerRecord for JSON that no record of this giftbench can be."""
    schema = content.get("schema") if isinstance(content, Mapping) else None
    named = isinstance(schema, str) and schema.startswith(FAMILY)
    if not isinstance(content, Mapping) or not (named or "trial" in content):
        raise NoRecord("no record of a trial")
    number = re.fullmatch(r"[1-9][0-9]{0,8}", str(schema).removeprefix(FAMILY)) if named else None
    if number is not None and int(number[0]) > int(SCHEMA.removeprefix(FAMILY)):
        raise NewerRecord(schema)


def reason_of(error: Exception) -> str:
    """Return why a record cannot be read, in one line: `metrics.accuracy: …`, the field first."""
    if not isinstance(error, ValidationError):
        return paths.line(error) or type(error).__name__
    first = error.errors(include_url=False)[0]
    steps = [str(step) for step in first["loc"] if step != "setup"]  # which the file does not have: a trial is flat there
    message = first["msg"].removeprefix("Value error, ")
    value = first["input"]
    shown = (
        f", not {value!r}"
        if isinstance(value, (str, int, float)) and first["type"] not in ("value_error", "json_invalid")
        else ""
    )
    return paths.line(": ".join([*([".".join(steps)] if steps else []), message + shown]))


class Reader:
    """Reads records, and checks the setup that trials share once for all of them."""

    def __init__(self) -> None:
        self.setups = Setups()

    def record(self, content: bytes, name: str) -> Record:
        """Return the record of a file's bytes, whose id is `name`.

        Raises: NewerRecord, NoRecord; ValidationError or another ValueError for a record that is broken.
        """
        if LONG.search(content):
            raise ValueError("a number of more than 1,000 digits")
        record = self.read(content)
        if record.schema_ != SCHEMA:
            raise ValueError(f"schema: {record.schema_!r}, expected {SCHEMA!r}")
        if record.id != name or record.trial.id != record.id:
            raise ValueError("id: its id is not the hash of its trial")
        odd = odd_numbers(record.metrics, record.history, record.timing)
        if odd:
            raise ValueError(odd[0])
        return record

    def read(self, content: bytes) -> Record:
        """Return the record of a file's bytes. Raises ValidationError, NewerRecord, NoRecord."""
        try:
            record = from_json(content)
        except (ValueError, RecursionError):
            return Record.model_validate_json(content)  # which says what is wrong with it
        _check_kind(record)
        try:
            trial = record["trial"]
            own = {name: trial.pop(name) for name in ("seed", "labels")}
            record["trial"] = {"setup": self.setups.read(trial), **own}
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
            return Record.model_validate_json(content)  # which says what is wrong with it
        return Record.model_validate(record)
