"""What all tests share: a cache of their own, what a clear refusal looks like, tiny boards, and the command line."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from harness.boards.board import Board, checked
from harness.boards.trial import Trial
from harness.core.errors import GiftbenchError

if TYPE_CHECKING:
    from harness.planning.artefacts import Artefacts

TINY: dict[str, Any] = {
    "dataset": "digits",
    "model": "convnet1(width=8)",
    "teacher": {"model": "convnet1(width=8)", "epochs": 1},
    "protocol": "smoke",
    "losses": ["gift"],
    "seeds": 1,
    "sets": [{"method": "random", "ipc": 1}],
    "scenarios": ["cross-optimizer"],
}


def board_text(**changes: object) -> str:
    """Return the tiny board as a file has it, keys replaced; one whose value is None is left out. Tables may follow."""
    return "".join(f"{key} = {toml(value)}\n" for key, value in (TINY | changes).items() if value is not None)


def toml(value: object) -> str:
    """Return a value as TOML writes it on one line."""
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{key} = {toml(item)}" for key, item in value.items()) + " }"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(toml, value)) + "]"
    return json.dumps(value, ensure_ascii=False)


class Said(NamedTuple):
    """What a command prints: what it gives, and what it says of its progress or of a mistake."""

    out: str
    err: str


Giftbench = Callable[..., Said]
Planner = Callable[..., list[Trial]]
Refused = Callable[..., AbstractContextManager[None]]


@pytest.fixture(scope="session", autouse=True)
def giftbench_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Keep the user's cache and data out of the tests; teachers made in one test serve the next.

    What tests write is the user's own: plugins of a board there may run.
    """
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GIFTBENCH_OWN", str(tmp_path_factory.getbasetemp()))
        patch.setenv("GIFTBENCH_HOME", str(home))
        patch.delenv("GIFTBENCH_DATA", raising=False)
        yield home


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give the test a cache that is empty and its own, and no data folder."""
    monkeypatch.setenv("GIFTBENCH_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("GIFTBENCH_DATA", raising=False)
    return tmp_path / "home"


@pytest.fixture
def refused() -> Refused:
    """Return a context in which exactly this error is raised, in one line that holds all these words."""

    @contextmanager
    def context(kind: type[GiftbenchError], *words: object) -> Iterator[None]:
        with pytest.raises(GiftbenchError) as caught:
            yield
        message = str(caught.value)
        assert type(caught.value) is kind, message
        assert "\n" not in message
        assert [word for word in map(str, words) if word not in message] == [], message

    return context


@pytest.fixture
def giftbench(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Giftbench:
    """Return a runner of the command line in this process, which must end with this status: words in, what it prints out."""

    def run(*words: object, status: int = 0) -> Said:
        from harness.cli.main import main

        monkeypatch.setattr(sys, "argv", ["giftbench", *map(str, words)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        said = Said(*capsys.readouterr())
        assert int(ended.value.code or 0) == status, said
        return said

    return run


@pytest.fixture
def tiny() -> Callable[..., Board]:
    """Return a maker of tiny boards on digits; its arguments replace keys of the board."""
    return lambda **changes: checked(Board, TINY | changes, "board.toml")


@pytest.fixture
def artefacts(tmp_path: Path) -> Artefacts:
    """Return the store of sets and teachers that a test's plan fills."""
    from harness.planning.artefacts import Artefacts

    return Artefacts(tmp_path / "artefacts")


@pytest.fixture
def plan(tiny: Callable[..., Board], artefacts: Artefacts) -> Planner:
    """Return a planner: a tiny board with changed keys, and perhaps overrides, in; its trials out."""
    from harness.planning.preparation import Preparation
    from harness.running.overrides import Overrides
    from harness.running.planning import plan as planned

    def run(overrides: Overrides | None = None, **changes: Any) -> list[Trial]:
        board = tiny(**changes)
        if overrides is not None:
            board = overrides.apply(board)
        return planned(Preparation(board, "board.toml", artefacts, device="cpu"))

    return run


@pytest.fixture
def no_teacher(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have no teacher, so that none is trained where a test is about something else."""
    from harness.planning.preparation import Preparation

    monkeypatch.setattr(Preparation, "teacher_files", lambda self: [])
