"""What others have brought to a board: who, from where, made on what, which records, and those that conflict with the board's.

It lies in `submissions/NAME/` beside the board: `submission.toml`, which the contributor writes, and `records/`. Records that
joined the board are moved to its own; `records.sha256` says which they were. Those that stay are in conflict: the board has
another record of the same trial, and which of two is right is for people to say.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from harness.boards import faults, seals
from harness.boards.records import Record
from harness.core.errors import BoardError, DataError
from harness.files import paths

#: The folder beside a board, and the file in each of those in it.
FOLDER, FILE = "submissions", "submission.toml"
MAX_BYTES = 64 << 10
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")

Words = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]+$")]


class Submission(BaseModel):
    """Who brings records to a board.

    Attributes:
        name: of the contributor, as tables say it.
        contact: an address of theirs: a URL, or a mail address.
        machine: that the records were made on.
        date: on which they were made, YYYY-MM-DD.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Words
    contact: Words
    machine: Words
    date: Annotated[str, BeforeValidator(str), Field(pattern=r"^\d{4}-\d{2}-\d{2}$")]


@dataclass(frozen=True)
class Conflict:
    """Two records of one trial: the board's, and the one that was brought."""

    own: Record
    brought: Record

    def __str__(self) -> str:
        here, there = (each.error or f"{each.metrics.get('accuracy', float('nan')):.2f} %" for each in (self.own, self.brought))
        return f"{self.own.id}: {here} here, {there} there"


@dataclass(frozen=True)
class Joined:
    """A submission as it lies beside a board.

    Attributes:
        folder: its name.
        ids: of the records that joined the board.
        conflicts: those that did not, with the board's.
    """

    folder: str
    submission: Submission
    ids: tuple[str, ...]
    conflicts: tuple[Conflict, ...]


def read(folder: Path) -> Submission:
    """Return who a folder of records is of. Raises BoardError, in one line, where it does not say so."""
    path = folder / FILE
    example = 'name = "…", contact = "https://…", machine = "…", date = 2026-01-31'
    if not path.is_file():
        raise BoardError(f"{path}: not there; expected {example}")
    try:
        return Submission.model_validate(tomllib.loads(paths.content(path, MAX_BYTES).decode("utf-8-sig")))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"]))
        raise BoardError(f"{path}: {place}: {paths.line(first['msg'])}; expected {example}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, DataError) as error:
        raise BoardError(f"{path}: {paths.line(error)}; expected {example}") from None


def joined(board: Path) -> Iterator[Joined]:
    """Yield what lies beside a board, by name; a folder without `records.sha256` has not been looked at yet.

    Args:
        board: its folder.
    Raises: BoardError for one that has been, and cannot be read.
    """
    for path in sorted((board / FOLDER).glob("*/")):
        seal = seals.read(path)
        if seal is not None:
            yield Joined(path.name, read(path), tuple(sorted(seal)), tuple(conflicts(path / "records", board / "records")))


def conflicts(brought: Path, own: Path) -> Iterator[Conflict]:
    """Yield the records of one folder that another has too, as other bytes."""
    for record in faults.read(brought).records:
        name = f"{record.id}.json"
        if (own / name).is_file() and seals.digest(own / name) != seals.digest(brought / name):
            for other in faults.read_some(own, [record.id]).records:
                yield Conflict(other, record)
