"""Some of a board's records, by what they say of themselves."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields

from harness.boards.records import Record
from harness.core.errors import UnknownName, suggest


@dataclass(frozen=True)
class Selection:
    """Which records are meant: those that have one of the names in each of the fields that name any.

    A name is one that tables show, in any case of letters; a protocol may be named without what the board changes of it.
    """

    scenario: Sequence[str] = ()
    loss: Sequence[str] = ()
    set: Sequence[str] = ()
    model: Sequence[str] = ()
    optimizer: Sequence[str] = ()
    protocol: Sequence[str] = ()
    seed: Sequence[str] = ()

    def of(self, records: Iterable[Record]) -> list[Record]:
        """Return the records that are meant. Raises UnknownName, with a suggestion, for a name that none of them all has."""
        chosen = everything = list(records)
        for name in (field.name for field in fields(self)):
            asked: Sequence[str] = getattr(self, name)
            if not asked:
                continue
            known = {word for record in everything for word in _names(record, name)}
            folded = {word.lower() for word in known}
            for word in asked:
                if word.lower() not in folded:
                    raise UnknownName(f"no record here has the {name} {word!r}; {suggest(word, known)}")
            wanted = {word.lower() for word in asked}
            chosen = [record for record in chosen if wanted & {word.lower() for word in _names(record, name)}]
        return chosen


def _names(record: Record, field: str) -> set[str]:
    """Return what a record is called in a field."""
    trial, labels = record.trial, record.trial.labels
    if field == "scenario":
        return {trial.scenario}
    if field == "seed":
        return {str(trial.seed)}
    if field == "protocol":
        return {trial.protocol.name, labels.protocol or trial.protocol.name}
    if field == "set":
        return {labels.method}
    return {getattr(labels, field) or getattr(trial, field).name}
