"""One training, several questions: trials that differ only in the scenario that asks are trained once; each has its record."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from harness.running.scenario import as_said

if TYPE_CHECKING:
    from harness.boards.records import Record
    from harness.boards.trial import Trial


class Twins:
    """Trials of a board that are one training: alike in `Setup.training`, of one seed, asked for by several scenarios.

    Scenarios whose `trains_as_said` is false have none: what they train is not said by the trial alone.

    Args:
        trials: of the board, in order. The first of twins is the one that is trained.
    """

    def __init__(self, trials: Iterable[Trial]) -> None:
        self._groups: dict[tuple[str, int], list[Trial]] = defaultdict(list)
        self._keys: dict[str, tuple[str, int]] = {}
        known: dict[str, bool] = {}
        for trial in trials:
            if trial.scenario not in known:
                known[trial.scenario] = as_said(trial.scenario)
            if known[trial.scenario]:
                self._keys[trial.id] = key = (trial.setup.training, trial.seed)
                self._groups[key].append(trial)

    def of(self, trial: Trial) -> list[Trial]:
        """Return the other trials that are the same training, in order."""
        return [other for other in self._groups.get(self._keys.get(trial.id, ("", 0)), ()) if other.id != trial.id]

    def first(self, trials: Iterable[Trial]) -> list[Trial]:
        """Return trials without those that come after a twin of theirs."""
        seen: set[tuple[str, int]] = set()
        firsts = []
        for trial in trials:
            key = self._keys.get(trial.id)
            if key is None or key not in seen:
                firsts.append(trial)
            if key is not None:
                seen.add(key)
        return firsts

    def answered(self, trial: Trial, records: Mapping[str, Record]) -> Record | None:
        """Return a record, of those by id, of a twin that has not failed; None where there is none."""
        twins = (records.get(other.id) for other in self.of(trial))
        return next((record for record in twins if record is not None and record.status != "failed"), None)


def taken(record: Record, trial: Trial) -> Record:
    """Return the record of a trial whose training is that of another record, which it names as `environment.taken_from`."""
    environment = record.environment
    facts = {"taken_from": environment.taken_from or record.id, "trained": "", "trained_with": (), "together": 1}
    return record.model_copy(
        update={"id": trial.id, "trial": trial, "environment": environment.model_copy(update=facts)},
    )
