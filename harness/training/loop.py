"""The only hot loop: `fit` trains a student. Nothing here waits for the device inside a step."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Protocol, TypeVar, cast

import torch
from torch import Tensor, nn

from harness import optimizers
from harness.boards.protocol import Precision
from harness.core import seeds
from harness.core.errors import DataError
from harness.losses.targets import Loss, Memory
from harness.training import checkpoints
from harness.training.averages import Averages
from harness.training.batches import Batch, Criterion, Given, Replayed, Shuffled, Step, parts
from harness.training.checkpoints import Checkpoint
from harness.training.devices import arithmetic, autocast
from harness.training.feed import Feed, asked
from harness.training.stack import Alone, Stacked, undisturbed
from harness.training.values import NOT_FINITE, Fit, Material, Member, Recipe

Given_co = TypeVar("Given_co", covariant=True)
G = TypeVar("G")

#: The loss is looked at on the host once in so many steps, never in between.
STEPS_PER_CHECK = 100


def fit(
    student: nn.Module,
    material: Material,
    loss: Loss,
    recipe: Recipe,
    *,
    seed: int,
    teacher: Callable[[Tensor], Tensor] | None = None,
    evaluate: Callable[[nn.Module], dict[str, float]] | None = None,
    checkpoint: Checkpoint | None = None,
) -> Fit:
    """Train `student` in place on its device.

    Args:
        student: on the device of `material`, in channels-last memory format.
        loss: takes the student's logits [B, C] and Targets; returns a scalar.
        seed: the trial's; streams for the order and for the augmentation are derived from it.
        teacher: images [B, C, H, W] -> logits [B, C]; called on every batch, augmented and mixed, without gradient. Not asked
            where the material has stored augmentations, whose soft labels are stored with them.
        evaluate: called at `recipe.evaluations` evenly spaced epochs, the last among them, with the student in eval mode.
        checkpoint: where the training is kept while it lasts, and taken up when it was cut off.

    A loss that is not finite ends the training within `STEPS_PER_CHECK` steps, with `diverged`; it is then evaluated once more.
    What the last update gave is looked at too: a weight, or a logit of the last evaluation, that is not finite is `diverged`.
    """
    return fit_together([Member(student, loss, seed, evaluate)], material, recipe, teacher=teacher, checkpoint=checkpoint)[0]


def fit_together(
    members: Sequence[Member],
    material: Material,
    recipe: Recipe,
    *,
    teacher: Callable[[Tensor], Tensor] | None = None,
    checkpoint: Checkpoint | None = None,
) -> list[Fit]:
    """Train students of one architecture in place, all in the same pass, each as `fit` would train it alone.

    Each has its own weights, batch-norm statistics, order, augmentation, loss and evaluation; only float noise tells the result
    from that of `fit`. One that diverges is left alone from then on. The seconds of a Fit are its share of the time of all.

    Args:
        members: the trainings. With more than one: models that `harness.training.stack.agrees` to stack, and an optimizer of
            `harness.optimizers.optimizers.ELEMENTWISE`.
        material: without stored augmentations when there is more than one member.
        teacher: as in `fit`; asked for the images of all members at once, [S * B, C, H, W].
        checkpoint: where these trainings are kept while they last, and taken up when they were cut off.
    """
    with arithmetic(material.images.device, recipe.precision), undisturbed():
        numbers = [*dict.fromkeys(member.seed for member in members)]
        job = Job(members, material, recipe, feed=Feed(material, recipe, numbers, teacher))
        schedule = optimizers.create_schedule(recipe.schedule, job.optimizer, recipe.epochs)
        return run(job, recipe, job, schedule.step, checkpoint)


class Objective:
    """What a step asks of the batches: the teacher's soft labels, the loss of each training, and what these add up to so far.

    Args:
        losses: one a training.
        teacher: as `fit` takes it.
    """

    def __init__(
        self,
        losses: Sequence[Loss],
        teacher: Callable[[Tensor], Tensor] | None,
        device: torch.device,
        precision: Precision,
    ) -> None:
        self.teacher = teacher
        self.criterion = Criterion(losses)
        self.cast = autocast(device, precision)
        #: Sum of the losses of each training so far, one a pass, [S] float64: it is finite while each of them was.
        self.total = torch.zeros(len(losses), dtype=torch.float64, device=device)

    def under(self, loss: Loss) -> Objective:
        """Return the objective of the same trainings under this loss of hard labels; the sum of losses is that of both."""
        other = copy.copy(self)
        other.teacher, other.criterion = None, Criterion([loss] * len(self.total))
        return other

    def taught(self, images: Tensor) -> Tensor | None:
        """Return the teacher's logits, [B, C] float, of images [B, C, H, W] as the student sees them; None without a teacher."""
        if self.teacher is None:
            return None
        return asked(self.teacher, images, self.cast)

    def __call__(self, logits: Sequence[Tensor], batches: Sequence[Batch], progress: float, taught: Tensor | None) -> Tensor:
        """Return the sum of the losses, a scalar; the arguments are those of `Criterion`."""
        values = self.criterion(logits, batches, progress, taught)
        self.total.add_(values.detach())
        return values.sum()


class Job:
    """What is made for trainings before their first step, and called for each: students, optimizer, batches, losses.

    Args:
        feed: what other trainings are given too, of the seeds of all members; without, this one's own, of `teacher`.
    """

    def __init__(
        self,
        members: Sequence[Member],
        material: Material,
        recipe: Recipe,
        teacher: Callable[[Tensor], Tensor] | None = None,
        feed: Feed | None = None,
    ) -> None:
        device = material.images.device
        self.members = members
        numbers = [member.seed for member in members]
        self.feed, self._shares_feed = feed or Feed(material, recipe, numbers, teacher), feed is not None
        places = [self.feed.seeds.index(number) for number in numbers]
        self._places = places if feed is not None and places != [*range(len(self.feed.seeds))] else None
        self.place = members[-1].place
        self.network: Alone | Stacked
        if len(members) == 1:
            self.network = Alone(members[0].student, members[0].forward)
        elif recipe.optimizer.name not in optimizers.ELEMENTWISE:
            raise DataError(f"trainings under {recipe.optimizer.name!r} are made one at a time: it may look at whole tensors")
        else:
            streams = [seeds.generator(member.seed, "dropout", device) for member in members]
            self.network = Stacked([member.student for member in members], streams)
        self.optimizer = self.network.optimizer(recipe.optimizer)
        self.objective = Objective([member.loss for member in members], None, device, recipe.precision)
        self._under: dict[Loss, Objective] = {}
        self.accumulation, self.part_size = recipe.accumulation, -(-recipe.batch_size // recipe.accumulation)
        self.averages = Averages(self.network, recipe.ema, recipe.ranks) if recipe.ema else None

    @property
    def source(self) -> Shuffled | Replayed:
        return self.feed.source

    @property
    def sources(self) -> Sequence[Shuffled | Replayed]:
        return self.feed.sources

    @property
    def total(self) -> Tensor:
        return self.objective.total

    @property
    def sizes(self) -> Sequence[int]:
        return self.source.sizes

    def epoch(self, number: int) -> Iterator[Given]:
        return self.feed.epoch(number)

    @property
    def memories(self) -> Sequence[Memory]:
        return self.objective.criterion.memories

    @property
    def jobs(self) -> Sequence[Job]:
        return (self,)

    def train(self) -> None:
        self.network.train()

    def ended(self, fits: Sequence[Fit]) -> None:
        """Nothing to do: the members of a stack go on together."""

    def shares(self, members: Sequence[int], seconds: float) -> Sequence[float]:
        return equal_shares(members, seconds)

    def __call__(self, given: Given, progress: float) -> None:
        """Make one step of every training; nothing in it waits for the device.

        Args:
            given: what an epoch of `source` yields.
            progress: share of the training already done.
        """
        self.learn(self.feed.step(given), progress)

    def learn(self, step: Step, progress: float) -> None:
        """Make one step of every training on what the feed gives; arguments as of a call."""
        if self._places is not None:
            step = step.of(self._places)
        objective = self.objective if self.feed.hard is None else self._objective(self.feed.hard)
        self.optimizer.zero_grad(set_to_none=True)
        if self.accumulation == 1:
            self._learn(objective, step, step.taught, progress)
        else:
            for part, said in parts(step, step.taught, self.part_size):
                self._learn(objective, part, said, progress, self.accumulation)
        self.optimizer.step()
        if self.averages is not None:
            self.averages.update()

    def _objective(self, hard: Loss) -> Objective:
        """Return the objective of these trainings under a loss of hard labels."""
        if hard not in self._under:
            self._under[hard] = self.objective.under(hard)
        return self._under[hard]

    def _learn(self, objective: Objective, step: Step, taught: Tensor | None, progress: float, shares: int = 1) -> None:
        """Add the gradients of one pass through the students to what there is of them; it counts for one of so many shares."""
        with objective.cast():
            logits = cast("Sequence[Tensor]", self.network(step.images))
        loss = objective(logits, step.batches, progress, taught)
        (loss if shares == 1 else loss / shares).backward()  # type: ignore[no-untyped-call]

    def restart(self, numbers: Sequence[int]) -> None:
        """Put everything but the weights back to where trainings of these seeds begin; the optimizer's state becomes zero.

        A feed that is not its own is left alone.
        """
        if isinstance(self.source, Shuffled) and not self._shares_feed:
            self.source.restart(numbers)
        for stream, number in zip(self.network.streams, numbers, strict=False):
            stream.manual_seed(seeds.derive(number, "dropout"))
        for state in self.optimizer.state.values():
            for value in state.values():
                if isinstance(value, Tensor):
                    value.zero_()
        self.total.zero_()
        for memory in self.memories:
            memory.clear()


class Trained(Protocol[Given_co]):
    """What `run` trains: a `Job`, or several of them side by side."""

    @property
    def members(self) -> Sequence[Member]: ...

    @property
    def total(self) -> Tensor:
        """Sum of each member's losses so far, one a pass, [S] float64."""

    @property
    def sizes(self) -> Sequence[int]:
        """The images of each step of an epoch."""

    @property
    def jobs(self) -> Sequence[Job]:
        """Whose state is all that there is."""

    def epoch(self, number: int) -> Iterator[Given_co]:
        """Yield what each step of an epoch (1 the first) is given."""

    def train(self) -> None:
        """Put the students into train mode."""

    def ended(self, fits: Sequence[Fit]) -> None:
        """Be told, at the end of an epoch, how the trainings have fared."""

    def shares(self, members: Sequence[int], seconds: float) -> Sequence[float]:
        """Return how much of an epoch's seconds each of the members took, by their numbers, that are still going."""


def run(
    job: Trained[G],
    recipe: Recipe,
    step: Callable[[G, float], None],
    end_epoch: Callable[[], None],
    checkpoint: Checkpoint | None = None,
) -> list[Fit]:
    """Train the members of a job for the recipe's epochs: `step` is what makes a step of it, `end_epoch` follows every epoch.

    What `checkpoint` has kept of these trainings is taken up, and the same numbers come of it to the bit on the CPU.
    """
    means = [(part.averages, number) for part in job.jobs for number in range(len(part.members))]
    marks = evaluation_epochs(recipe.epochs, recipe.evaluations)
    fits = [Fit() for _ in job.members]
    job.train()
    state = None if checkpoint is None else checkpoint.load()
    done_before = 0 if state is None else checkpoints.take_up(state, job.jobs, fits, end_epoch)
    for member_fit in fits:
        member_fit.taken_up = done_before
    for epoch in range(done_before + 1, recipe.epochs + 1):
        started = time.perf_counter()
        progress = (epoch - 1) / recipe.epochs
        for given in job.epoch(epoch):
            step(given, progress)
        end_epoch()
        steps = len(job.sizes)
        going = [
            (member, fit, index) for index, (member, fit) in enumerate(zip(job.members, fits, strict=True)) if not fit.diverged
        ]
        checked = is_checked(epoch, recipe.epochs, steps)
        if checked:
            finite = job.total.isfinite()
            looked_at = (finite if epoch < recipe.epochs else finite & _finite_weights(job.members)).tolist()
            for _, member_fit, index in going:
                member_fit.diverged = not looked_at[index]
        tested = any(member.evaluate and (epoch in marks or member_fit.diverged) for member, member_fit, _ in going)
        totals = job.total.tolist() if tested else []  # the host waits for the steps here, as it would for the test
        shares = job.shares([index for _, _, index in going], time.perf_counter() - started)
        for (member, member_fit, index), seconds in zip(going, shares, strict=True):
            member_fit.epochs, member_fit.steps = epoch, member_fit.steps + steps
            member_fit.train_seconds += seconds
            if member.evaluate is not None and (epoch in marks or member_fit.diverged):
                started = time.perf_counter()
                evaluate, (averages, number) = member.evaluate, means[index]
                entry = evaluate(member.student) if averages is None else averages.tested(number, evaluate)
                loss = member_fit.read(totals[index], recipe.accumulation)
                member_fit.history.append({"epoch": epoch, **loss, **entry})
                member_fit.diverged |= epoch == recipe.epochs and NOT_FINITE in entry
                job.train()
                member_fit.evaluate_seconds += time.perf_counter() - started
        if all(member_fit.diverged for member_fit in fits):
            break
        job.ended(fits)
        if checkpoint is not None and (checked or epoch in marks) and epoch < recipe.epochs and checkpoint.due():
            checkpoint.save(partial(checkpoints.keep, job.jobs, fits))
    for part in job.jobs:
        if part.averages is not None:
            part.averages.settle()
    return fits


def equal_shares(members: Sequence[int], seconds: float) -> Sequence[float]:
    """Return the same share of some seconds for each member."""
    return [seconds / len(members)] * len(members)


def finite_weights(network: nn.Module) -> Tensor:
    """Return whether all weights that a network learns are finite: a bool on its device, which the host has not waited for."""
    return torch.stack([weight.detach().isfinite().all() for weight in network.parameters() if weight.requires_grad]).all()


def _finite_weights(members: Sequence[Member]) -> Tensor:
    return torch.stack([finite_weights(member.student) for member in members])


def is_checked(epoch: int, epochs: int, steps: int) -> bool:
    """Whether the host looks, after this epoch of so many steps (1 the first), at whether the loss has been finite."""
    return epoch == epochs or epoch % max(1, STEPS_PER_CHECK // max(steps, 1)) == 0


def evaluation_epochs(epochs: int, evaluations: int) -> set[int]:
    """Return the epochs after which a student is tested: `evaluations` of them, evenly spaced, ending with the last."""
    return {max(1, round(epochs * k / evaluations)) for k in range(1, evaluations + 1)}
