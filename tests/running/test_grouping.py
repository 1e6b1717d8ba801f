"""Which trainings are made in one pass, and that a scenario makes them so."""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest

from harness import Scenario, losses
from harness.boards.trial import Trial
from harness.planning.artefacts import Artefacts
from harness.running.costs import Costs, Facts
from harness.running.executors.work import run_bundle
from harness.running.grouping import group, limit
from harness.running.scenario import Outcome, registry
from harness.running.scheduling import bundles
from harness.running.workbench import Workbench
from harness.training.trainer import Trainer

SHAPE, CLASSES = (1, 8, 8), 10
LOSSES = ["gift", "kl", "kl(rescale)", "ce"]


@pytest.fixture
def trials(plan: Callable[..., list[Trial]]) -> list[Trial]:
    scenario = {"name": "cross-optimizer", "optimizers": ["adamw", "sgd", "lamb"]}
    return plan(losses=LOSSES, seeds=2, scenarios=[scenario], protocol={"name": "smoke", "epochs": 3})


def key(trial: Trial, device: str = "cpu", stack: int = 0) -> str:
    return group(trial, device, stack, SHAPE, CLASSES)


def of(trials: list[Trial], optimizer: str) -> list[Trial]:
    return [trial for trial in trials if trial.optimizer.name == optimizer]


def test_seeds_and_losses_of_a_small_student_go_together(trials: list[Trial]) -> None:
    keys = {key(trial) for trial in of(trials, "adamw")}
    assert len(keys) == 2  # cross-entropy takes no teacher, whose forward pass it would pay for
    assert "" not in keys
    assert not keys & {key(trial) for trial in of(trials, "sgd")}


def test_optimizers_that_look_at_whole_tensors_go_alone(trials: list[Trial]) -> None:
    assert {key(trial) for trial in of(trials, "lamb")} == {""}
    assert {key(trial, "cuda", 8) for trial in of(trials, "lamb")} == {""}


def test_a_teacher_that_looks_at_whole_batches_is_asked_alone(trials: list[Trial]) -> None:
    one = trials[0].model_copy(update={"teacher": ("a" * 64, "b" * 64, "average:norm")})
    assert key(one) == "" != key(trials[0].model_copy(update={"teacher": ("a" * 64, "b" * 64)}))


def test_one_is_never_and_a_number_is_always(trials: list[Trial]) -> None:
    one = trials[0]
    assert key(one, stack=1) == ""
    assert group(one, "cpu", 4) != ""  # the shape need not be known
    assert limit(one, "cpu", 4) == limit(one, "cuda", 4) == 4
    assert limit(one, "cuda") > limit(one, "cpu") > 1


@pytest.mark.parametrize("model", ["convnet3", "resnet18-modified", "swin-v2-tiny(patch=2)"])
def test_large_steps_go_alone_on_the_cpu_and_together_on_a_gpu(plan: Callable[..., list[Trial]], model: str) -> None:
    (trial,) = plan(model=model, protocol={"name": "smoke", "batch_size": 100}, scenarios=["loss-comparison"])
    assert group(trial, "cpu", 0, (3, 32, 32), 10) == ""
    assert group(trial, "cuda", 0, (3, 32, 32), 10) != ""


def test_a_scenario_with_its_own_run_goes_alone(trials: list[Trial], monkeypatch: pytest.MonkeyPatch) -> None:
    class Own(Scenario):
        def run(self, trial: Trial, workbench: Any) -> Outcome:
            return super().run(trial, workbench)

    class OfOne(Own):
        trains_one_student = True

    alike = [trial for trial in trials if key(trial) == key(trials[0])]
    costs = Costs("cpu", {trials[0].dataset.digest: Facts(SHAPE, 10, 500)})
    for scenario, sizes in ((Own, {1}), (OfOne, {len(alike)})):
        monkeypatch.setattr("harness.running.scheduling._scenario", lambda name, scenario=scenario: scenario())
        assert {len(bundle) for bundle in bundles(alike, costs, "cpu", len(alike))} == sizes


def bench(tmp_path: Path, stack: int) -> Workbench:
    return Workbench("cpu", Artefacts(tmp_path / "artefacts"), stack=stack)


def test_a_bundle_gives_what_its_trials_give_alone(trials: list[Trial], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = [trial for trial in of(trials, "adamw") if trial.loss.name != "ce"]
    fitted: list[int] = []
    original = Trainer.train
    monkeypatch.setattr(
        Trainer,
        "train",
        lambda self, members, *rest, **more: (fitted.append(len(members)), original(self, members, *rest, **more))[1],
    )
    together = list(run_bundle(chosen, bench(tmp_path, 0)))
    assert fitted == [len(chosen)]
    alone = list(run_bundle(chosen, bench(tmp_path, 1)))
    assert fitted == [len(chosen), *[1] * len(chosen)]
    for ours, own in zip(together, alone, strict=True):
        assert (ours.id, ours.status, ours.metrics["steps"]) == (own.id, own.status, own.metrics["steps"])
        assert ours.metrics["accuracy"] == pytest.approx(own.metrics["accuracy"], abs=0.6)  # two of 360 images
        assert [entry["epoch"] for entry in ours.history] == [entry["epoch"] for entry in own.history]


def test_a_student_that_cannot_be_stacked_is_trained_alone(
    trials: list[Trial], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = of(trials, "sgd")[:2]
    monkeypatch.setattr("harness.training.trainer.agrees", lambda students, images: False)
    assert bench(tmp_path, 0).fit_together(chosen, bench(tmp_path, 0).material(chosen[0]), [losses.create("gift")] * 2) is None
    assert [record.status for record in run_bundle(chosen, bench(tmp_path, 0))] == ["done", "done"]


def test_trials_that_are_given_the_same_are_trained_beside_each_other_and_others_alone(
    trials: list[Trial], tmp_path: Path
) -> None:
    first, second = of(trials, "sgd")[0], of(trials, "adamw")[0]
    assert first.seed == second.seed
    other = next(trial for trial in of(trials, "adamw") if trial.seed != first.seed and trial.loss == second.loss)
    workbench = bench(tmp_path, 4)
    material, both = workbench.material(first), [losses.create("gift")] * 2
    fits = workbench.fit_together([first, second], material, both)
    assert fits is not None
    assert [(fit.way, fit.stack) for fit in fits] == [("alone", ())] * 2
    assert workbench.fit_together([first, other], material, both) is None


def test_records_made_beside_each_other_are_those_of_trials_made_alone(trials: list[Trial], tmp_path: Path) -> None:
    """Three optimizers of a seed, two of them in stacks of three losses, one that is never stacked; and how long each took."""
    chosen = [trial for trial in trials if trial.seed == 0 and trial.loss.name != "ce"]
    workbench, started = bench(tmp_path, 0), time.perf_counter()
    beside = list(run_bundle(chosen, workbench))
    assert sum(record.timing["total"] for record in beside) <= time.perf_counter() - started
    ways = {(record.environment.trained, record.environment.together) for record in beside}
    assert ways == {("stacked", 3), ("alone", 1)}
    for record in beside:
        stack = record.environment.trained_with
        own = [trial for trial in chosen if trial.id in (stack or (record.id,))]
        again = {each.id: each for each in run_bundle(own, bench(tmp_path, 0))}[record.id]
        assert (again.metrics, again.history) == (record.metrics, record.history)
        assert again.environment.trained_with == stack


def test_a_scenario_that_changes_the_loss_or_the_set_is_stacked_too(trials: list[Trial], tmp_path: Path) -> None:
    """gradient-scale multiplies the loss; the default `run` is all that stacking asks of a scenario."""
    assert all(
        type(registry.get(name)()).run is Scenario.run for name in ("gradient-scale", "label-regime", "cross-architecture")
    )
    for _, seeds in groupby(of(trials, "adamw"), key=lambda trial: trial.loss.name):
        assert len({key(trial) for trial in seeds}) == 1
