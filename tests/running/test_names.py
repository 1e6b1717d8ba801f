"""Names on a board are refused with their place, whether what stands behind them is loaded or the sources alone are read."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from harness.boards.board import Board
from harness.core.errors import BadOption, GiftbenchError, UnknownName
from harness.running.names import as_written, check_names, loaded

CROSS = {"name": "cross-optimizer"}
WRONG: list[tuple[dict[str, Any], type[GiftbenchError], str]] = [
    ({"dataset": "digit"}, UnknownName, "board.toml: dataset: no dataset 'digit'; did you mean 'digits'?"),
    ({"dataset": "imagenet-1k(sise=64)"}, BadOption, "board.toml: dataset: dataset 'imagenet-1k' has no parameter 'sise'"),
    ({"model": "convnet33"}, UnknownName, "board.toml: model: no model 'convnet33'"),
    ({"model": "convnet3(width=wide)"}, BadOption, "board.toml: model: model 'convnet3': width must be a whole number"),
    ({"losses": ["gift", "gfit"]}, UnknownName, "board.toml: losses[1]: no loss 'gfit'; did you mean 'gift'?"),
    ({"losses": ["gift(gama=1)"]}, BadOption, "board.toml: losses[0]: loss 'gift' has no parameter 'gama'"),
    ({"teacher": {"models": ["convnet1", "x"]}}, UnknownName, "board.toml: teacher.models[1]: no model 'x'"),
    (
        {"teacher": {"model": "convnet1", "optimizer": "sgd(lrr=1)"}},
        BadOption,
        "board.toml: teacher.optimizer: optimizer 'sgd' has no parameter 'lrr'",
    ),
    ({"teacher": {"model": "convnet1", "schedule": "x"}}, UnknownName, "board.toml: teacher.schedule: no schedule 'x'"),
    ({"protocol": {"name": "smoke", "schedule": "x"}}, UnknownName, "board.toml: protocol.schedule: no schedule 'x'"),
    (
        {"protocol": {"name": "smoke", "augmentation": "pad-crop+flop"}},
        UnknownName,
        "board.toml: protocol.augmentation: no augmentation 'flop'; did you mean 'flip'?",
    ),
    (
        {"protocol": {"name": "smoke", "epochs": 0, "labels": [{"soft": 1}, {"hard": 1, "augmentation": "flip+flop"}]}},
        UnknownName,
        "board.toml: protocol.augmentation: no augmentation 'flop'; did you mean 'flip'?",
    ),
    (
        {"teacher": {"model": "convnet1", "augmentation": "flop"}},
        UnknownName,
        "board.toml: teacher.augmentation: no augmentation 'flop'; did you mean 'flip'?",
    ),
    ({"protocol": "quik"}, UnknownName, "board.toml: protocol: no protocol 'quik'; did you mean 'quick'?"),
    (
        {"scenarios": [{**CROSS, "protocol": "smok"}]},
        UnknownName,
        "board.toml: scenarios[0].protocol: no protocol 'smok'; did you mean 'smoke'?",
    ),
    ({"sets": [{"method": "randon", "ipc": 1}]}, UnknownName, "board.toml: sets[0]: no distiller 'randon'"),
    ({"sets": [{"format": "mtt2", "path": "x"}]}, UnknownName, "board.toml: sets[0]: no reader 'mtt2'"),
    ({"sets": [{"method": "random", "ipc": 1, "native": "kll"}]}, UnknownName, "board.toml: sets[0]: no loss 'kll'"),
    ({"scenarios": ["cross-optimiser"]}, UnknownName, "board.toml: scenarios[0].name: no scenario 'cross-optimiser'"),
    ({"scenarios": [{**CROSS, "losses": ["x"]}]}, UnknownName, "board.toml: scenarios[0].losses[0]: no loss 'x'"),
    ({"scenarios": [{**CROSS, "model": "x"}]}, UnknownName, "board.toml: scenarios[0].model: no model 'x'"),
    (
        {"scenarios": [{**CROSS, "optimizer": "sgd(lr=fast)"}]},
        BadOption,
        "board.toml: scenarios[0].optimizer: optimizer 'sgd': lr must be a number",
    ),
    (
        {"scenarios": [{**CROSS, "protocol": {"name": "smoke", "schedule": "x"}}]},
        UnknownName,
        "board.toml: scenarios[0].protocol.schedule: no schedule 'x'",
    ),
]


@pytest.mark.parametrize("check", [loaded, as_written])
@pytest.mark.parametrize(("change", "kind", "message"), WRONG, ids=[message for *_, message in WRONG])
def test_a_mistake_is_one_line_with_its_place(
    tiny: Callable[..., Board], check: Any, change: dict[str, Any], kind: type[GiftbenchError], message: str
) -> None:
    with pytest.raises(kind) as refused:
        check_names(tiny(**change), "board.toml", check)
    assert str(refused.value).startswith(message)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("check", [loaded, as_written])
def test_a_sound_board_passes(tiny: Callable[..., Board], check: Any) -> None:
    check_names(tiny(), "board.toml", check)
    native = {"losses": ["native", "gift"], "protocol": "native:rded", "sets": [{"method": "random", "ipc": 1, "native": "kl"}]}
    check_names(tiny(**native), "board.toml", check)
    check_names(tiny(teacher={"model": "timm/resnet10t", "optimizer": "timm/lion(lr=0.1)"}), "board.toml", check)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"protocol": {"name": "smoke", "optimizer": "kron"}},
            "board.toml: protocol.optimizer: optimizer 'kron' cannot be used",
        ),
        (
            {"scenarios": [{**CROSS, "optimizer": "timm/adahessian"}]},
            "board.toml: scenarios[0].optimizer: optimizer 'timm/adahessian' cannot be used here: it needs gradients",
        ),
        (
            {"teacher": {"model": "convnet1", "optimizer": "sgd(lr=-1)"}},
            "board.toml: teacher.optimizer: optimizer 'sgd(lr=-1.0)' cannot make a step: ValueError: Invalid learning rate",
        ),
    ],
)
def test_an_optimizer_that_cannot_make_a_step_is_refused_with_its_place(
    tiny: Callable[..., Board], change: dict[str, Any], message: str
) -> None:
    board = tiny(**change)
    check_names(board, "board.toml", as_written)
    with pytest.raises(BadOption) as refused:
        check_names(board, "board.toml", loaded)
    assert str(refused.value).startswith(message)
    assert "\n" not in str(refused.value)


def test_only_a_call_tells_a_value_out_of_its_range_and_only_of_losses_that_are_trained_under(tiny: Callable[..., Board]) -> None:
    board = tiny(losses=["gift(gamma=7)"])
    check_names(board, "board.toml", as_written)
    with pytest.raises(BadOption, match=r"\Aboard\.toml: losses\[0\]: .*gamma"):
        check_names(board, "board.toml", loaded)


def test_nothing_is_loaded_where_names_are_read_as_they_are_written(tiny: Callable[..., Board]) -> None:
    program = (
        "import json, sys; from harness.boards.board import Board, checked; from harness.running.names import *;"
        "from harness.running.names import as_written, check_names;"
        "check_names(checked(Board, json.loads(sys.argv[1]), 'board.toml'), 'board.toml', as_written);"
        "print(*{'torch', 'timm', 'numpy', 'pandas', 'harness.losses.gift'} & set(sys.modules))"
    )
    content = tiny().model_dump(mode="json", exclude_unset=True)
    done = subprocess.run([sys.executable, "-c", program, json.dumps(content)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, ""), done.stderr
