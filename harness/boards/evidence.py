"""How far a number is to be believed: verified (trained again, the same came out), claimed (a record), or reported (by a paper).

What has been verified is kept in `verified.json` beside a board: by a record's id, the digest of its file as it was then, the
rule by which the two numbers were held to be the same, and where it was trained again. A record that has changed since is claimed
again.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from harness.boards import seals
from harness.boards.records import Environment
from harness.core.errors import BoardError, DataError
from harness.files import atomic

NAME = "verified.json"
FORMAT = "giftbench.verified/1"
Evidence = Literal["verified", "claimed", "reported"]


class Verified(BaseModel):
    """A record that was trained again, with the same outcome.

    Attributes:
        record: SHA-256 of its file.
        rule: by which the outcomes are the same: `equal to the digit`, or within how many points, and why so many.
        accuracy: what the training gave, in percent; none where both failed to give one.
        environment: where it was trained again.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    record: str
    rule: str
    accuracy: float | None = None
    environment: Environment = Field(default_factory=Environment)


def read(folder: Path) -> dict[str, Verified]:
    """Return what has been verified of a board, by id. Raises BoardError for a file that is not what `write` writes."""
    path = folder / NAME
    if not path.is_file():
        return {}
    try:
        content = json.loads(path.read_bytes())
        if content["format"] != FORMAT:
            raise ValueError(f"format: {content['format']!r}, expected {FORMAT!r}")
        return {name: Verified.model_validate(entry) for name, entry in content["records"].items()}
    except (ValidationError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise BoardError(f"{path}: not what giftbench verify --rerun writes: {str(error).splitlines()[0]}") from None


def write(folder: Path, verified: Mapping[str, Verified]) -> Path:
    """Keep what has been verified of a board; the same gives the same bytes. Raises WriteError."""
    entries = {name: verified[name].model_dump(mode="json") for name in sorted(verified)}
    path = folder / NAME
    atomic.update(path, json.dumps({"format": FORMAT, "records": entries}, indent=1, sort_keys=True) + "\n")
    return path


def evidence(folder: Path) -> dict[str, Evidence]:
    """Return how far each record of a board is to be believed, by id: those that are missing here are claimed.

    Args:
        folder: the board's.
    """
    known: dict[str, Evidence] = {}
    for name, entry in read(folder).items():
        try:
            same = seals.digest(folder / "records" / f"{name}.json") == entry.record
        except (OSError, DataError):
            continue
        if same:
            known[name] = "verified"
    return known
