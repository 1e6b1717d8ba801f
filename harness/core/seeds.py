"""Random streams: independent ones, derived from a trial's seed and the name of their role, and those that all code shares."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def derive(seed: int, role: str) -> int:
    """Return a 63-bit seed for `role` ("init", "order", "augmentation", …), the same on every machine."""
    digest = hashlib.sha256(f"{seed}/{role}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def generator(seed: int, role: str, device: str | torch.device = "cpu") -> torch.Generator:
    """Return a torch generator on `device` for `role`."""
    import torch

    return torch.Generator(device=device).manual_seed(derive(seed, role))


def begin(seed: int, role: str) -> None:
    """Begin the streams of torch, numpy and Python anew, from which models and other people's code draw without being asked."""
    import numpy
    import torch

    number = derive(seed, role)
    torch.manual_seed(number)
    numpy.random.seed(number % (1 << 32))
    random.seed(number)


@contextmanager
def kept() -> Iterator[None]:
    """Put the streams of torch (on all devices), numpy and Python back to where they are now, however the block ends."""
    import numpy
    import torch

    states = random.getstate(), numpy.random.get_state()
    try:
        with torch.random.fork_rng():
            yield
    finally:
        random.setstate(states[0])
        numpy.random.set_state(states[1])
