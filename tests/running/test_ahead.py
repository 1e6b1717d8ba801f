"""What a board's trials load is known before it is planned, of every place where a board names a student or a scenario."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import pytest

from harness.boards.board import Board
from harness.running.ahead import LOADED, modules

TIMM, SWIN, SMALL = (f"harness.models.{name}" for name in ("timm_models", "swin", "small_nets"))
CROSS = {"name": "cross-architecture", "models": ["convnet1(width=8)", "swin-v2-tiny(patch=2)"]}


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, set()),
        ({"model": "resnet18"}, {TIMM}),
        ({"model": "timm/resnet10t"}, {"harness.models.any_timm"}),
        ({"teacher": {"models": ["convnet1(width=8)", "resnet18"]}}, {TIMM}),
        ({"scenarios": [CROSS]}, {SWIN}),
        ({"scenarios": ["cross-architecture"]}, {TIMM, SWIN}),
        ({"scenarios": [{"name": "cross-optimizer", "model": "wrn-16-2"}]}, {SMALL}),
        ({"scenarios": ["class-incremental"]}, set(LOADED["avalanche-lib"])),
        ({"scenarios": ["gamma-sweep", "loss-comparison", "label-regime"]}, set()),
    ],
)
def test_what_the_trials_load_is_named(tiny: Callable[..., Board], change: dict[str, Any], expected: set[str]) -> None:
    assert {*modules(tiny(**change))} - {"harness.models.convnet"} == expected


def test_every_part_of_a_board_counts_and_each_module_once(tiny: Callable[..., Board]) -> None:
    board = tiny(model="resnet18", scenarios=["cross-architecture"])
    named = modules(tiny().model_copy(update={"parts": (board, tiny(model="wrn-16-2"))}))
    assert len(named) == len({*named})
    assert {TIMM, SWIN, SMALL} <= {*named}


@pytest.mark.parametrize("module", [module for modules in LOADED.values() for module in modules])
def test_what_is_loaded_of_a_package_is_there(module: str) -> None:
    assert find_spec(module) is not None
