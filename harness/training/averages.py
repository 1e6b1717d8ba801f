"""The mean of a student's weights over its steps, kept and tested beside the weights themselves."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Literal

import torch
from torch import Tensor, nn

from harness.training.stack import Alone, Stacked

#: What the measures of the network that does not give the accuracy are called by: `raw_accuracy`, `ema_accuracy`.
RAW, EMA = "raw", "ema"


class Averages:
    """Exponential means of the weights of trainings that are made together, each in a network of its own.

    A mean begins at the weights as they are, and after each step is `decay` of what it was and the rest of the weights. Buffers
    are the student's own, as they are when the mean is tested: those of EDC's code, whose mean is of parameters alone.

    Args:
        network: the students that are trained.
        decay: above 0 and below 1.
        ranks: which of the two is tested as the student itself is, and is what remains of a training.
    """

    def __init__(self, network: Alone | Stacked, decay: float, ranks: Literal["raw", "ema"]) -> None:
        self.decay, self.ranks = decay, ranks
        self.students = network.students
        self.weights = [weight.detach() for weight in network.weights]  # as they are now, and after every step
        self.means = [weight.clone() for weight in self.weights]
        self.networks = [copy.deepcopy(student).requires_grad_(False) for student in self.students]
        for number, mean_network in enumerate(self.networks):
            for parameter, mean in zip(mean_network.parameters(), self.means, strict=True):
                parameter.data = mean if len(self.networks) == 1 else mean[number]

    @torch.no_grad()
    def update(self) -> None:
        """Take the weights that a step has left into the means; nothing in it waits for the device."""
        torch._foreach_mul_(self.means, self.decay)
        torch._foreach_add_(self.means, self.weights, alpha=1 - self.decay)

    def tested(self, number: int, evaluate: Callable[[nn.Module], dict[str, float]]) -> dict[str, float]:
        """Return what an evaluation says of the network that ranks, and of the other one under names of its own."""
        said = {RAW: evaluate(self.students[number]), EMA: evaluate(self._mean(number))}
        other = RAW if self.ranks == EMA else EMA
        return said[self.ranks] | {f"{other}_{name}": value for name, value in said[other].items()}

    @torch.no_grad()
    def settle(self) -> None:
        """Leave the students with the weights that rank."""
        if self.ranks == EMA:
            for student, network in zip(self.students, self.networks, strict=True):
                for parameter, mean in zip(student.parameters(), network.parameters(), strict=True):
                    parameter.data.copy_(mean)

    def tensors(self) -> Iterator[tuple[str, Tensor]]:
        """Yield what a checkpoint holds of the means."""
        yield from ((f"mean.{number}", mean) for number, mean in enumerate(self.means))

    def _mean(self, number: int) -> nn.Module:
        network, student = self.networks[number], self.students[number]
        with torch.no_grad():
            for own, current in zip(network.buffers(), student.buffers(), strict=True):
                own.copy_(current)
        return network
