"""Streams of classes in turns, as a GPU has them side by side; on the CPU with a recorder that repeats the step itself."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from harness import models
from harness.boards.trial import Trial
from harness.continual import side_by_side
from harness.continual.captured import Replaying
from harness.continual.side_by_side import draws, in_turns
from harness.running.executors.work import run_bundle
from harness.running.scenario import named
from harness.running.workbench import Workbench
from harness.training.captured_tests import CapturedTests
from harness.training.graphs import Step
from harness.training.overlap import Graphs

Bench = Callable[..., tuple[list[Trial], Workbench]]
MODEL, SHORT = "convnet1(width=4)", {"name": "smoke", "epochs": 3, "batch_size": 7}
SCENARIO: Any = named("class-incremental")


def repeated(step: Step, streams: Iterable[torch.Generator], at: Any = None) -> Step:
    return step


def capturing(workbench: Workbench) -> Workbench:
    workbench._trainer.graphs = Graphs(repeated)
    workbench.tests = CapturedTests(repeated)
    return workbench


@pytest.mark.parametrize("strategy", ["GDumb", "Replay"])
def test_streams_in_turns_give_what_each_gives_alone_to_the_bit(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, strategy: str
) -> None:
    monkeypatch.setattr(side_by_side, "WORTH", 1)
    monkeypatch.setattr(side_by_side, "MOST", 3)
    options = {"steps": 2, "strategies": [strategy], "memory": 20}
    trials, workbench = bench(options, losses=["kl", "ce"], seeds=2, model=MODEL, protocol=SHORT)
    alone = [SCENARIO.run(trial, workbench) for trial in trials]
    captures: list[Step] = []
    counts: list[int] = []

    def record(step: Step, streams: Iterable[torch.Generator]) -> Step:
        captures.append(step)
        return step

    capturing(workbench)._trainer.graphs = Graphs(record)
    for _ in range(2):  # captured once, used twice
        together = [*SCENARIO.run_bundle(trials, workbench)]
        for outcome, own in zip(together, alone, strict=True):
            assert (outcome.history, outcome.metrics, outcome.status) == (own.history, own.metrics, own.status)
        assert [outcome.together for outcome in together] == [3, 3, 3, 1]
        assert [outcome.facts["trained"] for outcome in together] == ["side by side"] * 3 + ["captured"]
        counts.append(len(captures))
    assert counts[0] == counts[1] > 0


class CutOff(BaseException):
    """Stands for the end of a process."""


def test_streams_in_turns_that_are_cut_off_are_taken_up_each_where_it_was(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(side_by_side, "WORTH", 1)
    monkeypatch.setenv("GIFTBENCH_CHECKPOINT_SECONDS", "0")
    trials, workbench = bench({"steps": 3}, losses=["ce"], seeds=2, model=MODEL, protocol={**SHORT, "epochs": 2})
    alone = [SCENARIO.run(trial, workbench) for trial in trials]
    capturing(workbench)._checkpoints = tmp_path
    captured = Replaying._captured

    def until(self: Any) -> Any:
        if len(self.groups) == 3:
            raise CutOff
        return captured(self)

    with monkeypatch.context() as patch, pytest.raises(CutOff):
        patch.setattr(Replaying, "_captured", until)
        [*run_bundle(trials, workbench)]
    records = [*run_bundle(trials, workbench)]
    assert [record.environment.taken_up for record in records] == [2, 2], [record.error for record in records]
    assert [record.history for record in records] == [own.history for own in alone]


def test_an_experience_in_pieces_calls_the_hooks_that_avalanche_calls(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    from avalanche.training.templates import base, base_sgd

    hooks: list[str] = []
    for module in (base, base_sgd):
        trigger = module.trigger_plugins

        def noted(strategy: Any, event: str, trigger: Any = trigger, **options: Any) -> None:
            hooks.append(event)
            trigger(strategy, event, **options)

        monkeypatch.setattr(module, "trigger_plugins", noted)
    (trial,), workbench = bench({"steps": 2, "strategies": "Replay"}, losses=["ce"], model=MODEL, protocol=SHORT)
    called = []
    for pieces in (True, False):
        hooks.clear()
        learner, experiences = SCENARIO.learner(trial, workbench)
        for experience in experiences:
            if pieces:
                assert len([*learner.epochs(experience)]) == 1 + SHORT["epochs"]  # type: ignore[operator]
            else:
                learner.train(experience, eval_streams=[])
        called.append((list(hooks), torch.cat([weight.detach().flatten() for weight in learner.model.parameters()])))
    assert called[0][0] == called[1][0] and "before_training_epoch" in hooks
    assert torch.equal(called[0][1], called[1][1])


def test_what_is_short_or_does_something_within_a_step_is_made_one_after_the_other(bench: Bench) -> None:
    options = {"steps": 2, "strategies": ["Naive", "LwF(alpha=1, temperature=2)"]}
    trials, workbench = bench(options, losses=["ce"], seeds=2, model=MODEL, protocol={**SHORT, "epochs": 1})
    capturing(workbench)
    assert [outcome.together for outcome in SCENARIO.run_bundle(trials[:2], workbench)] == [1, 1]
    longer = [trial.model_copy(update={"protocol": trial.protocol.model_copy(update={"epochs": 999})}) for trial in trials]
    assert [SCENARIO._side_by_side(trial, workbench) for trial in longer] == [True, True, False, False]


def course(log: list[str], name: str, pieces: int) -> Generator[None, None, str]:
    for piece in range(pieces):
        log.append(f"{name}{piece}")
        yield
    return name + str(float(torch.rand(())))


def test_turns_are_taken_in_order_and_each_has_its_own_random_numbers() -> None:
    log: list[str] = []
    torch.manual_seed(3)
    expected = float(torch.rand(()))
    torch.manual_seed(3)
    results = in_turns([course(log, "a", 1), course(log, "b", 3)], Graphs(), torch.device("cpu"))
    assert log == ["a0", "b0", "b1", "b2"]
    assert results == [f"a{expected}", f"b{expected}"]


def test_an_error_of_one_ends_all() -> None:
    ended: list[str] = []

    def other() -> Generator[None, None, None]:
        try:
            while True:
                yield
        finally:
            ended.append("other")

    def failing() -> Generator[None, None, None]:
        yield
        raise ValueError("lost")

    with pytest.raises(ValueError, match="lost"):
        in_turns([other(), failing()], Graphs(), torch.device("cpu"))
    assert ended == ["other"]


def test_who_draws_from_torchs_own_stream() -> None:
    plain, images = models.build(MODEL, (3, 8, 8), 5), torch.randn(2, 3, 8, 8)
    state = torch.get_rng_state()
    assert not draws(plain, images)
    assert draws(nn.Sequential(plain, nn.Dropout(0.5)), images)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_on_a_gpu_streams_side_by_side_are_near_what_each_gives_alone(bench: Bench) -> None:
    options, protocol = {"steps": 2, "strategies": "GDumb"}, {**SHORT, "epochs": 120}
    trials, workbench = bench(options, losses=["kl"], seeds=3, model=MODEL, protocol=protocol, device="cuda")
    alone = [SCENARIO.run(trial, workbench).metrics["accuracy"] for trial in trials]
    together = [*SCENARIO.run_bundle(trials, workbench)]
    assert {outcome.facts["trained"] for outcome in together} == {"side by side"}
    assert all(abs(outcome.metrics["accuracy"] - own) < 2 for outcome, own in zip(together, alone, strict=True))
