"""A board opened for a run: every entry of its scenarios is checked before anything is made, asked for or not."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from harness.boards.board import load_board
from harness.core.errors import GiftbenchError, UnknownName
from harness.running.opening import check_scenarios
from harness.running.options import Options
from harness.running.overrides import Overrides
from harness.running.run import run_board
from tests.conftest import board_text

HEAD = board_text(teacher=None, losses=["ce"], scenarios=None)
BOARD = f"""{HEAD}
[[scenarios]]
name = "cross-optimizer"

[[scenarios]]
name = "class-incremental"
on_request = true
"""


def board(folder: Path, line: str) -> Path:
    """Write a board whose second scenario, which waits for request, says one thing more."""
    (folder / "board.toml").write_text(BOARD + line + "\n")
    return folder / "board.toml"


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("unknown = 3", "scenario 'class-incremental' has no option 'unknown'; valid: "),
        ("stpes = 3", "scenario 'class-incremental' has no option 'stpes'; did you mean 'steps'"),
    ],
)
@pytest.mark.parametrize("asked", [(), ("cross-optimizer",), ("class-incremental",)])
def test_an_option_that_there_is_not_is_named_in_a_scenario_that_waits_too(
    tmp_path: Path, line: str, words: str, asked: tuple[str, ...]
) -> None:
    file = board(tmp_path, line)
    with pytest.raises(GiftbenchError, match=re.escape(f"{file}: scenarios[1]: {words}")):
        run_board(file, Overrides(scenarios=asked), Options(device="cpu", jobs=1))
    assert [path.name for path in tmp_path.iterdir()] == ["board.toml"]


@pytest.mark.parametrize(
    ("name", "line", "words"),
    [
        (
            "class-incremental",
            'strategies = ["GDumb", "gdum"]',
            "strategies[1]: no Avalanche strategy or plugin 'gdum'; did you mean",
        ),
        ("class-incremental", 'strategies = "BiC"', "strategies[0]: strategy 'BiC' cannot be used here"),
        ("class-incremental", 'strategies = "EWC"', "strategies[0]: strategy 'EWC' needs ewc_lambda"),
        ("cross-optimizer", 'optimizers = ["sdg"]', "optimizers[0]: no optimizer 'sdg'; did you mean 'sgd'"),
        (
            "cross-optimizer",
            'optimizers = "sgd(rl=0.1)"',
            "optimizers[0]: optimizer 'sgd' has no parameter 'rl'; valid: lr",
        ),
        ("gradient-scale", 'optimizers = ["adamm"]', "optimizers[0]: no optimizer 'adamm'"),
        ("cross-architecture", 'models = ["resnet81"]', "models[0]: no model 'resnet81'; did you mean 'resnet18'"),
        ("gamma-sweep", 'loss = "gfit"', "loss: no loss 'gfit'; did you mean 'gift'"),
        ("label-ablation", 'native = "kll"', "native: no loss 'kll'; did you mean 'kl'"),
        ("label-regime", 'hard_loss = "cee"', "hard_loss: no loss 'cee'; did you mean 'ce'"),
    ],
)
def test_so_is_a_name_that_there_is_not_among_its_options(tmp_path: Path, name: str, line: str, words: str) -> None:
    file = board(tmp_path, line)
    file.write_text(file.read_text().replace('"class-incremental"', f'"{name}"'))
    with pytest.raises(GiftbenchError, match=re.escape(f"{file}: scenarios[1].{words}")):
        run_board(file, Overrides(), Options(device="cpu", jobs=1))
    assert [path.name for path in tmp_path.iterdir()] == ["board.toml"]


def test_so_is_a_value_of_a_wrong_type(tmp_path: Path) -> None:
    file = board(tmp_path, 'steps = "5"')
    with pytest.raises(GiftbenchError, match=re.escape(f"{file}: scenarios[1].steps[0] must be a whole number, not '5'")):
        run_board(file, Overrides(), Options(device="cpu", jobs=1))


def test_the_part_of_a_board_is_named_too(tmp_path: Path) -> None:
    file = tmp_path / "board.toml"
    waiting = 'scenarios = [{ name = "class-incremental", on_request = true, unknown = 3 }]'
    file.write_text(HEAD + f'\n[[parts]]\nscenarios = ["cross-optimizer"]\n\n[[parts]]\n{waiting}\n')
    with pytest.raises(GiftbenchError, match=re.escape(f"{file}: parts[1]: scenarios[0]: scenario 'class-incremental' has no")):
        check_scenarios(load_board(file), str(file))


def test_a_scenario_that_is_not_to_be_had_is_let_pass_where_others_are_asked_for(tmp_path: Path) -> None:
    file = board(tmp_path, '[[scenarios]]\nname = "someone-elses"\nanything = 1')
    whole = load_board(file)
    check_scenarios(whole, str(file), asked=("cross-optimizer",))
    for asked in ((), ("someone-elses",)):
        with pytest.raises(UnknownName, match=r"scenarios\[2\]\.name: no scenario 'someone-elses'"):
            check_scenarios(whole, str(file), asked)
