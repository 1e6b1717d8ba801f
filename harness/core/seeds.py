"""Random streams: independent ones, derived from a trial's seed and the name of their role, and those that all code shares."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

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


def states(device: str | torch.device) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Return where the streams of torch (on the host and on `device`), numpy and Python are: tensors, and the rest as JSON."""
    import numpy
    import torch

    tensors = {"torch": torch.get_rng_state()}
    if torch.device(device).type == "cuda":
        tensors["cuda"] = torch.cuda.get_rng_state(device)
    kind, keys, *rest = numpy.random.get_state(legacy=True)
    return tensors, {"numpy": [kind, [int(key) for key in keys], *rest], "python": random.getstate()}


def set_states(tensors: Mapping[str, torch.Tensor], facts: Mapping[str, Any], device: str | torch.device) -> None:
    """Put the streams to where `states` found them."""
    import numpy
    import torch

    torch.set_rng_state(tensors["torch"])
    if "cuda" in tensors:
        torch.cuda.set_rng_state(tensors["cuda"], device)
    kind, keys, *rest = facts["numpy"]
    numpy.random.set_state((kind, numpy.array(keys, dtype=numpy.uint32), *rest))
    version, numbers, gauss = facts["python"]
    random.setstate((version, tuple(numbers), gauss))


class Place:
    """A training's own place in the streams of torch (on the host), numpy and Python, among others that take turns with it.

    It begins where the streams are when it is made. In its block the streams are where its last one has left them.
    """

    def __init__(self) -> None:
        self._own = _host_states()

    def __enter__(self) -> None:
        self._others = _host_states()
        _set_host_states(self._own)

    def __exit__(self, *_: object) -> None:
        self._own = _host_states()
        _set_host_states(self._others)


def _host_states() -> tuple[Any, Any, Any]:
    import numpy
    import torch

    return torch.get_rng_state(), numpy.random.get_state(legacy=False), random.getstate()


def _set_host_states(states: tuple[Any, Any, Any]) -> None:
    import numpy
    import torch

    torch.set_rng_state(states[0])
    numpy.random.set_state(states[1])
    random.setstate(states[2])


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
