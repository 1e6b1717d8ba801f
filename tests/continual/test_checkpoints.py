"""Streams that are cut off after a step that was kept, and taken up: the same numbers come of them, to the bit."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import torch

from harness.boards.trial import Trial
from harness.continual import measure, strategies
from harness.continual.loop import ResidentLoop
from harness.running.executors.work import run_bundle
from harness.running.workbench import Workbench
from tests.continual.conftest import Bench

#: One of each kind of memory: chosen at random, chosen by features, logits, importances, networks of steps before. All strategies
#: where the environment asks for them.
TRIED = ["GDumb", "Replay(mem_size=6)", "ICaRL", "EWC(ewc_lambda=0.4)", "MIR(subsample=2)"]
SETTINGS = {
    "GEM": "GEM(patterns_per_exp=3)",
    "AGEM": "AGEM(patterns_per_exp=3)",
    "MIR": "MIR(subsample=2)",
    "EWC": "EWC(ewc_lambda=0.4)",
    "LwF": "LwF(alpha=1.0, temperature=2.0)",
    "MIRPlugin": "MIRPlugin(batch_size_mem=1)",
    "AGEMPlugin": "AGEMPlugin(patterns_per_experience=3, sample_size=3)",
    "GEMPlugin": "GEMPlugin(patterns_per_experience=3, memory_strength=0.5)",
    "EWCPlugin": "EWCPlugin(ewc_lambda=0.4)",
}
if os.environ.get("GIFTBENCH_ALL_STRATEGIES"):
    TRIED = [SETTINGS.get(name, name) for name, strategy in strategies.USABLE.items() if strategy.goes_on]


class CutOff(BaseException):
    """Stands for the end of a process."""


def one(bench: Bench, strategy: str) -> tuple[Trial, Workbench]:
    (trial,), workbench = bench(
        {"steps": 3, "strategies": strategy},
        losses=["ce"],
        model="convnet1(width=4)",
        protocol={"name": "smoke", "epochs": 1, "batch_size": 8},
    )
    return trial, workbench


def cut_off(trial: Trial, workbench: Workbench, monkeypatch: pytest.MonkeyPatch, steps: int = 2) -> None:
    """Run a trial until it begins to train on the step after so many."""
    train = ResidentLoop._train_exp

    def until(self: Any, *given: object, **options: object) -> None:
        if len(self.groups) > steps:
            raise CutOff
        train(self, *given, **options)

    with monkeypatch.context() as patch, pytest.raises(CutOff):
        patch.setattr(ResidentLoop, "_train_exp", until)
        list(run_bundle([trial], workbench))


@pytest.mark.parametrize("strategy", TRIED)
def test_a_stream_that_is_taken_up_ends_as_one_that_was_never_cut_off(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, strategy: str
) -> None:
    trial, workbench = one(bench, strategy)
    monkeypatch.setenv("GIFTBENCH_CHECKPOINT_SECONDS", "0")
    (expected,) = run_bundle([trial], workbench)
    assert expected.status == "done", expected.error
    workbench._checkpoints = tmp_path / "checkpoints"
    cut_off(trial, workbench, monkeypatch)
    torch.rand(5)
    trained: list[int] = []
    epoch = ResidentLoop._after_training_epoch

    def counted(self: Any, **options: object) -> None:
        trained.append(len(self.groups))
        epoch(self, **options)

    monkeypatch.setattr(ResidentLoop, "_after_training_epoch", counted)
    (record,) = run_bundle([trial], workbench)
    assert (record.error, trained) == ("", [3])
    assert (record.status, record.metrics, record.history) == (expected.status, expected.metrics, expected.history)
    assert (expected.environment.taken_up, record.environment.taken_up) == (0, 2)


def test_a_strategy_that_remembers_every_step_of_training_starts_anew_and_says_so(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    assert sorted(name for name, strategy in strategies.USABLE.items() if not strategy.goes_on) == [
        "RWalkPlugin",
        "SynapticIntelligence",
        "SynapticIntelligencePlugin",
    ]
    trial, workbench = one(bench, "SynapticIntelligence(si_lambda=0.1)")
    monkeypatch.setenv("GIFTBENCH_CHECKPOINT_SECONDS", "0")
    workbench._checkpoints = tmp_path / "checkpoints"
    cut_off(trial, workbench, monkeypatch)
    assert caplog.text.count("its strategy remembers every step of training") == 1
    (record,) = run_bundle([trial], workbench)
    assert (record.status, record.environment.taken_up) == ("done", 0)
    assert measure.answered(record.history)
