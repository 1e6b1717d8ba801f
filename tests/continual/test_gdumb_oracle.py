"""Avalanche's GDumb against a loop that knows nothing of Avalanche: same seeds, same accuracies."""

from __future__ import annotations

import copy
from collections.abc import Callable

import numpy
import pytest
import torch
from torch import Tensor, nn

from harness import losses
from harness.augmentation import DSA
from harness.boards.trial import Trial
from harness.core import seeds
from harness.losses.targets import Targets
from harness.running.scenario import named
from harness.running.workbench import Workbench

Bench = Callable[..., tuple[list[Trial], Workbench]]


def oracle(trial: Trial, workbench: Workbench) -> list[float]:
    """GDumb by hand: at each step train a copy of one student on the images of all classes so far, and test it on them."""
    torch.set_num_threads(1)
    dataset = workbench.dataset(trial)
    distilled = workbench.distilled(trial)
    mean, std = (torch.tensor(v).view(1, -1, 1, 1) for v in (dataset.mean, dataset.std))

    def floats(images: Tensor) -> Tensor:
        return ((images.float() - mean * 255) / (std * 255)).contiguous(memory_format=torch.channels_last)

    images, labels = floats(distilled.images), distilled.labels
    classes, steps, protocol = len(dataset.classes), trial.options["steps"], trial.protocol
    teacher, loss, augment = workbench.teacher(trial), losses.create(trial.loss), DSA(protocol.augmentation)
    first = workbench.student(trial)
    order = numpy.random.RandomState(trial.seed).permutation(classes).tolist()
    ends = numpy.cumsum([classes // steps + (k < classes % steps) for k in range(steps)])
    accuracies = []
    for step, end in enumerate(ends, start=1):
        seen = torch.tensor(sorted(order[:end]))
        memory = torch.isin(labels, seen).nonzero()[:, 0]
        seed = seeds.derive(trial.seed, f"step/{step}")
        draws = seeds.generator(seed, "order"), seeds.generator(seed, "augmentation")
        student = copy.deepcopy(first).train()
        optimizer = torch.optim.AdamW(student.parameters(), lr=1e-3, weight_decay=1e-4, fused=True)
        marks = [round(protocol.epochs * share) for share in (2 / 3, 5 / 6)]
        schedule = torch.optim.lr_scheduler.MultiStepLR(optimizer, marks, gamma=0.2)
        for _ in range(protocol.epochs):
            shuffled = memory[torch.randperm(len(memory), generator=draws[0])]
            for batch in shuffled.split(protocol.batch_size):
                x = augment(images[batch].contiguous(memory_format=torch.channels_last), generator=draws[1])
                soft = teacher.logits(x)[:, seen] if teacher is not None else None
                optimizer.zero_grad()
                value = loss(student(x)[:, seen], Targets(torch.searchsorted(seen, labels[batch]), soft))
                value.backward()
                optimizer.step()
            schedule.step()
        accuracies.append(accuracy(student, floats(dataset.test.images), dataset.test.labels, seen))
    return accuracies


def accuracy(student: nn.Module, images: Tensor, labels: Tensor, seen: Tensor) -> float:
    student.eval()
    chosen = torch.isin(labels, seen)
    with torch.no_grad():
        found = torch.cat([student(part)[:, seen].argmax(1) for part in images[chosen].split(50)])
    return float((seen[found] == labels[chosen]).double().mean() * 100)


@pytest.mark.parametrize("steps", [5, 10, 3])
def test_gdumb_through_avalanche_equals_the_oracle_seed_by_seed(bench: Bench, steps: int) -> None:
    protocol = {"name": "smoke", "epochs": 6}
    trials, workbench = bench({"steps": steps}, losses=["gift", "ce"], seeds=2, protocol=protocol)
    assert len(trials) == 4
    for trial in trials:
        history = named("class-incremental").run(trial, workbench).history
        assert [entry["accuracy"] for entry in history] == pytest.approx(oracle(trial, workbench), abs=1e-9)


def test_the_oracle_tells_seeds_apart(bench: Bench) -> None:
    trials, workbench = bench({"steps": 5}, losses=["ce"], seeds=2, protocol={"name": "smoke", "epochs": 6})
    assert oracle(trials[0], workbench) != oracle(trials[1], workbench)
