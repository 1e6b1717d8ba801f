"""DD-Ranking's soft-label evaluation, many labels an image: one process a loss, its seeds one after another.

What its code does: images come from a DataLoader of four workers, an image at a time, which start anew at every epoch and every
test; a batch of 256 is tested at a time. A step augments the batch by one family of DSA (its mode S), asks the teacher with
gradients on, whatever becomes of its answer, and reads loss, top-1 and top-5 as numbers; hard labels ask no teacher, and are
augmented too (its `use_aug_for_hard`). The student is tested after each 20 epochs, in an order that is drawn. Where torch is on
a GPU there, it is on the CPU here.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, RandomSampler, TensorDataset
from torchvision import transforms

from tests.benchmarks.against.job import Job, Mean, Pictures, hits, serve
from tests.benchmarks.released import LOSSES, Families

WORKERS, TEST_BATCH, BETWEEN_TESTS, WINDOW = 4, 256, 20, 20


class Meter(Mean):
    """A mean that keeps the last values too."""

    def __init__(self) -> None:
        super().__init__()
        self.last: deque[float] = deque(maxlen=WINDOW)

    def add(self, value: float, count: int) -> None:
        self.last.append(value)
        super().add(value, count)


def augmented(x: Tensor) -> Tensor:
    """One family of DSA, drawn for the batch."""
    chosen = Families.NAMES[int(torch.randint(len(Families.NAMES), ()))]
    return Families(aligned=True).apply((chosen,), x)


def epoch(job: Job, student: nn.Module, optimizer: torch.optim.Optimizer, loss: str, batches: DataLoader[Any]) -> None:
    """Train for one epoch."""
    student.train()
    job.taught.eval()
    shown = Meter(), Meter(), Meter()
    for images, classes in batches:
        images = augmented(images)
        soft = torch.stack([job.taught(images)]).mean(0) if loss != "ce" else None
        logits = student(images)
        given = soft.detach() if soft is not None else logits.detach()
        value = LOSSES[loss](logits, given, classes)
        shown[0].add(value.item(), len(classes))
        value.backward()
        optimizer.step()
        optimizer.zero_grad()
        wanted = soft.argmax(1) if soft is not None else classes
        for mean, number in zip(shown[1:], hits(logits, wanted), strict=True):
            mean.add(number.item(), len(classes))


def tested(student: nn.Module, batches: DataLoader[Any]) -> float:
    """Return the accuracy on the test split, in percent."""
    student.eval()
    shown = Meter(), Meter()
    with torch.inference_mode():
        for images, classes in batches:
            logits = student(images)
            for mean, number in zip(shown, hits(logits, classes), strict=True):
                mean.add(number.item(), len(classes))
    return shown[0].value


def trainings(job: Job, losses: Sequence[str], seeds: int, every: int) -> Iterator[tuple[str, float]]:
    """Train each loss and seed; yield the loss and the accuracy at its last test."""
    seen = transforms.Compose([transforms.ToTensor(), transforms.Normalize(job.mean, job.std)])
    pictures = Pictures(job.test_images, job.test_labels, seen)
    distilled = TensorDataset(job.normalised(job.images), job.labels)
    test = DataLoader(pictures, TEST_BATCH, sampler=RandomSampler(pictures), num_workers=WORKERS)
    for loss in losses:
        for seed in range(seeds):
            torch.manual_seed(seed)
            student, accuracy = job.student(), 0.0
            optimizer = job.adamw(student)
            schedule = job.schedule(optimizer)
            train = DataLoader(distilled, job.batch, sampler=RandomSampler(distilled), num_workers=WORKERS)
            for number in range(1, job.epochs + 1):
                epoch(job, student, optimizer, loss, train)
                schedule.step()
                if number % every == 0:
                    accuracy = tested(student, test)
            yield loss, accuracy


if __name__ == "__main__":
    serve(trainings, lambda epochs: min(epochs, BETWEEN_TESTS))
