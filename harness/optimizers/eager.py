"""Torch's optimizers, called as they are: torch's own way to them loads its compiler, which takes twice as long as torch itself.

A method of `torch.optim.Optimizer` that a compiled program must not look into is wrapped in one that tells the compiler so, and
loads it for that. Nothing here is compiled, so the classes below call what was wrapped. Numbers are the same to the bit, torch's
own classes stay as they are, and a torch that wraps nothing finds these classes to be its own.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import wraps
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer


def _step(wrapped: Callable[..., object]) -> Callable[..., object]:
    """Return an optimizer's step, with gradients switched as torch's wrapper switches them: off unless it is differentiable."""
    plain = inspect.unwrap(wrapped)

    @wraps(plain)
    def step(self: Optimizer, closure: Callable[[], float] | None = None) -> object:
        with torch.set_grad_enabled(self.defaults["differentiable"]):
            return plain(self, closure)

    return step


class _Eager:
    add_param_group: Any = inspect.unwrap(Optimizer.add_param_group)
    zero_grad: Any = inspect.unwrap(Optimizer.zero_grad)
    state_dict: Any = inspect.unwrap(Optimizer.state_dict)
    load_state_dict: Any = inspect.unwrap(Optimizer.load_state_dict)


class _ByRows:
    """Mixed into a fused optimizer on the CPU: it is given weights in channels-last order as the rows that they are in memory.

    Torch's fused steps copy each gradient that does not lie in torch's own order, which takes a fifth of a step of ResNet-18 on
    few small images. What is done to each number is the same.
    """

    def _init_group(self, group: dict[str, Any], weights: list[Tensor], *others: list[Any]) -> bool:
        """Fill the lists of weights, gradients and what else there is of each, as torch does."""
        told: bool = super()._init_group(group, weights, *others)  # type: ignore[misc]
        lists: list[list[Any]] = [weights, *(values for values in others if len(values) == len(weights))]
        for number, weight in enumerate(weights):
            if group["fused"] and all(_lies_alike(values[number], weight) for values in lists):
                for values in lists:
                    values[number] = _rows(values[number])
        return told


def _lies_alike(values: Tensor | None, weight: Tensor) -> bool:
    """Whether values of a weight lie in memory as it does, in channels-last order on the CPU; a number, and none, do."""
    if values is None or not values.dim():
        return True
    return values.is_cpu and values.stride() == weight.stride() and _only_channels_last(values)


def _only_channels_last(values: Tensor) -> bool:
    return values.dim() == 4 and not values.is_contiguous() and values.is_contiguous(memory_format=torch.channels_last)


def _rows(values: Tensor | None) -> Tensor | None:
    return values.detach().permute(0, 2, 3, 1) if values is not None and values.dim() else values


class SGD(_Eager, _ByRows, torch.optim.SGD):
    """`torch.optim.SGD`."""

    _of_torch: Any = _step(torch.optim.SGD.step)

    def _init_group(self, group: dict[str, Any], weights: list[Tensor], *others: list[Any]) -> bool:
        told = super()._init_group(group, weights, *others)
        self._weights |= zip(weights, (weight for weight in group["params"] if weight.grad is not None), strict=True)
        return told

    def step(self, closure: Any = None) -> Any:
        """Make a step, as torch does; what it notes of rows is their weights'."""
        self._weights: dict[Tensor, Tensor] = {}
        answer = self._of_torch(closure)
        for rows, weight in self._weights.items():
            noted = {} if rows is weight else self.state.pop(rows, {})
            if noted.get("momentum_buffer") is not None:
                self.state[weight]["momentum_buffer"] = noted["momentum_buffer"].permute(0, 3, 1, 2)
        return answer


class Adam(_Eager, _ByRows, torch.optim.Adam):
    """`torch.optim.Adam`."""

    step: Any = _step(torch.optim.Adam.step)


class AdamW(_Eager, _ByRows, torch.optim.AdamW):
    """`torch.optim.AdamW`."""

    step: Any = _step(torch.optim.AdamW.step)
