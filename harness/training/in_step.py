"""Trainings of a seed step by step beside each other: what they have in common is made once a step."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import cast

import torch
from torch import Tensor, nn

from harness import optimizers
from harness.core import seeds
from harness.training.batches import Given
from harness.training.checkpoints import Checkpoint
from harness.training.devices import arithmetic
from harness.training.feed import Feed
from harness.training.first_block import patches_kept
from harness.training.loop import Job, run
from harness.training.stack import undisturbed
from harness.training.values import Fit, Material, Member, Recipe


@dataclass(frozen=True)
class Part:
    """Trainings made in one pass: a student, or a stack of them as `fit_together` takes it, and how they are trained."""

    members: Sequence[Member]
    recipe: Recipe


def fit_in_step(
    parts: Sequence[Part],
    material: Material,
    *,
    teacher: Callable[[Tensor], Tensor] | None = None,
    checkpoint: Checkpoint | None = None,
) -> list[Fit]:
    """Train students in place, step by step beside each other: what trainings of a seed have in common is made once a step.

    That is the batch, altered and mixed, and what the teacher says of it; each training does with it what it does alone, to the
    bit on the CPU, whatever its student, loss, optimizer and schedule.

    Args:
        parts: whose members have the same seeds, and whose recipes differ in optimizer and schedule alone. Where there are
            several, each member has its `place`.

    Returns: one Fit a member, part after part.
    """
    first = parts[0].recipe
    numbers = [*dict.fromkeys(member.seed for member in parts[0].members)]
    with arithmetic(material.images.device, first.precision), undisturbed():
        feed = Feed(material, first, numbers, teacher)
        jobs = [Job(part.members, material, part.recipe, feed=feed) for part in parts]
        schedules = [
            optimizers.create_schedule(part.recipe.schedule, job.optimizer, first.epochs)
            for part, job in zip(parts, jobs, strict=True)
        ]

        def end_epoch() -> None:
            for schedule in schedules:
                schedule.step()

        job = jobs[0] if len(jobs) == 1 else InStep(jobs)
        return run(job, first, job, end_epoch, checkpoint)


class InStep:
    """Jobs of one feed, each of which makes its step before the next step begins.

    Those whose members have all diverged are left out. How long each took tells its members' share of the time.
    """

    def __init__(self, jobs: Sequence[Job]) -> None:
        self.jobs = jobs
        self.feed = jobs[0].feed
        self.members = [self._in_turn(member) for job in jobs for member in job.members]
        self._left: set[int] = set()
        self._seconds = [0.0] * len(jobs)

    @staticmethod
    def _in_turn(member: Member) -> Member:
        evaluate, place = member.evaluate, member.place
        if place is None:
            raise ValueError("trainings beside each other take turns in the streams that all code shares")
        if evaluate is None:
            return member

        def evaluated(student: nn.Module) -> dict[str, float]:
            with place:
                return evaluate(student)

        return replace(member, evaluate=evaluated)

    @property
    def total(self) -> Tensor:
        return torch.cat([job.total for job in self.jobs])

    @property
    def sizes(self) -> Sequence[int]:
        return self.feed.source.sizes

    def epoch(self, number: int) -> Iterator[Given]:
        return self.feed.epoch(number)

    def train(self) -> None:
        for job in self.jobs:
            job.train()

    def __call__(self, given: Given, progress: float) -> None:
        """Make one step of every training; arguments as of `Job`."""
        step = self.feed.step(given)
        with patches_kept():
            for number, job in enumerate(self.jobs):
                if number not in self._left:
                    started = time.perf_counter()
                    with cast("seeds.Place", job.place):
                        job.learn(step, progress)
                    self._seconds[number] += time.perf_counter() - started

    def ended(self, fits: Sequence[Fit]) -> None:
        at = 0
        for number, job in enumerate(self.jobs):
            if all(fit.diverged for fit in fits[at : at + len(job.members)]):
                self._left.add(number)
            at += len(job.members)

    def shares(self, members: Sequence[int], seconds: float) -> Sequence[float]:
        each = [own / len(job.members) for job, own in zip(self.jobs, self._seconds, strict=True) for _ in job.members]
        common = (seconds - sum(self._seconds)) / len(members)
        self._seconds = [0.0] * len(self.jobs)
        return [each[member] + common for member in members]
