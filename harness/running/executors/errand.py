"""What an executor is made for: the board, what its workers are told, how many there may be."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import ModuleType

from harness.core.errors import GiftbenchError
from harness.running.executors.protocol import Settings


@dataclass(frozen=True)
class Errand:
    """What an executor is made for.

    Attributes:
        settings: what every worker is told.
        jobs: how many bundles to have in work at once, 0 for as many as there is room for.
        board: the board's file.
        words: what follows `giftbench work BOARD`, for it to work as this run was asked to: for an executor whose workers are
            runners of their own.
        unused: whether this process had computed nothing when it began the run, and will not before workers are prepared: they
            may be forked from it.
        modules: what its trials load, for processes that workers are forked from.
    """

    settings: Settings
    jobs: int
    board: Path
    words: tuple[str, ...] = ()
    unused: bool = False
    modules: tuple[str, ...] = ()


class NotInstalled(GiftbenchError):
    """An executor whose engine is not installed here."""


def engine(module: str, extra: str) -> ModuleType:
    """Import an engine that an extra of giftbench brings. Raises NotInstalled, with the command that brings it."""
    try:
        return import_module(module)
    except ImportError as error:
        if error.name is not None and error.name.partition(".")[0] != module.partition(".")[0]:
            raise
        raise NotInstalled(f"executor {extra!r} needs {module}: pip install 'giftbench[{extra}]'") from None
