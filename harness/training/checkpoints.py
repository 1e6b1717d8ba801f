"""Long trainings kept on the disk now and then, and taken up where they were: tensors and JSON in one safetensors file.

A checkpoint holds all that the rest of a training follows from: weights, the optimizer's state, random streams, which epoch it
is, and what has been measured. Schedules are stepped again to where they were. Nothing is written unless so many seconds have
passed since the training began, or was kept last, and then only where the host has waited for the device anyway.
"""

from __future__ import annotations

import json
import logging
import os
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from harness.core import seeds
from harness.core.digests import digest
from harness.core.errors import DataError
from harness.files import safetensors
from harness.losses.targets import Memory
from harness.training.averages import Averages
from harness.training.batches import Replayed, Shuffled
from harness.training.stack import Alone, Stacked
from harness.training.values import Fit

log = logging.getLogger("giftbench")

FORMAT = "giftbench.checkpoint/1"
#: Seconds that a training goes on for before it is kept again, unless the environment says otherwise.
EVERY = 300.0
#: The variable of the environment that says otherwise.
SECONDS = "GIFTBENCH_CHECKPOINT_SECONDS"


class CannotKeep(Exception):
    """Something of a training's state is neither a tensor nor JSON."""


@dataclass
class State:
    """What a checkpoint holds: tensors by name, and the rest as JSON."""

    tensors: dict[str, Tensor] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)

    def add(self, name: str, value: object) -> None:
        """Put a value under a name. Raises CannotKeep for what is neither a tensor nor JSON."""
        if isinstance(value, Tensor):
            self.tensors[name] = value.detach()
            self.facts[f"{name}.stride"] = list(value.stride())
            self.facts[f"{name}.host"] = value.device.type == "cpu"
            return
        try:
            json.dumps(value)
        except (TypeError, ValueError) as error:
            raise CannotKeep(f"{name}: {error}") from None
        self.facts[name] = value

    def tensor(self, name: str, device: torch.device) -> Tensor:
        """Return a tensor as it was laid out, on the device unless it lay on the host."""
        kept = self.tensors[name]
        place = torch.device("cpu") if self.facts[f"{name}.host"] else device
        laid = torch.empty_strided(kept.shape, self.facts[f"{name}.stride"], dtype=kept.dtype, device=place)
        return laid.copy_(kept)


class Checkpoint:
    """Where the state of one training, or of several made together, is kept.

    Args:
        path: the file; its folder is made with it.
        maker: tells what one that may be taken up has in common with this training: trials, code, versions, device. JSON.
        every: seconds between two checkpoints, and before the first.

    Attributes:
        way: how the training is made, a part of what has to be the same.
    """

    def __init__(self, path: Path, maker: Callable[[], Mapping[str, object]], every: float | None = None) -> None:
        self.path, self.way, self._maker = path, "", maker
        self.every = float(os.environ.get(SECONDS) or EVERY) if every is None else every
        self._last = time.monotonic()

    @property
    def maker(self) -> dict[str, object]:
        return {**self._maker(), "way": self.way}

    def due(self) -> bool:
        """Whether it is time to keep the state."""
        return time.monotonic() - self._last >= self.every

    def save(self, make: Callable[[], State]) -> None:
        """Keep a state, whole or not at all. A training goes on without when that cannot be: it is said once."""
        try:
            state = make()
            tensors = {name: tensor.cpu().contiguous().clone() for name, tensor in state.tensors.items()}
            facts = {"maker": self.maker, "state": state.facts}
            words = {"format": FORMAT, "facts": json.dumps(facts), "digest": digest(tensors, facts)}
            safetensors.save(self.path, tensors, words)
        except (CannotKeep, OSError) as error:
            self.give_up(str(error))
        self._last = time.monotonic()

    def give_up(self, reason: str) -> None:
        """Say why a training cannot be kept, and try no more."""
        log.warning("%s: this trial cannot be kept, and starts anew if it is cut off: %s", self.path, reason)
        self.every = float("inf")

    def load(self) -> State | None:
        """Return the state that was kept; None where there is none, or none that this training can take up, which is said."""
        if not self.path.is_file():
            return None
        try:
            header, tensors = safetensors.load(self.path, "a checkpoint")
            if header.metadata.get("format") != FORMAT:
                raise DataError(f"{self.path}: not a checkpoint")
            facts = json.loads(header.metadata["facts"])
            maker, state = facts["maker"], facts["state"]
            if digest(tensors, facts) != header.metadata["digest"]:
                raise DataError(f"{self.path}: its content does not have the digest it states")
        except DataError as error:
            log.warning("%s; the trial starts anew", error)
            return None
        except (LookupError, TypeError, ValueError, RecursionError):
            log.warning("%s: not a checkpoint; the trial starts anew", self.path)
            return None
        own = json.loads(json.dumps(self.maker))
        if maker != own:
            others = sorted(name for name in {*maker, *own} if maker.get(name) != own.get(name))
            log.warning("%s: of another %s; the trial starts anew", self.path, ", ".join(others))
            return None
        log.info("%s: taken up", self.path)
        return State(dict(tensors), state)


# -- trainings ---------------------------------------------------------------------------------------------------------------


class Job(Protocol):
    """What is made for trainings before their first step (`harness.training.loop.Job`), as far as it changes with them."""

    network: Alone | Stacked
    optimizer: Optimizer
    place: seeds.Place | None
    averages: Averages | None

    @property
    def sources(self) -> Sequence[Shuffled | Replayed]: ...

    @property
    def total(self) -> Tensor: ...

    @property
    def memories(self) -> Sequence[Memory]: ...


def keep(jobs: Sequence[Job], fits: Sequence[Fit]) -> State:
    """Return the state of trainings at the end of an epoch. Raises CannotKeep."""
    state = State()
    for number, job in enumerate(jobs):
        for name, tensor in _tensors(job):
            state.add(f"{number}.{name}", tensor)
        for name, stream in _streams(job):
            state.add(f"{number}.{name}", stream.get_state())
        _keep_optimizer(state, f"{number}.optimizer", job)
        for place, memory in _memories(number, job):
            state.add(f"{place}#", [*memory])
            for name, value in memory.items():
                state.add(f"{place}.{name}", value)
        if job.place is not None:
            with job.place:
                keep_streams(state, job.total.device, f"{number}.")
    keep_streams(state, jobs[0].total.device)
    state.add("fits", [asdict(fit) for fit in fits])
    return state


def take_up(state: State, jobs: Sequence[Job], fits: Sequence[Fit], end_epoch: Callable[[], None]) -> int:
    """Put trainings that have not begun to where they were kept; return how many epochs they have made.

    Args:
        fits: of the members, in order; what was measured so far is entered.
        end_epoch: what follows every epoch, a schedule's step among it.
    """
    for fit, kept in zip(fits, state.facts["fits"], strict=True):
        for part in fields(fit):
            setattr(fit, part.name, kept[part.name])
    epochs = max(fit.epochs for fit in fits)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a schedule that is stepped before its optimizer
        for _ in range(epochs):
            end_epoch()
    with torch.no_grad():
        for number, job in enumerate(jobs):
            for name, tensor in _tensors(job):
                tensor.copy_(state.tensors[f"{number}.{name}"])
            for name, stream in _streams(job):
                stream.set_state(state.tensors[f"{number}.{name}"])
            _take_up_optimizer(state, f"{number}.optimizer", job)
            for place, memory in _memories(number, job):
                for name in state.facts[f"{place}#"]:
                    key = f"{place}.{name}"
                    memory[name] = state.tensor(key, job.total.device) if key in state.tensors else state.facts[key]
            if job.place is not None:
                with job.place:
                    take_up_streams(state, job.total.device, f"{number}.")
    take_up_streams(state, jobs[0].total.device)
    return epochs


def _tensors(job: Job) -> Iterator[tuple[str, Tensor]]:
    """Yield the weights and buffers of a job's students, the means of these, and the sums of their losses."""
    yield "total", job.total
    for number, student in enumerate(job.network.students):
        yield from weights(student, f"student.{number}.")
    if job.averages is not None:
        yield from job.averages.tensors()


def weights(network: nn.Module, prefix: str = "") -> Iterator[tuple[str, Tensor]]:
    """Yield parameters and buffers by name."""
    for kind, tensors in (("parameter", network.named_parameters()), ("buffer", network.named_buffers())):
        yield from ((f"{prefix}{kind}.{name}", tensor) for name, tensor in tensors)


def _memories(number: int, job: Job) -> Iterator[tuple[str, Memory]]:
    """Yield what the loss of each training has kept of its batches, and a name for it."""
    yield from ((f"{number}.memory.{place}", memory) for place, memory in enumerate(job.memories))


def _streams(job: Job) -> Iterator[tuple[str, torch.Generator]]:
    streams = [*job.network.streams]
    for source in job.sources:
        if isinstance(source, Shuffled):
            streams += [*source.orders, *source.streams]
    yield from ((f"stream.{number}", stream) for number, stream in enumerate(streams))


def _keep_optimizer(state: State, prefix: str, job: Job) -> None:
    for place, values, _ in _optimizer(prefix, job):
        names = [name for name in values if name != "params"]
        state.add(f"{place}#", names)
        for name in names:
            state.add(f"{place}.{name}", values[name])


def _take_up_optimizer(state: State, prefix: str, job: Job) -> None:
    """Put an optimizer's values to what they were; tensors that are there stay where they lie, as captured steps want them."""
    for place, values, device in _optimizer(prefix, job):
        for name in state.facts[f"{place}#"]:
            key, own = f"{place}.{name}", values.get(name)
            if key not in state.tensors:
                kept = state.facts[key]
                values[name] = tuple(kept) if isinstance(own, tuple) else kept
            elif isinstance(own, Tensor):
                own.copy_(state.tensors[key])
            else:
                values[name] = state.tensor(key, device)


def _optimizer(prefix: str, job: Job) -> Iterator[tuple[str, dict[str, Any], torch.device]]:
    """Yield the values of an optimizer's groups and of each weight: a name for them, and the weight's device."""
    for g, group in enumerate(job.optimizer.param_groups):
        yield f"{prefix}.group.{g}", group, job.total.device
        for w, weight in enumerate(group["params"]):
            yield f"{prefix}.group.{g}.weight.{w}", job.optimizer.state[weight], weight.device


# -- streams that all code shares -----------------------------------------------------------------------------------------------


def keep_streams(state: State, device: torch.device, prefix: str = "") -> None:
    """Put the states of the streams of torch, numpy and Python into a state."""
    tensors, facts = seeds.states(device)
    for name, value in {**tensors, **facts}.items():
        state.add(f"{prefix}shared.{name}", value)


def take_up_streams(state: State, device: torch.device, prefix: str = "") -> None:
    """Set the streams of torch, numpy and Python to what `keep_streams` put into a state."""
    start = f"{prefix}shared."
    tensors = {name.removeprefix(start): value for name, value in state.tensors.items() if name.startswith(start)}
    facts = {name.removeprefix(start): value for name, value in state.facts.items() if name.startswith(start)}
    seeds.set_states(tensors, facts, device)
