"""Uniform random numbers, a row a sample, from one stream or from several trainings' streams at once."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Generator, Tensor

#: One stream, or one a training: the batch then holds as many samples of each, one training's after the other's.
Streams = Generator | Sequence[Generator] | None
Device = torch.device | str | None


def uniforms(*shape: int, device: Device = None, generator: Streams = None) -> Tensor:
    """Return uniform numbers in [0, 1), float32 of `shape`, whose first side is the samples.

    Several streams give equal shares of the samples: each what it would have given alone.
    """
    if generator is None or isinstance(generator, Generator):
        return torch.rand(*shape, device=device, generator=generator)
    samples, *rest = shape
    each = samples // len(generator)
    return torch.cat([torch.rand(each, *rest, device=device, generator=stream) for stream in generator])


def of_batch(values: Tensor, generator: Streams) -> Tensor:
    """Return one value a batch of `values` [B], a sample each: that of its first sample, [1]; for several streams again [B]."""
    if generator is None or isinstance(generator, Generator):
        return values[:1]
    each = len(values) // len(generator)
    return values[::each].repeat_interleave(each)
