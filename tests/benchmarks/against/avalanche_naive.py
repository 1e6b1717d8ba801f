"""Avalanche's Naive strategy, by its public API as its documents use it: one process, all losses and seeds.

One experience holds the whole set. Its own loader (no workers, as it comes), its default evaluator (loss and accuracy of each
epoch and test) with its interactive logger, its plugin for schedules. Augmentation and the teacher, which it has not, are GIFT's,
in a plugin and in the criterion. The test stream is evaluated once, after training, in batches of the size of training's.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from avalanche.benchmarks.scenarios.supervised import class_incremental_benchmark
from avalanche.benchmarks.utils import as_classification_dataset
from avalanche.core import SupervisedPlugin
from avalanche.training.plugins import LRSchedulerPlugin
from avalanche.training.supervised import Naive
from torch.utils.data import TensorDataset
from torchvision import transforms

from tests.benchmarks.against.gift import augmented
from tests.benchmarks.against.job import Job, Pictures, serve
from tests.benchmarks.released import LOSSES

TOP_1 = "Top1_Acc_Stream"


class Augmenting(SupervisedPlugin):  # type: ignore[misc]
    """Alters a batch before the student sees it."""

    def before_forward(self, strategy: Any, *args: Any, **kwargs: Any) -> None:
        strategy.mbatch[0] = augmented(strategy.mbatch[0])


class Testing(SupervisedPlugin):  # type: ignore[misc]
    """Evaluates the test stream each so many epochs, the last one apart."""

    def __init__(self, stream: Any, every: int, epochs: int) -> None:
        super().__init__()
        self.stream, self.every, self.epochs, self.passed = stream, every, epochs, 0

    def after_training_epoch(self, strategy: Any, *args: Any, **kwargs: Any) -> None:
        self.passed += 1
        if self.passed % self.every == 0 and self.passed < self.epochs:
            strategy.eval(self.stream)


class Taught(Naive):  # type: ignore[misc]
    """Naive, whose loss in training asks a teacher."""

    def __init__(self, job: Job, loss: str, **options: Any) -> None:
        super().__init__(**options)
        self.job, self.loss_name = job, loss

    def criterion(self) -> Any:
        if not self.is_training:
            return torch.nn.functional.cross_entropy(self.mb_output, self.mb_y)
        with torch.no_grad():
            soft = self.job.taught(self.mb_x)
        return LOSSES[self.loss_name](self.mb_output, soft, self.mb_y)


def streams(job: Job) -> tuple[Any, Any]:
    """Return the one experience to train on, and the test stream."""
    seen = transforms.Compose([transforms.ToTensor(), transforms.Normalize(job.mean, job.std)])
    distilled: Any = TensorDataset(job.normalised(job.images), job.labels)
    distilled.targets = job.labels.tolist()
    data = {"train": distilled, "test": Pictures(job.test_images, job.test_labels, seen)}
    benchmark = class_incremental_benchmark(
        {name: as_classification_dataset(part) for name, part in data.items()}, num_experiences=1
    )
    return benchmark.train_stream[0], benchmark.test_stream


def trainings(job: Job, losses: Sequence[str], seeds: int, every: int) -> Iterator[tuple[str, float]]:
    """Train each loss and seed; yield the loss and the accuracy at its last test."""
    warnings.simplefilter("ignore")
    experience, test = streams(job)
    for loss in losses:
        for seed in range(seeds):
            torch.manual_seed(seed)
            student = job.student()
            optimizer = job.adamw(student)
            strategy = Taught(
                job,
                loss,
                model=student,
                optimizer=optimizer,
                train_mb_size=job.batch,
                train_epochs=job.epochs,
                eval_mb_size=job.batch,
                plugins=[Augmenting(), LRSchedulerPlugin(job.schedule(optimizer)), Testing(test, every, job.epochs)],
            )
            strategy.train(experience)
            measures = strategy.eval(test)
            yield loss, 100 * next(value for name, value in measures.items() if name.startswith(TOP_1))


if __name__ == "__main__":
    serve(trainings, lambda epochs: epochs)
