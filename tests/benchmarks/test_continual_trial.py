"""A class-incremental trial against its steps trained bare by the hot loop, and against Avalanche's own dataloader and evaluator.

    tox run -e benchmark

GDumb on ten images a class of ten classes, 32 px, in five steps: 20, 40, … 100 images in memory, 15 epochs each. As in
`test_hot_loop`, both sides are timed in turn, and the median of the ratios is printed; nothing is asserted of seconds.
"""

from __future__ import annotations

import copy
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from harness import losses, models, optimizers
from harness.augmentation import DSA
from harness.continual import loop, stream
from harness.continual.measure import measure
from harness.core.spec import Spec
from harness.losses.targets import Targets
from harness.training.devices import on_device
from harness.training.loop import fit
from harness.training.values import Material, Recipe
from tests.benchmarks import limits
from tests.benchmarks.ratios import paired

SHAPE, CLASSES, STEPS, BATCH, EPOCHS = (3, 32, 32), 10, 5, 50, 15
STRATEGY = "color_crop_cutout_flip_scale_rotate"
MODEL = "convnet3(width=32)"
ORDER = list(range(CLASSES))


@dataclass
class Job:
    """A student, a teacher, a loss, 100 images to train on and 1,000 to test on."""

    student: nn.Module
    teacher: nn.Module
    material: Material
    test: Material
    recipe: Recipe
    loss: Callable[[Tensor, Targets], Tensor]


@pytest.fixture
def job() -> Job:
    """A small student, so that what the stream and Avalanche's hooks cost weighs more than it would beside a large one."""
    torch.manual_seed(0)
    student, teacher = (on_device(models.build(models.registry.resolve(MODEL), SHAPE, CLASSES), "cpu") for _ in range(2))
    material, test = (
        Material.on_device("cpu", torch.randn(count, *SHAPE), torch.arange(CLASSES).repeat(count // CLASSES))
        for count in (100, 1000)
    )
    schedule, optimizer = optimizers.schedules.resolve("multistep"), optimizers.resolve("adamw")
    recipe = Recipe(EPOCHS, BATCH, optimizer, schedule, STRATEGY)
    return Job(student, teacher.eval(), material, test, recipe, losses.create("gift"))


def our_trial(job: Job, tested: bool = False) -> None:
    """What the scenario does: Avalanche's stream and GDumb with the resident loop."""
    with warnings.catch_warnings(record=True):
        experiences = stream.benchmark(job.material, ORDER, stream.class_counts(CLASSES, STEPS)).train_stream
        room = loop.Room(memory=100, batch=BATCH, first=100 // STEPS)
        strategy = loop.create(Spec(name="GDumb"), copy.deepcopy(job.student), room, "cpu", SHAPE)
        strategy.prepare(job.material, job.recipe, job.loss, job.teacher, CLASSES, seed=0, sliced=True)
        for experience in experiences:
            strategy.train(experience, eval_streams=[])
            if tested:
                measure(strategy.model, job.test, strategy.groups, CLASSES, "float32")


def bare_steps(job: Job) -> None:
    """The same memories, one after the other, by `harness.training.loop.fit`."""
    for step in range(1, STEPS + 1):
        met = ORDER[: step * CLASSES // STEPS]
        seen = loop.Seen(met, CLASSES, "cpu")
        chosen = torch.isin(job.material.labels, seen.columns)
        memory = Material(job.material.images[chosen], job.material.labels[chosen])

        def loss(logits: Tensor, targets: Targets, seen: loop.Seen = seen) -> Tensor:
            return job.loss(seen.logits(logits), seen.targets(targets))

        fit(copy.deepcopy(job.student), memory, loss, job.recipe, seed=0, teacher=job.teacher)


def avalanche_trial(job: Job) -> None:
    """GDumb as Avalanche has it: its dataloader, a sample at a time, and its evaluator after every batch, epoch and step."""
    from avalanche.benchmarks.scenarios.supervised import class_incremental_benchmark
    from avalanche.benchmarks.utils import AvalancheDataset, DataAttribute
    from avalanche.evaluation.metrics import accuracy_metrics, loss_metrics
    from avalanche.training import GDumb
    from avalanche.training.plugins import EvaluationPlugin
    from torch.utils.data import TensorDataset

    augment, draws = DSA(STRATEGY), torch.Generator().manual_seed(0)

    class Taught(GDumb):  # type: ignore[misc]
        def _unpack_minibatch(self) -> None:
            super()._unpack_minibatch()
            if self.is_training:
                self.mbatch[0] = augment(self.mbatch[0].contiguous(memory_format=torch.channels_last), generator=draws)

        def criterion(self) -> Any:
            if not self.is_training:  # no teacher is asked of test images, as it is with us
                return nn.functional.cross_entropy(self.mb_output, self.mb_y)
            with torch.no_grad():
                soft = job.teacher(self.mb_x)
            return job.loss(self.mb_output, Targets(self.mb_y, soft))

    def dataset(material: Material) -> AvalancheDataset:
        pairs = TensorDataset(material.images.contiguous(), material.labels)
        return AvalancheDataset([pairs], data_attributes=[DataAttribute(material.labels.tolist(), "targets")])

    with warnings.catch_warnings(record=True):
        data = {"train": dataset(job.material), "test": dataset(job.test)}
        made = class_incremental_benchmark(data, class_order=ORDER, num_experiences=STEPS)
        student = copy.deepcopy(job.student)
        everywhere = {"minibatch": True, "epoch": True, "experience": True, "stream": True}
        strategy = Taught(
            model=student,
            optimizer=torch.optim.AdamW(student.parameters(), 1e-3, weight_decay=1e-4),
            criterion=nn.CrossEntropyLoss(),
            mem_size=100,
            train_mb_size=BATCH,
            train_epochs=job.recipe.epochs,
            eval_mb_size=BATCH,
            evaluator=EvaluationPlugin(accuracy_metrics(**everywhere), loss_metrics(**everywhere), loggers=[]),
        )
        for step, experience in enumerate(made.train_stream):
            strategy.train(experience, eval_streams=[])
            strategy.eval(made.test_stream[: step + 1])


def operations(tested: bool = False) -> float:
    """Return the floating-point operations of a trial: 20, 40, … 100 images in memory, and tests of the classes that were met."""
    each = limits.forward(MODEL, SHAPE, CLASSES)
    parts = range(1, STEPS + 1)
    trained = sum(EPOCHS * 100 * part / STEPS * limits.step(each, each) for part in parts)
    return trained + tested * sum(1000 * part / STEPS * each for part in parts)


def test_each_of_them_trains(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    """Benchmarks are skipped in the suite; this holds that there is something to time."""
    job.recipe = replace(job.recipe, epochs=1)
    asked: list[int] = []
    job.teacher.register_forward_pre_hook(lambda module, given: asked.append(len(given[0])))
    before = operations()
    monkeypatch.setattr(sys.modules[__name__], "EPOCHS", 1)
    for run in (our_trial, bare_steps, avalanche_trial):
        asked.clear()
        run(job)
        assert sum(asked) == 20 + 40 + 60 + 80 + 100, run.__name__
    assert before == 15 * operations() > 0
    assert operations(tested=True) > operations()


@pytest.mark.benchmark(group="a class-incremental trial")
def test_a_trial_costs_little_more_than_its_steps(benchmark: Any, job: Job) -> None:
    paired(
        benchmark,
        "class-incremental trial / its steps bare, by fit",
        lambda: our_trial(job),
        lambda: bare_steps(job),
        limit=limits.product(operations()),
    )


@pytest.mark.benchmark(group="a class-incremental trial")
def test_a_trial_against_avalanches_own_loader_and_evaluator(benchmark: Any, job: Job) -> None:
    what = "class-incremental trial, tested / Avalanche's loader and evaluator"
    most = limits.product(operations(tested=True))
    paired(benchmark, what, lambda: our_trial(job, tested=True), lambda: avalanche_trial(job), limit=most)
