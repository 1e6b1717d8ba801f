"""CutMix and mixup: what is drawn, and what becomes of images."""

from __future__ import annotations

import numpy
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.augmentation import Mix
from harness.augmentation.mixing import mixing
from harness.augmentation.words import known_mixing
from harness.core.errors import GiftbenchError


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def drawn(text: str, samples: int = 6, height: int = 16, width: int = 12, seed: int = 0) -> Mix:
    made = mixing(text)
    assert made is not None
    return made.draw(samples, height, width, generator=generator(seed))


@pytest.mark.parametrize(
    ("text", "kept"),
    [("none", "none"), ("cutmix", "cutmix(alpha=1.0)"), ("mixup", "mixup(alpha=0.8)"), ("mixup(alpha=1)", "mixup(alpha=1.0)")],
)
def test_a_mixing_is_kept_with_its_alpha_filled_in(text: str, kept: str) -> None:
    assert known_mixing(text) == known_mixing(kept) == kept


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("cutmx", "no mixing 'cutmx'; did you mean 'cutmix'?"),
        ("blend", "no mixing 'blend'; valid: cutmix, mixup, none"),
        ("cutmix(alpha=0)", "mixing 'cutmix': alpha must be above 0, not 0"),
        ("mixup(alpha=much)", "mixing 'mixup': alpha must be a number, not 'much'"),
        ("mixup(beta=1)", "mixing 'mixup' has no parameter 'beta'"),
    ],
)
def test_what_cannot_be_is_answered_in_one_line(text: str, message: str) -> None:
    with pytest.raises(GiftbenchError, match=rf"\A{message.replace('?', '[?]')}") as raised:
        known_mixing(text)
    assert "\n" not in str(raised.value)


# -- what is drawn -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("alpha", [0.2, 0.8, 1.0, 3.0])
def test_shares_are_distributed_as_beta(alpha: float) -> None:
    from scipy.stats import beta, kstest

    made, stream = mixing(f"mixup(alpha={alpha})"), generator()
    assert made is not None
    shares = torch.stack([made.draw(1, 1, 1, generator=stream).share for _ in range(4000)])
    assert kstest(shares.numpy(), beta(alpha, alpha).cdf).pvalue > 1e-3


def rand_bbox(side: int, lam: float, centre: int) -> tuple[int, int]:
    """One side of the box as the authors of RDED and SRe2L cut it."""
    cut = int(side * numpy.sqrt(1.0 - lam))
    return int(numpy.clip(centre - cut // 2, 0, side)), int(numpy.clip(centre + cut // 2, 0, side))


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 2**32))
def test_the_box_is_the_authors_and_its_area_the_partners_share(height: int, width: int, seed: int) -> None:
    mix = drawn("cutmix", 3, height, width, seed)
    lam, v, h = torch.rand(6, generator=generator(seed))[:3].tolist()
    top, bottom = rand_bbox(height, lam, int(v * height))
    left, right = rand_bbox(width, lam, int(h * width))
    expected = torch.ones(height, width)
    expected[top:bottom, left:right] = 0
    assert torch.equal(mix.own, expected)
    assert mix.share.item() == pytest.approx(1 - (bottom - top) * (right - left) / (height * width), abs=1e-6)


def test_partners_are_a_permutation_and_all_come_alike() -> None:
    made, stream = mixing("cutmix"), generator()
    assert made is not None
    orders = torch.stack([made.draw(4, 8, 8, generator=stream).partner for _ in range(6000)])
    assert torch.equal(orders.sort(1).values, torch.arange(4).expand(6000, 4))
    for place in range(4):
        assert (orders[:, place].bincount() - 1500).abs().max() < 200


@pytest.mark.parametrize("text", ["cutmix", "mixup", "mixup(alpha=1)", "cutmix(alpha=0.3)"])
def test_the_generator_alone_decides(text: str) -> None:
    first, again, other = drawn(text), drawn(text), drawn(text, seed=1)
    assert torch.equal(first.partner, again.partner)
    assert torch.equal(first.own, again.own)
    assert not torch.equal(first.own, other.own)


# -- what becomes of images --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_cutmix_pastes_and_mixup_blends(memory_format: torch.memory_format) -> None:
    batch = torch.randn(6, 3, 16, 12, generator=generator(5)).contiguous(memory_format=memory_format)
    cut, blend = drawn("cutmix"), drawn("mixup")
    pasted = cut.apply(batch)
    assert torch.equal(pasted, torch.where(cut.own.bool(), batch, batch[cut.partner]))
    assert 0 < cut.share < 1
    assert torch.allclose(blend.apply(batch), blend.share * batch + (1 - blend.share) * batch[blend.partner], atol=1e-6)
    assert pasted.stride() == blend.apply(batch).stride() == batch.stride()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("text", ["cutmix", "mixup"])
def test_drawing_and_mixing_on_a_gpu_never_wait(text: str) -> None:
    made, stream, batch = mixing(text), torch.Generator("cuda").manual_seed(0), torch.randn(8, 3, 16, 16, device="cuda")
    assert made is not None
    made.draw(8, 16, 16, device="cuda", generator=stream).apply(batch)
    torch.cuda.set_sync_debug_mode("error")
    try:
        made.draw(8, 16, 16, device="cuda", generator=stream).apply(batch)
    finally:
        torch.cuda.set_sync_debug_mode("default")
