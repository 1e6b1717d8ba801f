"""Every error whose cause is the user's input: one clear line, exit status 2."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager


class GiftbenchError(ValueError):
    """Something a user can mend; the message says what, where and what would be right."""


class UnknownName(GiftbenchError):
    """A name that no registry entry has."""


class BadOption(GiftbenchError):
    """A parameter that the thing does not take, or a value it cannot have."""


class BoardError(GiftbenchError):
    """A board file that cannot be read; the message names the place in the file."""


class DataError(GiftbenchError):
    """A dataset, distilled set or checkpoint that is absent, broken or does not fit."""


class NotAtHand(DataError):
    """Data that the user has to bring, and has not: a board runs what it can without them, and says so."""


class MissingTargets(GiftbenchError):
    """A loss was asked to work without the hard or soft labels that it needs."""


class PluginError(GiftbenchError):
    """A plugin that could not be loaded, or two things under one name."""


class WriteError(GiftbenchError, OSError):
    """A file that cannot be written: the disk is full, its folder is read-only or another user's."""


def suggest(name: str, valid: Iterable[str]) -> str:
    """Return a did-you-mean clause for `name`, or the list of valid names when none is near."""
    choices = sorted(valid)
    near = difflib.get_close_matches(name, choices, n=2, cutoff=0.6)
    if near:
        return "did you mean " + " or ".join(repr(n) for n in near) + "?"
    if len(choices) > 24:
        choices = [*choices[:24], "…"]
    return "valid: " + (", ".join(choices) if choices else "none")


@contextmanager
def at(place: str) -> Iterator[None]:
    """Put `place` before the message of any GiftbenchError raised inside."""
    try:
        yield
    except GiftbenchError as error:
        raise type(error)(f"{place}: {error}") from error.__cause__
