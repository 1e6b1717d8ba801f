"""Pipelines: what may be written, what each step draws and does, and that torchvision does the same."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from harness.augmentation import (
    DSA,
    Augmentation,
    Flip,
    MosaicCrop,
    PadCrop,
    PatchShuffle,
    Pipeline,
    RandomResizedCrop,
    augmentation,
)
from harness.augmentation.words import STEPS, steps

RDED = "patch-shuffle(factor=2)+random-resized-crop(min_scale=0.5)+flip"


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def images(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=generator(seed))


# --- what may be written ----------------------------------------------------------------------------------------------


def test_a_pipeline_is_made_of_its_steps_and_has_the_mosaic_crop_only_where_it_says_so() -> None:
    made = augmentation(RDED, 2)
    assert isinstance(made, Pipeline)
    assert repr(made.steps) == "(PatchShuffle(2), RandomResizedCrop(0.5), Flip())"
    taken = augmentation("patch-shuffle+mosaic-crop+pad-crop+dsa(mode=single)", 3)
    assert [type(step) for step in taken.steps] == [PatchShuffle, MosaicCrop, PadCrop, DSA]  # type: ignore[union-attr]
    assert [step.factor for step in taken.steps[:2]] == [3, 3]  # type: ignore[union-attr]
    assert isinstance(augmentation("none", 2), Augmentation)
    assert {step.name for step in steps("+".join(STEPS))} == set(STEPS)


def test_steps_are_done_from_left_to_right() -> None:
    batch, stream = images(6, 3, 16, 16), generator(3)
    expected = batch
    for step in (PatchShuffle(2), RandomResizedCrop(0.5), Flip()):
        expected = step(expected, generator=stream)
    assert torch.equal(augmentation(RDED)(batch, generator=generator(3)), expected)
    assert not torch.equal(augmentation(RDED)(batch, generator=generator(4)), expected)


# --- random resized crops ---------------------------------------------------------------------------------------------


# --- the other steps --------------------------------------------------------------------------------------------------


STRINGS = (RDED, "pad-crop+flip", "random-resized-crop+flip", "mosaic-crop(factor=2)+dsa(mode=single)")


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("text", STRINGS)
def test_dtype_and_memory_format_are_kept(text: str, dtype: torch.dtype, memory_format: torch.memory_format) -> None:
    batch = images(4, 3, 16, 16).to(dtype).contiguous(memory_format=memory_format)
    before = batch.clone()
    result = augmentation(text)(batch, generator=generator())
    assert (result.dtype, result.shape, result.stride()) == (batch.dtype, batch.shape, batch.stride())
    assert torch.equal(batch, before)
    exact = augmentation(text)(batch.double(), generator=generator())
    assert torch.allclose(result.double(), exact, atol={torch.float16: 5e-3, torch.bfloat16: 5e-2}.get(dtype, 1e-5))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("text", STRINGS)
def test_a_pipeline_on_the_gpu_never_waits(text: str) -> None:
    batch, stream, made = images(8, 3, 32, 32).cuda(), torch.Generator("cuda").manual_seed(0), augmentation(text)
    made(batch, generator=stream)
    torch.cuda.set_sync_debug_mode("error")
    try:
        assert made(batch, generator=stream).device == batch.device
    finally:
        torch.cuda.set_sync_debug_mode("default")
