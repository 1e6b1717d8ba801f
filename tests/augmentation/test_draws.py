"""Uniform numbers, a row a sample: several streams give what each would have given alone."""

from __future__ import annotations

import torch

from harness.augmentation.draws import of_batch, uniforms


def stream(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_one_stream_gives_torchs_numbers() -> None:
    assert torch.equal(uniforms(3, 2, generator=stream(4)), torch.rand(3, 2, generator=stream(4)))
    torch.manual_seed(5)
    drawn = uniforms(3)
    torch.manual_seed(5)
    assert torch.equal(drawn, torch.rand(3))


def test_several_streams_share_the_samples_one_after_the_other() -> None:
    drawn = uniforms(6, 2, generator=[stream(1), stream(2)])
    assert torch.equal(drawn, torch.cat([torch.rand(3, 2, generator=stream(1)), torch.rand(3, 2, generator=stream(2))]))


def test_a_value_of_the_batch_is_that_of_each_streams_first_sample() -> None:
    values = torch.arange(6.0)
    assert of_batch(values, None).tolist() == of_batch(values, stream(0)).tolist() == [0.0]
    assert of_batch(values, [stream(0), stream(1)]).tolist() == [0.0, 0.0, 0.0, 3.0, 3.0, 3.0]
