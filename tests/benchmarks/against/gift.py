"""GIFT's released evaluation: one process a loss, its seeds one after another.

What its code does: both splits come from a DataLoader of four workers that live as long as it does and run ahead, an image at a
time, normalised there; the test split in batches of the size of training's. A step augments the batch (DSA, drawn for each
image), asks the teacher whatever the loss, and reads loss, top-1 and top-5 as numbers. The student is tested four times; a test
asks the teacher too, and lets its answer go. Where torch is on a GPU there, it is on the CPU here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import BatchSampler, DataLoader, Dataset, RandomSampler, SequentialSampler
from torchvision import transforms

from tests.benchmarks.against.job import TESTS, Job, Mean, Pictures, evaluating, hits, serve
from tests.benchmarks.released import LOSSES, Families

WORKERS = 4
#: Besides flip, colour and cutout, one of these for a whole batch.
GEOMETRIC = ("crop", "scale", "rotate")


class Distilled(Dataset[tuple[Tensor, Tensor]]):
    """The distilled set, an image at a time, in [0, 1] until it is normalised."""

    def __init__(self, job: Job) -> None:
        self.images, self.labels = job.images.float() / 255, job.labels
        self.transform = transforms.Normalize(job.mean, job.std)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        return self.transform(self.images[index]), self.labels[index]

    def __len__(self) -> int:
        return len(self.labels)


class Endless:
    """Batches of indices, pass after pass."""

    def __init__(self, batches: BatchSampler) -> None:
        self.batches = batches

    def __iter__(self) -> Iterator[list[int]]:
        while True:
            yield from self.batches


class Epochs:
    """A loader whose workers stay from epoch to epoch: each time that it is gone through, one pass over the data."""

    def __init__(self, data: Dataset[Any], batch: int, shuffle: bool) -> None:
        order = RandomSampler(data) if shuffle else SequentialSampler(data)  # type: ignore[arg-type]
        batches = BatchSampler(order, batch, drop_last=False)
        self.length = len(batches)
        endless: Any = Endless(batches)
        self.loader = iter(DataLoader(data, batch_sampler=endless, num_workers=WORKERS, persistent_workers=True))

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        for _ in range(self.length):
            yield next(self.loader)


def augmented(x: Tensor) -> Tensor:
    """DSA's `color_crop_cutout_flip_scale_rotate`."""
    chosen = GEOMETRIC[int(torch.randint(len(GEOMETRIC), ()))]
    return Families(aligned=False).apply(("flip", "color", chosen, "cutout"), x)


def epoch(job: Job, student: nn.Module, optimizer: torch.optim.Optimizer, loss: str, batches: Epochs) -> None:
    """Train for one epoch."""
    student.train()
    shown = Mean(), Mean(), Mean()
    for images, classes in batches:
        with torch.no_grad():
            images = augmented(images)
            soft = job.taught(images)
        logits = student(images)
        value = LOSSES[loss](logits, soft, classes)
        for mean, number in zip(shown, (value, *hits(logits.detach(), classes)), strict=True):
            mean.add(number.item(), len(classes))
        optimizer.zero_grad()
        value.backward()
        optimizer.step()


def tested(job: Job, student: nn.Module, loss: str, batches: Epochs) -> float:
    """Return the accuracy on the test split, in percent."""
    shown = Mean(), Mean(), Mean()
    with evaluating(student):
        for images, classes in batches:
            logits = student(images)
            _ = job.taught(images)
            sure = nn.functional.one_hot(classes, job.classes).float()
            value = LOSSES[loss](logits, sure, classes)
            for mean, number in zip(shown, (value, *hits(logits, classes)), strict=True):
                mean.add(number.item(), len(classes))
    return shown[1].value


def trainings(job: Job, losses: Sequence[str], seeds: int, every: int) -> Iterator[tuple[str, float]]:
    """Train each loss and seed; yield the loss and the accuracy at its last test."""
    job.taught.requires_grad_(False)
    seen = transforms.Compose([transforms.ToTensor(), transforms.Normalize(job.mean, job.std)])
    train = Epochs(Distilled(job), job.batch, shuffle=True)
    test = Epochs(Pictures(job.test_images, job.test_labels, seen), job.batch, shuffle=False)
    for loss in losses:
        for seed in range(seeds):
            torch.manual_seed(seed)
            student, accuracy = job.student(), 0.0
            optimizer = job.adamw(student)
            schedule = job.schedule(optimizer)
            for number in range(1, job.epochs + 1):
                epoch(job, student, optimizer, loss, train)
                if number % every == 0:
                    accuracy = tested(job, student, loss, test)
                schedule.step()
            yield loss, accuracy


if __name__ == "__main__":
    serve(trainings, lambda epochs: epochs // TESTS)
