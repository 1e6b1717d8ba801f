"""What a notebook shows while `evaluate` runs: a bar for the teacher, one for the students; gone when they are there."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from harness.running.workbench import Workbench
from harness.training.loop import evaluation_epochs

if TYPE_CHECKING:
    from torch import nn

    from harness.boards.trial import Trial


def in_notebook() -> bool:
    """Whether this is the process of a notebook: IPython with a kernel."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return shell is not None and "IPKernelApp" in shell.config


class Bars:
    """Bars by what they say is being made; a context manager that takes away what is left of them.

    Args:
        shown: whether there are any; None for in a notebook alone.
    """

    def __init__(self, shown: bool | None = None) -> None:
        self.shown = in_notebook() if shown is None else shown
        self._bars: dict[str, Any] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        while self._bars:
            self._bars.popitem()[1].close()

    def show(self, what: str, done: int, total: int) -> None:
        """Say how much of it is done; what is done has no bar."""
        if not self.shown:
            return
        if what not in self._bars:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # without ipywidgets a bar is text, which is as good
                from tqdm.auto import tqdm
            self._bars[what] = tqdm(desc=what, total=total, leave=False)
        bar = self._bars[what]
        bar.n = done
        bar.refresh()
        if done >= total:
            self._bars.pop(what).close()


class Tests:
    """How many of all tests of some trials' students have been made, as a bar.

    Args:
        trials: all that are to be trained.
    """

    def __init__(self, bars: Bars, trials: Sequence[Trial]) -> None:
        self._left = {trial.id: len(evaluation_epochs(trial.protocol.epochs, trial.protocol.evaluations)) for trial in trials}
        self._total = sum(self._left.values())
        self._bars = bars
        self._what = f"training {len(trials)} student{'s' * (len(trials) != 1)}"
        self._show()

    def made(self, trial: Trial) -> None:
        """Count a test of a trial's student; a scenario may make more of them than its protocol says."""
        self._left[trial.id] = max(0, self._left[trial.id] - 1)
        self._show()

    def ended(self, name: str) -> None:
        """Count all that are left of the trial of this id: it has ended, or failed."""
        if self._left[name]:
            self._left[name] = 0
            self._show()

    def _show(self) -> None:
        if self._total:
            self._bars.show(self._what, self._total - sum(self._left.values()), self._total)


class WatchedWorkbench(Workbench):
    """A workbench that says so when a trial's student has been tested."""

    watcher: Tests | None = None

    def evaluate(self, student: nn.Module, trial: Trial) -> dict[str, float]:
        measured = super().evaluate(student, trial)
        if self.watcher is not None:
            self.watcher.made(trial)
        return measured
