"""Captured steps along a stream of classes: on the CPU with a recorder that repeats the step itself."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import pytest
import torch
from torch import Generator, Tensor

from harness.boards.trial import Trial
from harness.continual import captured, loop, strategies
from harness.continual.loop import Batches
from harness.running.scenario import Outcome, named
from harness.running.workbench import Workbench
from harness.training.captured_tests import CapturedTests
from harness.training.graphs import Step
from harness.training.overlap import Graphs
from harness.training.values import Material

Bench = Callable[..., tuple[list[Trial], Workbench]]
PLAIN = [name for name, strategy in strategies.USABLE.items() if strategy.plain]
MODEL = "convnet1(width=4)"
SHORT = {"name": "smoke", "epochs": 3}
#: What stands between a batch and the optimizer's step: hooks of plugins, and what a strategy may do another way.
HOOKS = ("training_iteration", "forward", "backward", "update")
OWN = ("training_epoch", "forward", "criterion", "backward", "optimizer_step", "_unpack_minibatch", "model_adaptation")


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> list[Step]:
    """What was captured, in order; replays are the steps themselves."""
    made: list[Step] = []

    def record(step: Step, streams: Iterable[Generator], at: Any = None) -> Step:
        made.append(step)
        return step

    monkeypatch.setattr("harness.training.graphs.cuda_graph", record)
    return made


def capturing(workbench: Workbench) -> Workbench:
    workbench._trainer.graphs = Graphs()
    workbench.tests = CapturedTests(lambda step, streams: step)
    return workbench


def run(trial: Trial, workbench: Workbench) -> tuple[Outcome, list[Tensor]]:
    """Return what a trial gives, and its student's weights and buffers at the end."""
    kept: list[Any] = []
    create = loop.create

    def watched(*given: Any) -> Any:
        kept.append(create(*given))
        return kept[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "create", watched)
        outcome = named("class-incremental").run(trial, workbench)
    return outcome, [*kept[-1].model.state_dict().values()]


@pytest.mark.parametrize("name", ["GDumb", "Naive", "Replay", "FromScratchTraining"])
def test_captured_steps_of_a_stream_train_what_steps_train_to_the_bit(bench: Bench, steps: list[Step], name: str) -> None:
    protocol = {**SHORT, "batch_size": 7, "optimizer": "adamw", "schedule": "cosine", "mixing": "cutmix"}
    (trial,), workbench = bench({"steps": 3, "strategies": [name]}, losses=["gift"], model=MODEL, protocol=protocol)
    plain, expected = run(trial, workbench)
    assert plain.facts["trained"] == "alone" and not steps
    outcome, weights = run(trial, capturing(workbench))
    assert outcome.facts == {"trained": "captured"}
    assert isinstance(workbench.tests, CapturedTests) and workbench.tests.latest is not None
    assert (outcome.metrics, outcome.history) == (plain.metrics, plain.history)
    assert all(map(torch.equal, weights, expected))


@pytest.mark.parametrize(("loss", "labels"), [("kl", "sliced"), ("cosine", "unsliced")])
def test_one_capture_serves_every_seed_strategy_and_order(bench: Bench, steps: list[Step], loss: str, labels: str) -> None:
    options = {"steps": 5, "soft_labels": labels, "strategies": ["GDumb", "Cumulative"]}
    trials, workbench = bench(options, losses=[loss], seeds=2, model=MODEL, protocol={**SHORT, "epochs": 2})
    plain = [run(trial, workbench) for trial in trials]
    capturing(workbench)
    for trial, (outcome, weights) in zip(trials, plain, strict=True):
        again, others = run(trial, workbench)
        assert again.history == outcome.history
        assert all(map(torch.equal, weights, others))
    assert len(steps) == 5  # one a number of classes met, in one batch each: four trials of five steps share them


def test_a_step_whose_replay_differs_is_made_the_plain_way_and_the_record_says_why(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Step] = []

    def forgetful(step: Step, streams: Iterable[Generator], at: Any = None) -> Step:
        made.append(step)
        return step if len(made) == 1 else lambda: None

    monkeypatch.setattr("harness.training.graphs.cuda_graph", forgetful)
    (trial, other), workbench = bench({"steps": 2}, losses=["kl"], seeds=2, model=MODEL, protocol=SHORT)
    plain = named("class-incremental").run(trial, workbench)
    capturing(workbench)
    for again in (trial, other):
        outcome = named("class-incremental").run(again, workbench)
        assert outcome.facts["trained"] == "captured"  # the first step of the stream was
        reasons = outcome.facts["uncaptured"]
        assert isinstance(reasons, dict) and [*reasons] == ["2"] and "does not do what the step does" in reasons["2"]
    assert named("class-incremental").run(trial, workbench).history == plain.history
    assert len(made) == 2  # what was refused is not tried again


def test_strategies_that_do_something_within_a_step_are_not_captured(bench: Bench, steps: list[Step]) -> None:
    options = {"steps": 2, "strategies": ["LwF(alpha=1, temperature=2)", "ER_ACE"]}
    trials, workbench = bench(options, losses=["ce"], model=MODEL, protocol={**SHORT, "epochs": 1})
    for trial in trials:
        assert named("class-incremental").run(trial, capturing(workbench)).facts == {"trained": "alone"}
        assert isinstance(workbench.tests, CapturedTests) and workbench.tests.latest is None
    assert not steps


@pytest.mark.parametrize("name", PLAIN)
def test_nothing_happens_within_a_step_of_a_plain_strategy(bench: Bench, name: str) -> None:
    from avalanche.training.plugins import EvaluationPlugin
    from avalanche.training.plugins.clock import Clock
    from avalanche.training.templates import SupervisedTemplate
    from avalanche.training.templates.base_sgd import PeriodicEval

    (trial,), workbench = bench({"steps": 2, "strategies": [name]}, losses=["ce"])
    learner: Any = named("class-incremental").learner(trial, workbench)[0]  # type: ignore[attr-defined]
    own = type(learner).__mro__[-1 - [*reversed(type(learner).__mro__)].index(SupervisedTemplate) :]
    kind = next(kind for kind in type(learner).__mro__ if kind.__module__.startswith("avalanche"))
    assert own and all(getattr(kind, method) is getattr(SupervisedTemplate, method) for method in OWN)
    others = [plugin for plugin in learner.plugins if not isinstance(plugin, EvaluationPlugin | Clock | PeriodicEval)]
    for plugin in others:
        base = next(kind for kind in type(plugin).__mro__ if kind.__name__ in ("SupervisedPlugin", "BaseSGDPlugin"))
        hooks = [f"{when}_{hook}" for hook in HOOKS for when in ("before", "after")]
        assert all(getattr(type(plugin), hook, None) is getattr(base, hook, None) for hook in hooks)


def test_the_lengths_of_batches_are_those_that_come() -> None:
    material = Material(torch.arange(19.0).view(19, 1, 1, 1), torch.arange(19))
    for parts in ([(11, 4)], [(11, 4), (7, 3)], [(4, 4), (9, 2), (6, 4)]):
        places = torch.arange(19).split([count for count, _ in parts] + [19 - sum(count for count, _ in parts)])
        given = [(index, size) for index, (_, size) in zip(places, parts, strict=False)]
        batches = Batches(material, given, torch.Generator().manual_seed(0))
        assert batches.lengths == [len(index) for index in batches.indices()] == [len(labels) for _, labels, _ in batches]


def test_steps_under_other_losses_are_kept_beside_each_other(bench: Bench, steps: list[Step]) -> None:
    trials, workbench = bench({"steps": 2}, losses=["kl", "ce"], model=MODEL, protocol={**SHORT, "epochs": 1})
    capturing(workbench)
    for trial in (*trials, trials[0]):
        named("class-incremental").run(trial, workbench)
    assert len(steps) == 4  # other losses are kept beside each other
    first = workbench.graphs and workbench.graphs.latest
    assert isinstance(first, captured.Lanes)
    (other, *_), own = bench({"steps": 2}, losses=["kl"], model="convnet1(width=8)", protocol={**SHORT, "epochs": 1})
    workbench._kept.update(own._kept)
    named("class-incremental").run(other, workbench)
    assert workbench.graphs and workbench.graphs.latest is not first  # those of another student take their place


def test_so_many_captured_steps_are_kept_and_no_more(bench: Bench, steps: list[Step], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(captured, "MOST", 3)
    (trial,), workbench = bench({"steps": 5}, losses=["kl"], model=MODEL, protocol={**SHORT, "epochs": 1})
    capturing(workbench)
    named("class-incremental").run(trial, workbench)
    assert isinstance(workbench.graphs, Graphs)
    kept = workbench.graphs.latest.lane(None, workbench.graphs, torch.device("cpu")).parts
    assert sorted(count for count, *_ in kept) == [8, 10] and len(steps) == 5


@pytest.mark.parametrize(("name", "called"), [("Replay", False), ("ER_ACE", True)])
def test_a_plain_step_that_is_not_captured_calls_no_hooks_either(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, name: str, called: bool
) -> None:
    from avalanche.training.templates.base_sgd import BaseSGDTemplate

    calls: list[object] = []
    monkeypatch.setattr(BaseSGDTemplate, "_before_training_iteration", lambda self, **_: calls.append(self))
    (trial,), workbench = bench({"steps": 2, "strategies": [name]}, losses=["ce"], model=MODEL, protocol={**SHORT, "epochs": 1})
    assert named("class-incremental").run(trial, workbench).status == "done"
    assert bool(calls) is called
