"""A class-incremental stream kept at the end of its steps, and taken up: what a strategy holds is made again, not written.

What a strategy of Avalanche remembers (exemplars, importances, networks of steps before) lies in objects that no file holds.
It follows from the images, the random streams, and the weights at the end of each step. These are kept; a stream that is taken up
goes through its first steps again without training, and gives every hook of every plugin the weights that it saw.
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor, nn

from harness.training import checkpoints
from harness.training.checkpoints import Checkpoint, State
from harness.training.values import Material

History = list[dict[str, float]]


class Learner(Protocol):
    """A strategy with the resident loop (`harness.continual.loop.ResidentLoop`), as far as it is kept."""

    model: nn.Module
    material: Material
    mbatch: list[Tensor]
    steps: int
    diverged: bool
    ends: list[State] | None
    again: list[State]


class Course:
    """The way of a strategy along its stream, kept where there is a checkpoint.

    Args:
        strategy: prepared, and not trained.
        checkpoint: where it is kept; None for nowhere.
        goes_on: whether the strategy can be taken up (`harness.continual.strategies.Strategy`).

    Attributes:
        history, seconds: what was measured before the stream was cut off: an entry a step, and seconds by phase.
    """

    def __init__(self, strategy: Learner, checkpoint: Checkpoint | None, goes_on: bool = True) -> None:
        self._strategy, self._checkpoint, self._goes_on = strategy, checkpoint, goes_on
        self.history: History = []
        self.seconds = {"train": 0.0, "evaluate": 0.0}
        if checkpoint is None:
            return
        checkpoint.way = "a stream"
        if goes_on:
            strategy.ends = []
            state = checkpoint.load()
            if state is not None:
                self._take_up(state)

    @property
    def again(self) -> int:
        """How many steps are gone through again without training."""
        return len(self._strategy.again)

    def keep(self) -> None:
        """Keep the stream at the end of a step, when that is due."""
        if self._checkpoint is None or not self._checkpoint.due():
            return
        if self._goes_on:
            self._checkpoint.save(self._state)
        else:
            self._checkpoint.give_up("its strategy remembers every step of training, which no checkpoint holds")

    def _state(self) -> State:
        state = State()
        for number, end in enumerate(self._strategy.ends or ()):
            state.tensors |= {f"{number}.{name}": tensor for name, tensor in end.tensors.items()}
            state.facts |= {f"{number}.{name}": value for name, value in end.facts.items()}
        state.add("history", self.history)
        state.add("seconds", dict(self.seconds))
        state.add("steps", self._strategy.steps)
        state.add("diverged", self._strategy.diverged)
        return state

    def _take_up(self, state: State) -> None:
        self.history, self.seconds = state.facts["history"], state.facts["seconds"]
        self._strategy.steps, self._strategy.diverged = state.facts["steps"], state.facts["diverged"]
        self._strategy.again = [_part(state, f"{number}.") for number in range(len(self.history))]


def _part(state: State, prefix: str) -> State:
    tensors = {name.removeprefix(prefix): value for name, value in state.tensors.items() if name.startswith(prefix)}
    return State(tensors, {name.removeprefix(prefix): value for name, value in state.facts.items() if name.startswith(prefix)})


def end_of(strategy: Learner) -> State:
    """Return weights, shared streams and last batch at the end of a step's training, before any hook that follows it."""
    state = State()
    for name, tensor in checkpoints.weights(strategy.model):
        state.add(name, tensor.clone())
    state.add("batch", len(strategy.mbatch))
    for number, part in enumerate(strategy.mbatch):  # the last one, which MIR looks at once more
        state.add(f"batch.{number}", part.clone())
    checkpoints.keep_streams(state, strategy.material.images.device)
    return state


def put_back(strategy: Learner, end: State) -> None:
    """Give a strategy the weights, shared streams and batch of `end_of`, instead of training it."""
    device = strategy.material.images.device
    strategy.mbatch = [end.tensor(f"batch.{number}", device) for number in range(end.facts["batch"])]
    with torch.no_grad():
        for name, tensor in checkpoints.weights(strategy.model):
            tensor.copy_(end.tensors[name])
    checkpoints.take_up_streams(end, device)
