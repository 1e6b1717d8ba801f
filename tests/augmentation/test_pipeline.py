"""Pipelines: what may be written, what each step draws and does, and that torchvision does the same."""

from __future__ import annotations

import math
from collections import Counter
from itertools import permutations
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torchvision.transforms import RandomResizedCrop as Theirs
from torchvision.transforms.v2.functional import resized_crop

from harness.augmentation import (
    DSA,
    Augmentation,
    Crops,
    Flip,
    MosaicCrop,
    PadCrop,
    PatchShuffle,
    Pipeline,
    RandomResizedCrop,
    augmentation,
    resized,
)
from harness.augmentation.words import STEPS, for_factor, known_augmentation, steps
from harness.boards.board import Board, TeacherSpec
from harness.core.errors import BadOption, DataError, GiftbenchError

RDED = "patch-shuffle(factor=2)+random-resized-crop(min_scale=0.5)+flip"


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def images(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=generator(seed))


# --- what may be written ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("color_crop_cutout_flip_scale_rotate", "color_crop_cutout_flip_scale_rotate"),
        ("none", "none"),
        ("flip", "flip"),
        ("pad-crop", "pad-crop(padding=4)"),
        ("random-resized-crop + flip", "random-resized-crop(min_scale=0.08)+flip"),
        ("random-resized-crop(min_scale=1)+flip", "random-resized-crop(min_scale=1.0)+flip"),
        ("random-resized-crop(min_scale=1e+0)+flip", "random-resized-crop(min_scale=1.0)+flip"),
        ("dsa", "dsa(strategy=color_crop_cutout_flip_scale_rotate, mode=multiple)"),
        ("dsa(mode=single, strategy=flip_crop)", "dsa(strategy=flip_crop, mode=single)"),
        ("patch-shuffle+mosaic-crop(factor=3)", "patch-shuffle(factor=0)+mosaic-crop(factor=3)"),
    ],
)
def test_a_pipeline_is_kept_with_every_parameter_filled_in(text: str, kept: str) -> None:
    assert known_augmentation(text) == kept
    assert known_augmentation(kept) == kept


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("pad-crop+flop", "no augmentation step 'flop'; did you mean 'flip'?"),
        ("random-resized-crops", "no augmentation step 'random-resized-crops'; did you mean 'random-resized-crop'?"),
        ("flip+", "cannot read ''"),
        ("pad-crop(pading=4)", "augmentation step 'pad-crop' has no parameter 'pading'; did you mean 'padding'?"),
        ("pad-crop(padding=1.5)", "augmentation step 'pad-crop': padding must be a whole number, not 1.5"),
        ("pad-crop(padding=-1)", "augmentation step 'pad-crop': padding must be at least 0, not -1"),
        ("patch-shuffle(factor=-2)", "augmentation step 'patch-shuffle': factor must be at least 1, or 0 for the distilled"),
        ("random-resized-crop(min_scale=0)", "augmentation step 'random-resized-crop': min_scale must be above 0 and at most 1"),
        ("dsa(mode=S)", "augmentation step 'dsa': mode must be multiple or single, not 'S'"),
        ("dsa(strategy=flop)", "augmentation 'flop': no word 'flop'; valid: color, crop"),
        ("dsa(strategy=flip_flip)", "augmentation 'flip_flip': 'flip' comes twice"),
        ("flip(p=1)", "augmentation step 'flip' has no parameter 'p'; valid: none"),
        ("flip_colour", "unknown DSA operation 'colour'; did you mean 'color'?"),
    ],
)
def test_what_cannot_be_is_answered_in_one_line(text: str, message: str) -> None:
    with pytest.raises(GiftbenchError) as raised:
        known_augmentation(text)
    assert str(raised.value).startswith(message)
    assert "\n" not in str(raised.value)


def test_boards_and_teachers_take_pipelines(tiny: Any) -> None:
    board: Board = tiny(protocol={"name": "smoke", "augmentation": "pad-crop+flip", "mixing": "cutmix"})
    assert (board.protocol.augmentation, board.protocol.mixing) == ("pad-crop(padding=4)+flip", "cutmix(alpha=1.0)")
    spec = TeacherSpec.model_validate({"model": "convnet1", "augmentation": "pad-crop+flip"})
    assert spec.augmentation == "pad-crop(padding=4)+flip"


@pytest.mark.parametrize(
    ("text", "factor", "expected"),
    [
        ("patch-shuffle+flip", 2, "patch-shuffle(factor=2)+flip"),
        ("patch-shuffle+pad-crop", 1, "pad-crop(padding=4)"),
        ("patch-shuffle(factor=3)+mosaic-crop", 2, "patch-shuffle(factor=3)+mosaic-crop(factor=2)"),
        ("mosaic-crop", 1, "none"),
        ("flip_crop", 2, "flip_crop"),
    ],
)
def test_the_factor_of_the_set_is_filled_in(text: str, factor: int, expected: str) -> None:
    assert for_factor(text, factor) == expected


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


def theirs(count: int, height: int, width: int, scale: float) -> Tensor:
    """Boxes [count, 4] as torchvision draws them: top, left, height, width."""
    image = torch.empty(1, height, width)
    return torch.tensor([Theirs.get_params(image, [scale, 1.0], [3 / 4, 4 / 3]) for _ in range(count)], dtype=torch.float64)


def ours(count: int, height: int, width: int, scale: float) -> Tensor:
    crops = RandomResizedCrop(scale).draw(count, height, width, generator=generator())
    return torch.stack([crops.top, crops.left, crops.height, crops.width], 1).double()


@pytest.mark.parametrize(("height", "width", "scale"), [(32, 32, 0.08), (224, 224, 0.5), (20, 50, 0.6), (50, 20, 0.6), (8, 8, 1)])
def test_crops_are_distributed_as_torchvisions(height: int, width: int, scale: float) -> None:
    torch.manual_seed(0)
    mine, its = ours(20_000, height, width, scale), theirs(6_000, height, width, scale)
    spread = its.std(0).clamp(min=1e-9)
    assert ((mine.mean(0) - its.mean(0)).abs() < 5 * spread * math.sqrt(1 / 6_000 + 1 / 20_000) + 1e-9).all()
    assert (mine.std(0) - its.std(0)).abs().le(0.05 * spread + 1e-9).all()
    for quantity in (lambda b: b[:, 2] * b[:, 3], lambda b: b[:, 3] / b[:, 2]):  # area and aspect, by their deciles
        levels = torch.linspace(0.1, 0.9, 9, dtype=torch.float64)
        wanted, found = quantity(its).quantile(levels), quantity(mine).quantile(levels)
        assert ((found - wanted).abs() <= 0.04 * quantity(its).mean()).all()
    assert mine[:, :2].min() >= 0
    assert (mine[:, 0] + mine[:, 2]).max() <= height
    assert (mine[:, 1] + mine[:, 3]).max() <= width


@pytest.mark.parametrize(("height", "width"), [(10, 50), (50, 10), (32, 32)])
def test_the_centre_is_taken_when_no_draw_fits(height: int, width: int) -> None:
    torch.manual_seed(0)
    mine, its = ours(200, height, width, 1.0), theirs(200, height, width, 1.0)
    assert Counter(map(tuple, mine.tolist())) == Counter(map(tuple, its.tolist()))
    assert len(set(map(tuple, mine.tolist()))) == 1


def test_a_crop_of_everything_is_the_batch_itself() -> None:
    batch = images(4, 3, 32, 32)
    assert RandomResizedCrop(1.0)(batch) is batch


@settings(max_examples=30, deadline=None)
@given(st.integers(2, 40), st.integers(2, 40), st.integers(1, 4), st.integers(0, 2**32))
def test_a_crop_is_resized_as_torchvision_resizes_it(height: int, width: int, channels: int, seed: int) -> None:
    batch = images(3, channels, height, width, seed=seed)
    crops = RandomResizedCrop(0.1).draw(3, height, width, generator=generator(seed))
    boxes = torch.stack([crops.top, crops.left, crops.height, crops.width], 1).long().tolist()
    expected = torch.stack([resized_crop(x, *b, size=[height, width], antialias=True) for x, b in zip(batch, boxes, strict=True)])
    assert torch.allclose(resized(batch, crops), expected, atol=2e-5)


def test_shares_become_the_very_pixels_that_they_were_made_of() -> None:
    crops = RandomResizedCrop(0.08).draw(5000, 224, 200, generator=generator())
    shares = torch.stack([crops.top / 224, crops.left / 200, crops.height / 224, crops.width / 200], 1)
    again = Crops.of_shares(shares, 224, 200)
    for name in ("top", "left", "height", "width"):
        assert torch.equal(getattr(again, name), getattr(crops, name))
    edges = Crops.of_shares(torch.tensor([[1.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 1.0], [0.5, 0.5, 1.0, 1.0]]), 8, 8)
    assert torch.equal(edges.top, torch.tensor([7.0, 0.0, 4.0]))
    assert torch.equal(edges.height, torch.tensor([1.0, 8.0, 4.0]))


# --- the other steps --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(9, 3, 32, 32), (9, 1, 13, 20)])
def test_a_padded_crop_is_the_padded_image_sliced(shape: tuple[int, ...]) -> None:
    batch, step = images(*shape), PadCrop(4)
    shifts = step.draw(9, generator=generator())
    shifts[:2] = torch.tensor([[-4.0, 4.0], [4.0, -4.0]])
    padded = F.pad(batch, (4, 4, 4, 4))
    expected = torch.stack(
        [
            p[:, 4 + int(d) : 4 + int(d) + shape[2], 4 + int(a) : 4 + int(a) + shape[3]]
            for p, (d, a) in zip(padded, shifts, strict=True)
        ]
    )
    assert torch.allclose(step.apply(batch, shifts), expected, atol=1e-5)


def test_every_window_and_both_sides_come_alike() -> None:
    counts = Counter(map(tuple, PadCrop(1).draw(90_000, generator=generator()).tolist()))
    assert len(counts) == 9
    assert all(abs(count - 10_000) < 500 for count in counts.values())
    assert abs(Flip().draw(90_000, generator=generator()).float().mean() - 0.5) < 0.01


def test_a_flip_mirrors_those_drawn() -> None:
    batch, flips = images(4, 3, 6, 7), torch.tensor([True, False, True, False])
    result = Flip().apply(batch, flips)
    assert torch.equal(result[flips], batch[flips].flip(3))
    assert torch.equal(result[~flips], batch[~flips])


def shuffled(image: Tensor, columns: list[int], rows: list[int]) -> Tensor:
    """RDED's shuffle of one image: its column strips in one order, then its row strips in another."""
    image = torch.cat([image.chunk(len(columns), 2)[i] for i in columns], 2)
    return torch.cat([image.chunk(len(rows), 1)[i] for i in rows], 1)


@pytest.mark.parametrize(("factor", "height", "width"), [(2, 8, 12), (3, 9, 6)])
def test_tiles_are_shuffled_by_columns_then_by_rows(factor: int, height: int, width: int) -> None:
    batch, step = images(8, 3, height, width), PatchShuffle(factor)
    orders = step.draw(8, generator=generator())
    expected = torch.stack([shuffled(x, *order.tolist()) for x, order in zip(batch, orders, strict=True)])
    assert torch.equal(step.apply(batch, orders), expected)


def test_all_orders_of_strips_come_alike_and_columns_do_not_follow_rows() -> None:
    orders = PatchShuffle(3).draw(36_000, generator=generator())
    counts = Counter((tuple(c), tuple(r)) for c, r in orders.tolist())
    assert set(counts) == {(c, r) for c in permutations(range(3)) for r in permutations(range(3))}
    assert all(abs(count - 1000) < 200 for count in counts.values())


def test_factors_that_cannot_be_are_refused() -> None:
    with pytest.raises(BadOption, match="mosaic factor"):
        PatchShuffle(0)
    with pytest.raises(DataError, match="patch-shuffle: factor 2 does not divide images of 8x7 pixels"):
        PatchShuffle(2)(images(2, 3, 8, 7))
    batch = images(2, 3, 7, 7)
    assert PatchShuffle(1)(batch) is batch


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
