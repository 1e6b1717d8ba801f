"""What the command line says instead of the board."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from harness.boards.board import Board
from harness.core.errors import BadOption, BoardError, UnknownName
from harness.running.overrides import Overrides
from tests.conftest import Planner
from tests.processes import loaded_by

OPTIMIZERS = {"name": "cross-optimizer", "optimizers": ["sgd", "adamw"]}
STUDENTS = {"name": "cross-architecture", "models": ["convnet1(width=8)", "convnet1(width=4)"]}
BOTH: dict[str, Any] = {
    "scenarios": [STUDENTS | {"losses": ["gift"], "seeds": 2, "protocol": {"name": "quick", "epochs": 9}}, OPTIMIZERS],
    "losses": ["gift"],
}


@pytest.fixture
def overridden(tiny: Callable[..., Board]) -> Callable[..., Board]:
    return lambda **what: Overrides(**what).apply(tiny(**BOTH))


def test_without_overrides_the_board_stays_as_it_is(overridden: Callable[..., Board], tiny: Callable[..., Board]) -> None:
    assert overridden() == tiny(**BOTH)


def test_scenarios_can_be_chosen_and_added(overridden: Callable[..., Board]) -> None:
    board = overridden(scenarios=["cross-optimizer"])
    assert [(s.name, s.options) for s in board.scenarios] == [("cross-optimizer", {"optimizers": ["sgd", "adamw"]})]
    only = board.model_copy(update={"scenarios": board.scenarios[:1]})
    added = Overrides(scenarios=["cross-architecture"]).apply(only)
    assert [(s.name, s.options) for s in added.scenarios] == [("cross-architecture", {})]
    with pytest.raises(UnknownName, match=r"no scenario 'cross-optimiser'; did you mean 'cross-optimizer'"):
        overridden(scenarios=["cross-optimiser"])


def test_losses_and_seeds_replace_those_of_the_scenarios_too(overridden: Callable[..., Board]) -> None:
    board = overridden(losses=["ce", "kl(rescale)"], seeds=4)
    assert [str(loss) for loss in board.losses] == ["ce", "kl(rescale)"]
    assert board.seeds == (0, 1, 2, 3)
    assert {(s.losses, s.seeds) for s in board.scenarios} == {(None, None)}
    with pytest.raises(BadOption, match=r"cannot read 'gift\('"):
        overridden(losses=["gift("])


def test_the_protocol_replaces_those_of_the_scenarios_too(overridden: Callable[..., Board]) -> None:
    board = overridden(protocol="paper")
    assert [board.protocol.label, board.scenarios[0].protocol.label] == ["paper", "paper"]
    assert board.scenarios[1].protocol is None
    with pytest.raises(BoardError, match=r"\A--protocol: no protocol 'papr'; did you mean 'paper'\?"):
        overridden(protocol="papr")


def test_the_protocol_and_the_precision_replace_those_of_the_sets_too(tiny: Callable[..., Board]) -> None:
    sets = [{"method": "random", "ipc": [1], "protocol": {"epochs": 3}}, {"method": "random", "ipc": [2]}]
    board = tiny(sets=sets)
    assert [s.protocol for s in Overrides().apply(board).sets] == [{"epochs": 3}, {}]
    assert [s.protocol for s in Overrides(protocol="smoke").apply(board).sets] == [{}, {}]
    assert [s.protocol for s in Overrides(precision="bf16").apply(board).sets] == [{"epochs": 3, "precision": "bf16"}, {}]


def test_the_precision_changes_and_the_rest_of_the_protocols_stays(overridden: Callable[..., Board]) -> None:
    board = overridden(precision="bf16")
    assert [board.protocol.label, board.scenarios[0].protocol.label] == [
        "smoke (precision=bf16)",
        "quick (epochs=9, precision=bf16)",
    ]
    with pytest.raises(BoardError, match=r"\A--precision: precision: Input should be 'float32', 'bf16' or 'tf32', not 'fp8'"):
        overridden(precision="fp8")


def test_overrides_reach_the_trials(plan: Planner) -> None:
    overrides = Overrides(scenarios=["cross-architecture"], losses=["ce"], seeds=3, protocol="paper", precision="bf16")
    trials = plan(overrides, **BOTH)
    assert len(trials) == 2 * 3
    assert {(t.scenario, t.loss.name, t.protocol.epochs, t.protocol.precision) for t in trials} == {
        ("cross-architecture", "ce", 1000, "bf16")
    }


def test_nothing_heavy_is_loaded_for_them() -> None:
    modules, _ = loaded_by("from harness.running.overrides import Overrides\nOverrides(seeds=2)")
    assert not modules & {"torch", "numpy", "pandas", "scenarios"}
