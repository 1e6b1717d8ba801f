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


class SGD(_Eager, torch.optim.SGD):
    """`torch.optim.SGD`."""

    step: Any = _step(torch.optim.SGD.step)


class Adam(_Eager, torch.optim.Adam):
    """`torch.optim.Adam`."""

    step: Any = _step(torch.optim.Adam.step)


class AdamW(_Eager, torch.optim.AdamW):
    """`torch.optim.AdamW`."""

    step: Any = _step(torch.optim.AdamW.step)
