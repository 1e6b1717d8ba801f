"""Random streams: independent ones, derived from a trial's seed and the name of their role, and those that all code shares."""

from __future__ import annotations

import ctypes
import hashlib
import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import torch

#: Bytes of a Mersenne Twister's state: 624 words, and the number of the next one.
MERSENNE_TWISTER = 625 * 4


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
        self._own = self._others = _places()

    def __enter__(self) -> None:
        self._others = _places(self._others)
        _set_places(self._own, self._others)

    def __exit__(self, *_: object) -> None:
        self._own = _places(self._own)
        _set_places(self._others, self._own)


class _Places(NamedTuple):
    """Where the streams of torch, numpy and Python are; numpy's also as it lies in memory, empty where that does not tell all."""

    torch: torch.Tensor
    numpy: dict[str, Any]
    python: tuple[Any, ...]
    memory: bytes


def _places(known: _Places | None = None) -> _Places:
    """Return where the streams are. Numpy takes longest to tell, and is asked only where it may have drawn since `known`."""
    import numpy
    import torch

    memory = _numpy_memory()
    if known is not None and memory and memory == known.memory:
        of_numpy = known.numpy
    else:
        of_numpy = numpy.random.get_state(legacy=False)
        if of_numpy.get("has_gauss"):
            memory = b""  # the next normal number is kept elsewhere, and drawing it leaves the memory as it is
    return _Places(torch.get_rng_state(), of_numpy, random.getstate(), memory)


def _set_places(places: _Places, now: _Places) -> None:
    """Put the streams to these places, from those where they are now."""
    import numpy
    import torch

    torch.set_rng_state(places.torch)
    if not places.memory or places.memory != now.memory:
        numpy.random.set_state(places.numpy)
    random.setstate(places.python)


def _numpy_memory() -> bytes:
    """Return numpy's stream as it lies in memory, a Mersenne Twister's 624 words and the next one's number; empty for another."""
    from numpy.random import MT19937, mtrand

    stream = mtrand.get_bit_generator()
    if not isinstance(stream, MT19937):
        return b""
    return ctypes.string_at(stream.ctypes.state_address, MERSENNE_TWISTER)


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
