"""A board's seal: the SHA-256 of each of its records' files, in one file beside them, as `sha256sum --check` reads it.

A record holds no checksum of its own, and a number that is changed to a likely one shows in nothing else that it says. With the
seal under version control, as records are, a change shows in two places, and whoever makes both has to be seen doing so.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from harness.boards.records import MAX_BYTES
from harness.core.errors import BoardError
from harness.files import atomic, paths

#: The file beside a board's own.
NAME = "records.sha256"
_LINE = re.compile(r"([0-9a-f]{64})  records/([^/\s]+)\.json")


def digest(record: Path) -> str:
    """Return the SHA-256 of a record's file, in hexadecimal. Raises OSError, and DataError for what is no file of its size."""
    return hashlib.sha256(paths.content(record, MAX_BYTES)).hexdigest()


def files(records: Path) -> Iterator[Path]:
    """Yield the files of a folder of records, by name; none where there is no folder."""
    yield from sorted(path for path in records.glob("*.json") if path.is_file())


def read(folder: Path) -> dict[str, str] | None:
    """Return a board's seal, a digest a record's id; None where it has none.

    Args:
        folder: the board's.
    Raises: BoardError for a file that is none.
    """
    path = folder / NAME
    if not path.is_file():
        return None
    seal: dict[str, str] = {}
    text = paths.content(path, MAX_BYTES).decode("utf-8", errors="replace")
    for number, line in enumerate(text.splitlines(), 1):
        match = _LINE.fullmatch(line)
        if match is None or match[2] in seal:
            raise BoardError(f"{path}: line {number}: expected a SHA-256, two spaces and records/ID.json, each ID once")
        seal[match[2]] = match[1]
    return seal


def made(folder: Path) -> dict[str, str]:
    """Return the seal that the records of a board would have as they are."""
    return {path.stem: digest(path) for path in files(folder / "records")}


def write(folder: Path, seal: Mapping[str, str]) -> Path:
    """Write a board's seal, and return its path. Raises WriteError."""
    path = folder / NAME
    atomic.update(path, "".join(f"{seal[name]}  records/{name}.json\n" for name in sorted(seal)))
    return path
