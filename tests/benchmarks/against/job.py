"""The job that every side is given in a file, and what the sides' processes share: reading it, answering with accuracies.

A side's process loads torch and what its own loop needs, and nothing of the harness.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import Dataset

from tests.benchmarks.released import network

#: How often each training is tested by `giftbench run`, as the paper has it.
TESTS = 4


@dataclass(frozen=True)
class Job:
    """What is trained and tested: pixels in uint8 [N, C, H, W], classes [N], how pixels are normalised, who teaches.

    `teacher` holds the weights and statistics of a `network` of this `width`, in the order of its `state_dict`.
    """

    images: Tensor
    labels: Tensor
    test_images: Tensor
    test_labels: Tensor
    mean: tuple[float, ...]
    std: tuple[float, ...]
    classes: int
    teacher: tuple[Tensor, ...]
    width: int
    epochs: int
    batch: int

    @classmethod
    def load(cls, path: Path) -> Self:
        return cls(**torch.load(path))

    def save(self, path: Path) -> None:
        torch.save(self.__dict__, path)

    def student(self) -> nn.Sequential:
        """Return a new network, its weights drawn."""
        channels, side = self.images.shape[1], self.images.shape[-1]
        return network(channels, side, self.classes, self.width)

    @cached_property
    def taught(self) -> nn.Module:
        """The teacher, as it is tested."""
        teacher = self.student()
        teacher.load_state_dict(dict(zip(teacher.state_dict(), self.teacher, strict=True)))
        return teacher.eval()

    def adamw(self, student: nn.Module, **options: bool) -> torch.optim.Optimizer:
        """The paper's optimizer."""
        return torch.optim.AdamW(student.parameters(), lr=1e-3, weight_decay=1e-4, **options)

    def schedule(self, optimizer: torch.optim.Optimizer) -> torch.optim.lr_scheduler.MultiStepLR:
        """The paper's schedule, to be stepped once an epoch."""
        return torch.optim.lr_scheduler.MultiStepLR(optimizer, [2 * self.epochs // 3, 5 * self.epochs // 6], gamma=0.2)

    def normalised(self, images: Tensor) -> Tensor:
        """Return pixels [N, C, H, W] as float32, each channel normalised."""
        mean, std = (torch.tensor(values).view(1, -1, 1, 1) for values in (self.mean, self.std))
        return (images.float() / 255 - mean) / std


class Pictures(Dataset[tuple[Any, int]]):
    """A test split as torchvision's datasets hand it out: an image is made of its pixels each time, and transformed."""

    def __init__(self, pixels: Tensor, labels: Tensor, transform: Callable[[Image.Image], Any]) -> None:
        self.pixels, self.targets, self.transform = pixels.permute(0, 2, 3, 1).squeeze(-1).numpy(), labels.tolist(), transform

    def __getitem__(self, index: int) -> tuple[Any, int]:
        return self.transform(Image.fromarray(self.pixels[index])), self.targets[index]

    def __len__(self) -> int:
        return len(self.targets)


def hits(logits: Tensor, classes: Tensor) -> Tensor:
    """Return the shares in percent [2] of a batch whose class is the first of the logits, and among the first five."""
    among = logits.topk(min(5, logits.shape[1]), 1)[1].eq(classes[:, None])
    return torch.stack([100 * among[:, :k].any(1).float().mean() for k in (1, 5)])


class Mean:
    """A mean that is kept up batch by batch."""

    def __init__(self) -> None:
        self.total, self.count = 0.0, 0

    def add(self, value: float, count: int) -> None:
        self.total, self.count = self.total + value * count, self.count + count

    @property
    def value(self) -> float:
        return self.total / self.count


#: Trains a job under losses by name with so many seeds, tested each so many epochs; yields loss and accuracy at the last test.
Trainings = Callable[[Job, Sequence[str], int, int], Iterator[tuple[str, float]]]


def serve(trainings: Trainings, own_tests: Callable[[int], int]) -> None:
    """Be the process of a side: read the job that the command line names, train, write the accuracies by loss as JSON.

    Args:
        own_tests: tells of how many epochs each how many epochs lie between two tests, as the side's documents have it.
    """
    parser = argparse.ArgumentParser()
    parser.add_argument("job", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--loss", action="append", required=True)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--tests", type=int, default=0, help="how often each training is tested; 0: as the side's documents say")
    parser.add_argument("--threads", type=int, default=0)
    chosen = parser.parse_args()
    if chosen.threads:
        torch.set_num_threads(chosen.threads)
    job = Job.load(chosen.job)
    every = job.epochs // chosen.tests if chosen.tests else own_tests(job.epochs)
    accuracies: dict[str, list[float]] = {}
    for loss, accuracy in trainings(job, chosen.loss, chosen.seeds, every):
        accuracies.setdefault(loss, []).append(accuracy)
    chosen.out.write_text(json.dumps(accuracies), "utf-8")


@contextmanager
def evaluating(student: nn.Module) -> Iterator[None]:
    """Let a student be tested within, and be in training after."""
    student.eval()
    with torch.no_grad():
        yield
    student.train()
