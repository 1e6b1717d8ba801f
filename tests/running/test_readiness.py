"""What would fail a board's trials one after the other is said before the first, in one line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from harness.boards.trial import Trial
from harness.core.errors import BoardError, DataError
from harness.planning.artefacts import Artefacts
from harness.running import readiness
from tests.conftest import Planner

Damage = Callable[[Path], None]


@pytest.fixture
def trials(plan: Planner) -> list[Trial]:
    return plan(losses=["kl"], seeds=2, sets=[{"method": "random", "ipc": 1}])


def test_trials_that_can_be_trained_pass(trials: list[Trial], artefacts: Artefacts) -> None:
    readiness.check(trials, "cpu", artefacts, "board.toml")


def test_a_gpus_precision_is_refused_on_the_cpu_and_passes_on_a_gpu(trials: list[Trial], artefacts: Artefacts) -> None:
    protocol = trials[0].protocol.model_copy(update={"precision": "tf32"})
    asked = [trials[0].model_copy(update={"protocol": protocol}), trials[1]]
    with pytest.raises(BoardError, match=r'^board.toml: protocol.precision = "tf32" is a GPU\'s, and 1 trial would') as error:
        readiness.check(asked, "cpu", artefacts, "board.toml")
    assert "\n" not in str(error.value)
    readiness.check(asked, "cuda:1", artefacts, "board.toml")


def flipped(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-8])


@pytest.mark.parametrize("damage", [flipped, cut, Path.unlink])
@pytest.mark.parametrize("kind", ["set", "teacher"])
def test_a_damaged_artefact_is_named_with_what_to_do(
    trials: list[Trial], artefacts: Artefacts, kind: str, damage: Damage
) -> None:
    digest = trials[0].distilled if kind == "set" else trials[0].teacher[0]
    path = artefacts.find(kind, digest)
    whole = path.read_bytes()
    try:
        damage(path)
        with pytest.raises(DataError, match=r"run the board again|made again|truncated") as error:
            readiness.check(trials, "cpu", artefacts, "board.toml")
        assert str(path) in str(error.value)
        assert "\n" not in str(error.value)
    finally:
        path.write_bytes(whole)
