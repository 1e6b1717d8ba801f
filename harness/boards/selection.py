"""Some of a board's records, or of its trials, by what they say of themselves."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields
from typing import TypeVar

from harness.boards.records import Record
from harness.boards.trial import Trial
from harness.core.errors import UnknownName, suggest

T = TypeVar("T")


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

    def __bool__(self) -> bool:
        """Whether anything is said of what is meant."""
        return any(getattr(self, field.name) for field in fields(self))

    def of(self, records: Iterable[Record]) -> list[Record]:
        """Return the records that are meant. Raises UnknownName, with a suggestion, for a name that none of them all has."""
        return self._chosen([*records], lambda record: record.trial, "record here")

    def of_trials(self, trials: Iterable[Trial]) -> list[Trial]:
        """Return the trials that are meant, of which there is one at least.

        Raises: UnknownName for a name that none has, and where each name is known and none has them all.
        """
        everything = [*trials]
        chosen = self._chosen(everything, lambda trial: trial, "trial of this board")
        if self and everything and not chosen:
            raise UnknownName(self.why_none(everything))
        return chosen

    def _chosen(self, everything: list[T], trial_of: Callable[[T], Trial], what: str) -> list[T]:
        chosen = everything
        for field in fields(self):
            asked: Sequence[str] = getattr(self, field.name)
            if not asked:
                continue
            known = {word for each in everything for word in _names(trial_of(each), field.name)}
            folded = {word.lower() for word in known}
            for word in asked:
                if word.lower() not in folded:
                    raise UnknownName(f"no {what} has the {field.name} {word!r}; {suggest(word, known)}")
            chosen = [each for each in chosen if _fits(trial_of(each), field.name, asked)]
        return chosen

    def why_none(self, trials: Iterable[Trial]) -> str:
        """Return, for names that are all known, which of them no trial has together, and what there is in its place."""
        left, said = [*trials], list[str]()
        for field in fields(self):
            asked: Sequence[str] = getattr(self, field.name)
            fitting = [trial for trial in left if _fits(trial, field.name, asked)] if asked else left
            words = f"the {field.name} {' or '.join(map(repr, asked))}"
            if not fitting:
                there = {word for trial in left for word in _names(trial, field.name)}
                return f"none with {' and '.join(said) or 'anything'} has {words}; valid: {', '.join(sorted(there)) or 'none'}"
            if asked:
                said.append(words)
            left = fitting
        return "there is none"


def _fits(trial: Trial, field: str, asked: Sequence[str]) -> bool:
    return bool({word.lower() for word in asked} & {word.lower() for word in _names(trial, field)})


def _names(trial: Trial, field: str) -> set[str]:
    """Return what a trial is called in a field."""
    labels = trial.labels
    if field == "scenario":
        return {trial.scenario}
    if field == "seed":
        return {str(trial.seed)}
    if field == "protocol":
        return {trial.protocol.name, labels.protocol or trial.protocol.name}
    if field == "set":
        return {labels.method}
    return {getattr(labels, field) or getattr(trial, field).name}
