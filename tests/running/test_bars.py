"""The bars that `evaluate` shows: in a notebook, or where they are asked for, and nowhere else."""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch

import harness
from harness.core.errors import GiftbenchError
from harness.running import bars
from harness.running.bars import Bars, in_notebook

SMALL: dict[str, Any] = {
    "model": "convnet1(width=4)",
    "teacher": {"model": "convnet1(width=4)", "epochs": 2},
    "protocol": {"name": "smoke", "epochs": 4, "evaluations": 2},
}


@pytest.fixture
def mine(tmp_path, monkeypatch: pytest.MonkeyPatch) -> harness.DistilledSet:
    monkeypatch.setenv("GIFTBENCH_HOME", str(tmp_path))
    train = harness.datasets.load("digits").train
    index = torch.cat([(train.labels == label).nonzero()[:1, 0] for label in range(10)])
    return harness.DistilledSet(train.images[index], train.labels[index], dataset="digits", method="mine")


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int, int]]:
    """What bars have said."""
    lines: list[tuple[str, int, int]] = []
    shown = Bars.show

    def show(self: Bars, what: str, done: int, total: int) -> None:
        lines.append((what, done, total))
        shown(self, what, done, total)

    monkeypatch.setattr(Bars, "show", show)
    return lines


def kernel(monkeypatch: pytest.MonkeyPatch, *apps: str) -> None:
    """Have IPython in this process, with the applications that its configuration names."""
    module = ModuleType("IPython")
    module.get_ipython = lambda: SimpleNamespace(config=dict.fromkeys(apps))  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "IPython", module)


def test_bars_tell_of_the_teachers_epochs_and_the_students_tests_to_their_end(mine, said, capfd) -> None:
    harness.evaluate(mine, loss="gift", seeds=2, progress=True, **SMALL)
    teacher = [(done, total) for what, done, total in said if "teacher" in what]
    assert teacher == [(0, 2), (1, 2), (2, 2)]
    assert [(done, total) for what, done, total in said if what == "training 2 students"] == [(i, 4) for i in range(5)]
    out, err = capfd.readouterr()
    assert "training 2 students: " in err and "4/4" not in out
    assert err.rstrip(" ").endswith("\r"), "what is done has no bar"


def test_only_a_notebook_has_them_unless_they_are_asked_for_and_it_is_silent_when_asked(monkeypatch, mine, capfd) -> None:
    assert not in_notebook()
    kernel(monkeypatch, "TerminalIPythonApp")
    assert not in_notebook(), "IPython on a terminal is no notebook"
    kernel(monkeypatch, "IPKernelApp")
    assert in_notebook() and Bars().shown and not Bars(False).shown
    harness.evaluate(mine, loss="ce", seeds=1, progress=False, **SMALL)
    monkeypatch.delitem(sys.modules, "IPython")
    harness.evaluate(mine, loss="ce", seeds=1, **SMALL)
    assert capfd.readouterr() == ("", "")


def test_what_fails_leaves_no_bar_behind(mine, monkeypatch, capfd) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("boom")

    monkeypatch.setattr("harness.running.workbench.Workbench.fit", broken)
    opened: list[Bars] = []
    begin = Bars.__enter__
    monkeypatch.setattr(Bars, "__enter__", lambda self: opened.append(self) or begin(self))
    with pytest.raises(GiftbenchError, match="every trial failed"):
        harness.evaluate(mine, loss="ce", seeds=1, progress=True, **SMALL)
    assert opened and not opened[0]._bars


def test_records_that_are_there_have_no_bar(mine, said, tmp_path) -> None:
    for _ in range(2):
        harness.evaluate(mine, loss="ce", seeds=1, progress=True, board=tmp_path / "board", **SMALL)
    assert [what for what, _, _ in said if "student" in what] == ["training 1 student"] * 3, "of the first call"


def test_a_scenario_of_its_own_way_ends_its_bar_too(said) -> None:
    trial = SimpleNamespace(id="a", protocol=SimpleNamespace(epochs=2, evaluations=4))
    tests = bars.Tests(Bars(False), [trial])
    tests.ended("a")
    tests.made(trial)
    assert said == [("training 1 student", 0, 2), ("training 1 student", 2, 2), ("training 1 student", 2, 2)]
