"""What an executor has to run: first what workers that are gone have left, then what it pulls."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from harness.boards.records import Record
from harness.boards.trial import Trial


class Bundles:
    """Bundles in the order in which workers are to be given them.

    Args:
        pulled: the bundles of a run; the next is pulled only when a worker is free to begin it.
    """

    def __init__(self, pulled: Iterator[Sequence[Trial]]) -> None:
        self._pulled = pulled
        self._again: list[list[Trial]] = []
        self._died: set[str] = set()

    def take(self) -> list[Trial] | None:
        """Return the next bundle; None where there is none."""
        if self._again:
            return self._again.pop(0)
        bundle = next(self._pulled, None)
        return None if bundle is None else [*bundle]

    def lost(self, left: Sequence[Trial], started: int, error: str, late: bool = False) -> Record | None:
        """Take back what a worker that is gone has not ended: each trial that it was on alone, then the rest.

        One that was on none yet is taken to have been on its first. A trial that a second worker was on alone when it died, or
        that took too long, has failed: its record is returned.

        Args:
            left: the trials of its bundle that have not ended.
            started: how many of them had started.
            error: why it is gone.
            late: whether it was ended because its trials took too long.
        """
        begun, rest = [*left[: max(started, 1)]], [*left[max(started, 1) :]]
        names = {trial.id for trial in begun}
        before = bool(names & self._died)
        self._died |= names
        failed = begun.pop() if len(begun) == 1 and (before or late) else None
        self._again[:0] = [*([trial] for trial in begun), *([rest] if rest else [])]
        return None if failed is None else Record.of(failed, "failed", error=error)
