"""Class-incremental learning on a CUDA device; what can be shown only where there is one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from harness.boards.trial import Trial
from harness.running.scenario import named
from harness.running.workbench import Workbench

Bench = Callable[..., tuple[list[Trial], Workbench]]

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")]


@pytest.mark.parametrize("strategy", ["GDumb", "Replay"])
def test_an_epoch_never_waits_for_the_device(bench: Bench, strategy: str) -> None:
    options = {"steps": 5, "strategies": strategy}
    (trial,), workbench = bench(options, losses=["gift"], protocol={"name": "smoke", "epochs": 3}, device="cuda")
    learner, experiences = named("class-incremental").learner(trial, workbench)  # type: ignore[attr-defined]
    learner.train(experiences[0], eval_streams=[])
    train_epoch = type(learner).training_epoch

    def guarded(self: Any, **kwargs: Any) -> None:
        torch.cuda.set_sync_debug_mode("error")
        try:
            train_epoch(self, **kwargs)
        finally:
            torch.cuda.set_sync_debug_mode("default")

    learner.training_epoch = guarded.__get__(learner)
    learner.train(experiences[1], eval_streams=[])
    assert {p.device.type for p in learner.model.parameters()} == {"cuda"}


def test_accuracies_are_near_those_of_the_cpu(bench: Bench) -> None:
    found = {}
    for device in ("cpu", "cuda"):
        (trial,), workbench = bench({"steps": 2}, losses=["ce"], protocol={"name": "smoke", "epochs": 60}, device=device)
        found[device] = named("class-incremental").run(trial, workbench).metrics["accuracy"]
    assert abs(found["cpu"] - found["cuda"]) < 15  # augmentation draws from the device's own stream


def test_captured_steps_of_a_stream_train_what_steps_train(bench: Bench) -> None:
    weights = {}
    for capture in (True, False):
        protocol = {"name": "smoke", "epochs": 3, "batch_size": 7}
        (trial,), workbench = bench({"steps": 3}, losses=["gift"], protocol=protocol, device="cuda")
        workbench = Workbench("cuda", workbench.artefacts, capture=capture)
        learner, experiences = named("class-incremental").learner(trial, workbench)  # type: ignore[attr-defined]
        for experience in experiences:
            learner.train(experience, eval_streams=[])
        assert (learner.trained, dict(learner.uncaptured)) == ("captured" if capture else "alone", {})
        weights[capture] = torch.cat([value.double().flatten() for value in learner.model.state_dict().values()])
    close = torch.isclose(weights[True], weights[False], rtol=1e-2, atol=1e-2)
    assert close.double().mean() > 0.95  # Adam turns the float noise of a bias before a batch norm into steps
