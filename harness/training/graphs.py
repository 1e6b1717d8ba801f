"""Whole training steps as CUDA graphs: captured once a shape, replayed over epochs and over trainings.

A step of a small student is some hundred kernels of a few microseconds each, which the host cannot launch as fast as the
device runs them. A graph launches them all at once. What a step reads and writes then has to lie where it lay at capture:
weights, optimizer state, learning rates, random streams and the index of the images. `Captured` keeps them, and copies each
new training's weights in.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Protocol

import torch
from torch import Generator, Tensor, nn

from harness import optimizers
from harness.core.resolved import resolved_from
from harness.losses.looks import looks
from harness.losses.targets import Loss
from harness.optimizers.eager import SGD
from harness.optimizers.optimizers import ELEMENTWISE
from harness.training import batches
from harness.training.batches import Given, Shuffled
from harness.training.checkpoints import Checkpoint
from harness.training.devices import arithmetic
from harness.training.feed import Feed
from harness.training.loop import Job, run
from harness.training.stack import undisturbed
from harness.training.values import Fit, Material, Member, Recipe

Step = Callable[[], None]
Recorder = Callable[[Step, Iterable[Generator]], Step]

#: Schedules that set nothing but the learning rate, once an epoch.
SCHEDULES = frozenset(
    {"multistep", "cosine", "cosine-to-half", "smoothed-cosine", "cosine-then-line", "warmup-cosine", "constant"}
)
#: Steps made the ordinary way before a capture, so that every kernel has been chosen and every buffer made.
WARMUPS = 3
#: How far gradients and ends of replays may lie from those of steps, as a share of the gradients and of the way. Other random
#: numbers show in the gradients. The ends are held less close: of a gradient that is nothing but float noise, as that of a bias
#: before a batch norm, Adam makes a whole step to either side.
GRADIENT_GAP, WAY_GAP = 0.1, 0.5


class Made(Protocol):
    """What trainings are given, made outside of their steps (`harness.training.captured_feed.CapturedFeed`)."""

    feed: Feed

    def of(self, size: int) -> batches.Step:
        """Return what a step of batches of `size` images is given, where it lies."""


class Captured:
    """Trainings of one kind, one set after the other, whose steps are captured when first met.

    Args:
        members: the first trainings; their students are copied, and their losses are those of all later ones.
        material, recipe, teacher: as `harness.training.loop.fit_together` takes them. Epochs, evaluations and schedule may
        change. record: returns a function that repeats a step; `cuda_graph` unless a test looks into what is captured.
        stream: the CUDA stream that steps are captured on, where they are to be replayed on that stream.
        sizes, places: as `ready` takes them; those of an epoch of the material by default.
        given: what makes the batches and asks the teacher in the place of the steps, which then only learn.

    Raises: RuntimeError, as torch does, when a step cannot be captured, or when a replay does not do what the step does.
    """

    def __init__(
        self,
        members: Sequence[Member],
        material: Material,
        recipe: Recipe,
        teacher: Callable[[Tensor], Tensor] | None,
        record: Recorder | None = None,
        stream: torch.cuda.Stream | None = None,
        sizes: Iterable[int] | None = None,
        places: Tensor | None = None,
        given: Made | None = None,
    ) -> None:
        own = [replace(member, student=copy.deepcopy(member.student)) for member in members]
        self.given = given
        self.job = Job(own, material, recipe, teacher, None if given is None else given.feed)
        self.precision = recipe.precision
        self.record = record or partial(cuda_graph, at=stream)
        self.stream = stream
        #: Whether a step draws from torch's own random stream, which only one training at a time can have to itself.
        self.draws_from_torch = False
        self.replays: dict[int, tuple[Tensor, Step]] = {}
        width = torch.float32 if material.images.is_cuda else torch.float64  # as a GPU's kernels read it; as the CPU's steps do
        for group in self.job.optimizer.param_groups:
            group["lr"] = torch.tensor(float(group["lr"]), dtype=width, device=material.images.device)
            if "capturable" in group:
                group["capturable"] = material.images.is_cuda
        self._rates = [float(group["lr"]) for group in self.job.optimizer.param_groups]
        self.job.network.train()
        self.ready(self.job.source.sizes if sizes is None else sizes, places)

    def ready(self, sizes: Iterable[int], places: Tensor | None = None) -> None:
        """Capture the steps of batches of these sizes, but for those that are. Raises RuntimeError, as making one does.

        Args:
            places: of images such as are trained on, [N] int64 on the device, which steps are tried on; all by default.
        """
        device = self.job.total.device
        places = torch.arange(len(self.job.source.material.labels), device=device) if places is None else places
        with arithmetic(device, self.precision), undisturbed():
            for size in sorted({*sizes} - self.replays.keys()):
                self._capture(size, places)

    def fit(self, members: Sequence[Member], recipe: Recipe, checkpoint: Checkpoint | None = None) -> list[Fit]:
        """Train other members of the same kind in place; `recipe` may differ in epochs, evaluations and schedule."""
        with self.begun(members, recipe) as end_epoch:
            return run(self.job, recipe, self.step, end_epoch, checkpoint)

    @contextmanager
    def begun(self, members: Sequence[Member], recipe: Recipe) -> Iterator[Callable[[], None]]:
        """Put members where the captured steps train; yield what ends an epoch."""
        self.job.members = members
        self._restart([member.seed for member in members])
        with _lent(self.job.network.students, [member.student for member in members]):
            yield self._schedule(recipe)

    def step(self, given: Given, progress: float) -> None:
        """Replay a step on the images at `given`, [S, B]; where others make the batches, on what these have made of it."""
        assert isinstance(given, Tensor)  # stored batches are not captured
        index, replay = self.replays[given.shape[1]]
        if self.given is None:
            index.copy_(given)
        replay()

    def seconds_per_step(self, repeats: int = 30) -> float:
        """Return how long a replayed step of the largest batch takes; the weights are put back."""
        _, replay = self.replays[max(self.replays)]
        return timed(replay, self.job.network.students, repeats)

    def _capture(self, size: int, places: Tensor) -> None:
        """Capture the step of batches of `size` images, and hold what replays do against what steps do."""
        job, count = self.job, len(places)
        tried = torch.arange(size * len(job.members), device=places.device).remainder(count)
        index = places.index_select(0, tried).view(len(job.members), size)
        before = _clones(job.network.students)

        def start() -> None:
            copied(tensors(job.network.students), before)
            self._restart([member.seed for member in job.members])

        def step() -> None:
            if self.given is None:
                job(index, 1.0)
            else:
                job.learn(self.given.of(size), 1.0)

        with torch_stream_kept(index), side_stream(index, self.stream):
            drawn = torch_state(index)
            for _ in range(WARMUPS):
                step()
            self.draws_from_torch |= not torch.equal(drawn, torch_state(index))
        start()
        with torch_stream_kept(index), side_stream(index, self.stream):
            for _ in range(WARMUPS):
                step()
            expected, gradients = _clones(job.network.students), self._gradients()
        start()
        with torch_stream_kept(index):
            replay = self.record(step, [*_on(index.device, job)] if self.given is None else [])
        start()
        with torch_stream_kept(index):
            for _ in range(WARMUPS):
                replay()
        astray = gap(gradients, self._gradients())
        apart = gap(_ways(before, expected), _ways(before, _clones(job.network.students)))
        if not (astray <= GRADIENT_GAP and apart <= WAY_GAP):
            gaps = f"gradients part by {astray:.2g}, ends by {apart:.2g}"
            raise RuntimeError(f"a replayed step does not do what the step does: {gaps}")
        start()
        self.replays[size] = index, replay

    def _gradients(self) -> list[Tensor]:
        groups = self.job.optimizer.param_groups
        return [weight.grad.clone() for group in groups for weight in group["params"] if weight.grad is not None]

    def _restart(self, seeds: Sequence[int]) -> None:
        """Put everything but the weights back to where a training begins."""
        self.job.restart(seeds)
        for group, rate in zip(self.job.optimizer.param_groups, self._rates, strict=True):
            group["lr"].fill_(rate)

    def _schedule(self, recipe: Recipe) -> Callable[[], None]:
        """Return what sets the learning rates after an epoch, where the captured steps read them."""
        groups = self.job.optimizer.param_groups
        twin = SGD([{"params": [torch.zeros(())], "lr": rate} for rate in self._rates], 0.0)
        schedule = optimizers.create_schedule(recipe.schedule, twin, recipe.epochs)

        def set_rates() -> None:
            for group, other in zip(groups, twin.param_groups, strict=True):
                group["lr"].fill_(other["lr"])

        def end_epoch() -> None:
            twin.step()
            schedule.step()
            set_rates()

        set_rates()
        return end_epoch


def capturable(material: Material, recipe: Recipe, losses: Sequence[Loss]) -> bool:
    """Whether steps of this kind can be captured: everything a step needs has to lie on the device, and nothing may change.

    Optimizers that step on the host, losses that look at the progress of the training or keep something of one batch for the
    next, stored augmentations, recipes whose steps are not all alike (`Recipe.plain`), and losses that a scenario makes of others
    are left out: what these do in Python would happen once, at capture.
    """
    return (
        material.replay is None
        and recipe.plain
        and all(resolved_from(loss) is not None for loss in losses)
        and recipe.optimizer.name in ELEMENTWISE
        and recipe.schedule.name in SCHEDULES
        and not any(looks(loss).progress or looks(loss).remembers for loss in losses)
    )


def cuda_graph(step: Step, streams: Iterable[Generator], at: torch.cuda.Stream | None = None) -> Step:
    """Capture a step as a CUDA graph, with its random streams, and return what replays it; on the CUDA stream `at`, if given."""
    graph = torch.cuda.CUDAGraph()
    for stream in streams:
        graph.register_generator_state(stream)
    with torch.cuda.graph(graph, stream=at):
        step()
    return graph.replay


def _on(device: torch.device, job: Job) -> Iterator[Generator]:
    """Yield the streams of a job that draw on its device."""
    streams = job.source.streams if isinstance(job.source, Shuffled) else []
    yield from (stream for stream in (*streams, *job.network.streams) if stream.device.type == device.type)


def timed(replay: Step, students: Sequence[nn.Module], repeats: int) -> float:
    """Return how long a replayed step takes, in seconds; the students' weights are put back."""
    before, at = _clones(students), next(tensors(students))
    with torch_stream_kept(at):
        for count in (WARMUPS, repeats):
            _wait(at.device)
            started = time.perf_counter()
            for _ in range(count):
                replay()
            _wait(at.device)
    seconds = (time.perf_counter() - started) / repeats
    copied(tensors(students), before)
    return seconds


@contextmanager
def side_stream(at: Tensor, given: torch.cuda.Stream | None) -> Iterator[None]:
    """Run on another CUDA stream, as steps before a capture have to; nothing on the CPU."""
    if not at.is_cuda:
        yield
        return
    here, aside = torch.cuda.current_stream(at.device), given or torch.cuda.Stream(at.device)  # type: ignore[no-untyped-call]
    aside.wait_stream(here)
    with torch.cuda.stream(aside):
        yield
    here.wait_stream(aside)


@contextmanager
def torch_stream_kept(at: Tensor) -> Iterator[None]:
    """Put torch's own random streams back afterwards; a student alone draws its stochastic depth from them."""
    devices = [at.device.index] if at.is_cuda else []
    with torch.random.fork_rng(devices):
        yield


def torch_state(at: Tensor) -> Tensor:
    """Return the state of torch's own random streams."""
    states = [torch.get_rng_state()] + ([torch.cuda.get_rng_state(at.device)] if at.is_cuda else [])
    return torch.cat(states)


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def tensors(students: Sequence[nn.Module]) -> Iterator[Tensor]:
    """Yield the parameters and buffers of students, one student's after the other's."""
    for student in students:
        yield from student.parameters()
        yield from student.buffers()


def _clones(students: Sequence[nn.Module]) -> list[Tensor]:
    return [tensor.detach().clone() for tensor in tensors(students)]


def copied(places: Iterable[Tensor], values: Iterable[Tensor]) -> None:
    """Give tensors the values of others, where they lie: all of a type at once, which a device is asked for in one go."""
    kinds: dict[tuple[torch.dtype, torch.dtype], tuple[list[Tensor], list[Tensor]]] = {}
    for tensor, value in zip(places, values, strict=True):
        own, given = kinds.setdefault((tensor.dtype, value.dtype), ([], []))
        own.append(tensor)
        given.append(value)
    with torch.no_grad():
        for own, given in kinds.values():
            torch._foreach_copy_(own, given)


def _ways(start: Sequence[Tensor], end: Sequence[Tensor]) -> list[Tensor]:
    return [there.double() - here.double() for here, there in zip(start, end, strict=True)]


def gap(expected: Sequence[Tensor], tensors: Sequence[Tensor]) -> float:
    """Return how far tensors lie from those expected, as a share of the length of these; all tensors together."""
    apart = torch.stack([(ours - own).double().square().sum() for own, ours in zip(expected, tensors, strict=True)]).sum()
    length = torch.stack([own.double().square().sum() for own in expected]).sum()
    return float((apart / length).sqrt()) if float(apart) else 0.0


@contextmanager
def _lent(own: Sequence[nn.Module], students: Sequence[nn.Module]) -> Iterator[None]:
    """Let students share the weights of others while these are trained, beginning with their own; then they have them alone."""
    pairs = list(zip(tensors(own), tensors(students), strict=True))
    for kept, lent in pairs:
        kept.data.copy_(lent.data)
        lent.data = kept.data
    try:
        yield
    finally:
        for _, lent in pairs:
            lent.data = lent.data.clone()
