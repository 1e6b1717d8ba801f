"""`check_augmentation`: what giftbench expects of an augmentation step."""

from __future__ import annotations

import torch
from torch import Tensor

from harness.augmentation.draws import Streams
from harness.augmentation.pipeline import augmentation as made
from harness.augmentation.words import for_factor, planned
from harness.core.errors import DataError
from harness.core.spec import render
from harness.testing.checks import CheckFailed, expect, no_waiting, works

SAMPLES = 8


def check_augmentation(augmentation: str, **options: object) -> None:
    """Check that an augmentation step keeps what giftbench expects of one.

    It returns a new batch of the shape and type of the one that it is given, which it leaves as it is, of finite values, for
    images of three channels and, unless it refuses these by a DataError, of one; draws from the generator alone, so that the
    same one gives the same batch; gives each of several trainings in one batch what it would have given it alone, for which
    `harness.augmentations.uniforms` draws; does not make the host wait for the device.

    Args:
        augmentation: its name, as protocols write it, "my-noise(strength=0.2)".
        options: parameters beside those in the name.
    Raises: CheckFailed (an AssertionError) of one sentence; UnknownName and BadOption for a name that there is not.
    """
    text = render(augmentation, options) if options else augmentation
    name = f"augmentation {augmentation!r}"
    whole = for_factor(planned(text), 2)

    def call(batch: Tensor, generator: Streams, where: str) -> Tensor:
        with works(name, where), no_waiting(name):
            return step(batch, generator=generator)

    for channels, side in ((1, 16), (3, 8)):
        statistics = (0.5,) * channels, (0.25,) * channels
        try:
            step = made(whole, 2, statistics=statistics)
        except DataError:
            if channels == 1:
                continue
            raise
        batch = torch.randn(SAMPLES, channels, side, side, generator=torch.Generator().manual_seed(channels))
        kept, where = batch.clone(), f"on a batch {list(batch.shape)}"
        try:
            result = call(batch, torch.Generator().manual_seed(5), where)
        except CheckFailed as error:
            if channels == 1 and isinstance(error.__cause__, DataError):
                continue
            raise
        kind = f"{result.dtype} {list(result.shape)}" if isinstance(result, Tensor) else type(result).__name__
        alike = isinstance(result, Tensor) and result.shape == batch.shape and result.dtype == batch.dtype
        expect(alike, name, f"returns {kind} {where}; return a batch of the same shape and type")
        expect(torch.equal(batch, kept), name, "changes the batch that it is given; return a new one")
        expect(bool(result.isfinite().all()), name, f"returns values that are not finite {where}")
        again = call(batch, torch.Generator().manual_seed(5), where)
        expect(torch.equal(result, again), name, "gives another batch for the same generator; draw from that alone")
        streams = [torch.Generator().manual_seed(seed) for seed in (5, 6)]
        other = 2 * batch.flip(0) + 1
        together = call(torch.cat([batch, other]), streams, "for two trainings at once, of two generators")
        alone = torch.cat([result, call(other, torch.Generator().manual_seed(6), where)])
        near = torch.allclose(together, alone, rtol=1e-4, atol=1e-5)
        expect(near, name, "gives two trainings in one batch other images than alone; draw by harness.augmentations.uniforms")
