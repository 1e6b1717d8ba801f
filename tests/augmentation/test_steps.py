"""Augmentation steps by name: what ships is listed and taken, a plugin's step does what it says in a pipeline."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from harness import augmentations
from harness.augmentation.draws import Streams
from harness.augmentation.pipeline import augmentation
from harness.augmentation.steps import SHIPPED, is_plugged, names, registry
from harness.augmentation.words import MIXES, STEPS, WORDS, planned


@pytest.fixture
def shift() -> Iterator[None]:
    @augmentations.register("my-shift")
    def my_shift(batch: Tensor, generator: Streams, *, most: float = 1.0) -> Tensor:
        """Add a number to each image."""
        return batch + most * augmentations.uniforms(len(batch), 1, 1, 1, device=batch.device, generator=generator)

    yield
    registry.remove("my-shift")


def test_all_that_protocols_may_say_is_registered_and_described() -> None:
    assert set(SHIPPED) == {*STEPS, *WORDS, *MIXES}
    assert set(SHIPPED) <= set(names())
    for name in SHIPPED:
        assert registry.describe(name).summary
        assert not is_plugged(name)
        registry.get(name)


def test_a_plugins_step_is_done_in_its_place(shift: None) -> None:
    assert is_plugged("my-shift")
    batch = torch.zeros(4, 1, 4, 4)
    step = augmentation(planned("flip+pad-crop+my-shift(most=2.0)"))
    shifted = step(batch, generator=torch.Generator().manual_seed(0))
    assert shifted.shape == batch.shape
    assert float(shifted.min()) >= 0 and 1 < float(shifted.max()) <= 2
    alone = augmentation("my-shift(most=2.0)")(batch, generator=torch.Generator().manual_seed(3))
    expected = 2 * torch.rand(4, 1, 1, 1, generator=torch.Generator().manual_seed(3))
    assert torch.equal(alone, expected.expand_as(batch))
