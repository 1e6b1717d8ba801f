"""What ships keeps what the conformance kit asks of every plugin."""

from __future__ import annotations

import os
from typing import Any

import pytest

from harness import losses, models, scenarios
from harness.testing import check_loss, check_model, check_scenario

#: Losses that hold part of what depends on the logits constant, as their documentation says.
STOPPING = {"wsld"}
SPECS = ("kl(rescale)", "gift(gamma=0.5)", "gift(smoothing=off-target)", "dkd(warmup=0.5)", "refined(native=kl_ce)")

#: Depths at which building and running a model takes more than a second.
SLOW = {"resnet101", "resnet101-modified", "efficientnet-b0", "mobilenet-v2", "swin-v2-tiny", "resnet18", "resnet18-modified"}
MODELS = [name for name in models.names() if not name.endswith("/*")]

#: What a scenario is checked with, beside the tiny board.
CASES: dict[str, dict[str, Any]] = {
    "class-incremental": {"options": {"steps": [[2, 5], [5]], "memory": [0, 10], "soft_labels": ["sliced", "unsliced"]}},
    "cross-architecture": {"options": {"models": [["convnet1(width=4)", "convnet2(width=4)"], ["convnet1(width=8)"]]}},
    "cross-optimizer": {"options": {"optimizers": [["sgd", "adamw"], ["lamb"]]}},
    "dd-ranking": {"options": {"real_epochs": [1, 2], "real_batch_size": [256, 512], "real": [True, False]}},
    "gamma-sweep": {"options": {"gammas": [[0.0, 0.1, 1.0], [0.5]], "loss": ["gift", "refined"]}},
    "gradient-scale": {"options": {"multipliers": [[1, 20], ["1/20"]], "optimizers": [["sgd", "adamw"], ["adamw"]]}},
    "label-ablation": {"options": {"gamma": [0.1, 0.2], "alpha": [0.1, 0.2], "native": ["kl", "mse"]}},
}


@pytest.mark.parametrize("spec", [*(n for n in losses.names() if losses.describe(n).origin == "giftbench"), *SPECS])
def test_a_loss_that_ships_conforms(spec: str) -> None:
    check_loss(spec, stop_gradient=spec in STOPPING)


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.slow) if n in SLOW else n for n in [*MODELS, "convnet3(norm=instance, width=32)"]]
)
def test_a_model_that_ships_conforms(name: str) -> None:
    if name in ("resnet101-modified", "swin-v2-tiny") and not os.environ.get("GIFTBENCH_LARGE"):
        pytest.skip("large, and of a family that others are of: GIFTBENCH_LARGE=1, as `tox run -e large`, checks it too")
    check_model(name)


def test_a_model_of_timm_conforms() -> None:
    check_model("timm/test_vit", shape=(3, 16, 16), classes=7)


@pytest.mark.parametrize("name", [n for n in scenarios.names() if scenarios.describe(n).origin == "giftbench"])
def test_a_scenario_that_ships_conforms(name: str) -> None:
    check_scenario(name, **CASES.get(name, {}))
