"""DSA and the mosaic crop against their definitions, written out here sample by sample and pixel by pixel."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import fields, replace
from itertools import permutations
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.overrides import TorchFunctionMode

from harness.augmentation import DSA, WORDS, DSAParameters, MosaicCrop, MosaicCropParameters, augmentation
from harness.core.errors import BadOption, DataError

ALL = "color_crop_cutout_flip_scale_rotate"
gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


def generator(seed: int = 0, device: str = "cpu") -> torch.Generator:
    return torch.Generator(device).manual_seed(seed)


def images(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(*shape, generator=generator(seed), dtype=torch.float64).to(dtype)


def assert_near(actual: Tensor, expected: Tensor, tolerance: float = 1e-5) -> None:
    assert actual.shape == expected.shape
    difference = (actual.double() - expected.double()).abs().max().item()
    assert difference <= tolerance, f"off by {difference:.1e}"


def neutral(samples: int) -> DSAParameters:
    zeros, ones = torch.zeros(samples), torch.ones(samples)
    return DSAParameters(
        flip=torch.zeros(samples, dtype=torch.bool),
        brightness=zeros,
        saturation=ones,
        contrast=ones,
        shift=torch.zeros(samples, 2),
        scale=torch.ones(samples, 2),
        angle=zeros,
        cutout=torch.full((samples, 2), -math.inf),
    )


# --- the definitions, one image [C, H, W] in float64 at a time -------------------------------------------------------


def brightness(x: Tensor, u: float) -> Tensor:
    return x + (u - 0.5) * 1.0


def saturation(x: Tensor, u: float) -> Tensor:
    m = x.mean(dim=0, keepdim=True)
    return (x - m) * (2 * u) + m


def contrast(x: Tensor, u: float) -> Tensor:
    m = x.mean()
    return (x - m) * (u + 0.5) + m


def crop(x: Tensor, shift_x: int, shift_y: int) -> Tensor:
    _, height, width = x.shape
    padding = int(0.125 * height + 0.5)
    padded = F.pad(x, (padding, padding, padding, padding))
    top, left = padding + shift_y, padding + shift_x
    return padded[:, top : top + height, left : left + width]


def sampled(x: Tensor, source: Any) -> Tensor:
    """Bilinear with zeros outside; `source` takes a pixel from the image's centre, in pixels, to where it comes from."""
    channels, height, width = x.shape
    values, result = x.tolist(), torch.zeros_like(x)
    for row in range(height):
        for column in range(width):
            sx, sy = source(column - (width - 1) / 2, row - (height - 1) / 2)
            sx, sy = sx + (width - 1) / 2, sy + (height - 1) / 2
            left, top = math.floor(sx), math.floor(sy)
            for i, j in ((top, left), (top, left + 1), (top + 1, left), (top + 1, left + 1)):
                if 0 <= i < height and 0 <= j < width:
                    weight = (1 - abs(sy - i)) * (1 - abs(sx - j))
                    for channel in range(channels):
                        result[channel, row, column] += weight * values[channel][i][j]
    return result


def scale(x: Tensor, sx: float, sy: float) -> Tensor:
    return sampled(x, lambda column, row: (sx * column, sy * row))


def rotate(x: Tensor, angle: float) -> Tensor:
    cos, sin = math.cos(angle), math.sin(angle)
    return sampled(x, lambda column, row: (cos * column - sin * row, sin * column + cos * row))


def cutout(x: Tensor, column: float, row: float) -> Tensor:
    if not math.isfinite(column):
        return x
    side = int(0.5 * x.shape[1] + 0.5)
    top, left = int(row) - side // 2, int(column) - side // 2
    x = x.clone()
    x[:, max(top, 0) : max(top + side, 0), max(left, 0) : max(left + side, 0)] = 0
    return x


def by_definition(batch: Tensor, p: DSAParameters) -> Tensor:
    """Flip, colour, geometry, cutout: `p` holds u transformed, so undo that to use the definitions as they are written."""
    results = []
    for i, image in enumerate(batch.double()):
        x = image.flip(-1) if p.flip[i] else image
        x = brightness(x, p.brightness[i].item() + 0.5)
        x = saturation(x, p.saturation[i].item() / 2)
        x = contrast(x, p.contrast[i].item() - 0.5)
        x = crop(x, *(int(v) for v in p.shift[i].tolist()))
        if p.scale[i].ne(1).any():
            x = scale(x, *p.scale[i].tolist())
        if p.angle[i].ne(0):
            x = rotate(x, p.angle[i].item())
        results.append(cutout(x, *p.cutout[i].tolist()))
    return torch.stack(results)


def assert_as_defined(strategy: str, batch: Tensor, seed: int = 0, mode: Any = "multiple") -> DSAParameters:
    augment = DSA(strategy, mode=mode)
    parameters = augment.draw(len(batch), *batch.shape[2:], generator=generator(seed))
    result = augment.apply(batch, parameters)
    assert_near(result, by_definition(batch, parameters))
    return parameters


# --- each word does what its definition says --------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(8, 3, 16, 16), (8, 1, 16, 16), (1, 3, 8, 8), (4, 3, 12, 20), (4, 1, 21, 9), (4, 2, 7, 7)])
@pytest.mark.parametrize("word", WORDS)
def test_a_word_alone_does_what_its_definition_says(word: str, shape: tuple[int, ...]) -> None:
    batch = images(*shape)
    assert_as_defined(word, batch)
    assert not torch.equal(DSA(word)(batch, generator=generator(1)), batch) or (word == "flip" and len(batch) == 1)


@pytest.mark.parametrize("mode", ["multiple", "single"])
@pytest.mark.parametrize("seed", range(8))
def test_all_words_together_follow_the_definitions_in_their_order(mode: str, seed: int) -> None:
    assert_as_defined(ALL, images(4, 3, 12, 14), seed=seed, mode=mode)


@settings(max_examples=25, deadline=None)
@given(
    words=st.lists(st.sampled_from(WORDS), unique=True, min_size=1),
    shape=st.tuples(st.integers(1, 3), st.integers(1, 4), st.integers(2, 13), st.integers(2, 13)),
    seed=st.integers(0, 2**32),
)
def test_any_strategy_on_any_shape_follows_the_definitions(words: list[str], shape: tuple[int, ...], seed: int) -> None:
    assert_as_defined("_".join(words), images(*shape, seed=seed), seed=seed)


@pytest.mark.parametrize("side", [8, 28, 32, 33, 64])
def test_a_crop_is_the_padded_image_sliced(side: int) -> None:
    padding = int(0.125 * side + 0.5)
    corners = torch.tensor([[-padding, -padding], [padding, -padding], [0, padding], [1, 0], [padding, padding]])
    batch = images(5, 3, side, side)
    result = DSA("crop").apply(batch, replace(neutral(5), shift=corners.float()))
    expected = torch.stack([crop(x, *s) for x, s in zip(batch, corners.tolist(), strict=True)])
    assert_near(result, expected)


@pytest.mark.parametrize("word", ["scale", "rotate"])
def test_square_images_are_warped_as_affine_grid_warps_them(word: str) -> None:
    batch = images(6, 3, 32, 32)
    augment = DSA(word)
    parameters = augment.draw(6, 32, 32, generator=generator())
    for i in range(6):
        cos, sin = parameters.angle[i].cos(), parameters.angle[i].sin()
        sx, sy = parameters.scale[i]
        theta = torch.stack((sx * cos, -sx * sin, torch.zeros(()), sy * sin, sy * cos, torch.zeros(()))).reshape(1, 2, 3)
        grid = F.affine_grid(theta, [1, 3, 32, 32], align_corners=False)
        expected = F.grid_sample(batch[i : i + 1], grid, align_corners=False)
        assert_near(augment.apply(batch, parameters)[i : i + 1], expected, 5e-5)


def test_rotation_keeps_shapes_in_images_that_are_not_square() -> None:
    kornia = pytest.importorskip("kornia.geometry.transform")
    angle = torch.tensor([-12.0, 7.0])
    batch = images(2, 3, 24, 40)
    expected = kornia.rotate(batch, angle, padding_mode="zeros", align_corners=False)
    result = DSA("rotate").apply(batch, replace(neutral(2), angle=angle.deg2rad()))
    assert_near(result[..., 4:-4, 4:-4], expected[..., 4:-4, 4:-4], 1e-4)


def test_flip_alone_is_exact_at_any_width() -> None:
    batch = images(64, 3, 30, 27)
    parameters = DSA("flip").draw(64, 30, 27, generator=generator())
    expected = torch.stack([x.flip(-1) if f else x for x, f in zip(batch, parameters.flip, strict=True)])
    assert torch.equal(DSA("flip").apply(batch, parameters), expected)


def test_saturation_leaves_one_channel_alone() -> None:
    batch = images(4, 1, 9, 9)
    grey = replace(neutral(4), saturation=torch.tensor([0.0, 0.5, 1.0, 2.0]))
    assert torch.equal(DSA("color").apply(batch, grey), batch)
    drawn = DSA("color").draw(4, 9, 9, generator=generator())
    plain = replace(drawn, saturation=torch.ones(4))
    assert torch.equal(DSA("color").apply(batch, drawn), DSA("color").apply(batch, plain))
    colour = DSA("color").apply(batch.expand(-1, 3, -1, -1) + images(1, 3, 1, 1), grey)
    assert torch.allclose(colour[0, 0], colour[0, 2], atol=1e-6), "saturation 0 makes an image grey"


def test_padding_and_square_are_zero_whatever_the_colour() -> None:
    batch = torch.full((2, 3, 16, 16), 5.0)
    parameters = replace(
        neutral(2),
        brightness=torch.full((2,), 0.4),
        shift=torch.tensor([[2.0, 0.0], [0.0, -2.0]]),
        cutout=torch.tensor([[8.0, 8.0], [0.0, 0.0]]),
    )
    result = DSA(ALL).apply(batch, parameters)
    assert result[0, :, :, -2:].eq(0).all()
    assert result[1, :, :2].eq(0).all()
    assert result[0, :, 4:12, 4:12].eq(0).all()
    assert result[1, :, :4, :4].eq(0).all()
    assert result[1, :, 4:, 4:].sub(5.4).abs().max() < 1e-5


def test_the_image_is_flipped_before_it_is_cropped() -> None:
    batch = images(1, 3, 16, 16)
    parameters = replace(neutral(1), flip=torch.tensor([True]), shift=torch.tensor([[2.0, 1.0]]))
    assert_near(DSA("flip_crop").apply(batch, parameters)[0], crop(batch[0].flip(-1), 2, 1))


def test_contrast_is_around_the_mean_of_the_image_before_it_is_cropped() -> None:
    batch = images(1, 3, 16, 16) + 3
    parameters = replace(neutral(1), contrast=torch.tensor([0.5]), shift=torch.tensor([[2.0, 2.0]]))
    assert_near(DSA("color_crop").apply(batch, parameters)[0], crop(contrast(batch[0], 0.0), 2, 2))


def test_neutral_parameters_change_nothing() -> None:
    batch = images(3, 3, 32, 32)
    assert torch.equal(DSA(ALL).apply(batch, neutral(3)), batch)


def test_the_result_is_differentiable_in_the_images() -> None:
    """DSA is affine in the images, so that a step along any direction changes the result by what the gradient says."""
    batch, step, weight = (images(4, 3, 8, 8, seed=seed, dtype=torch.float64) for seed in range(3))
    augment = DSA(ALL)
    parameters = augment.draw(4, 8, 8, generator=generator())
    before = augment.apply(batch.requires_grad_(), parameters)
    (gradient,) = torch.autograd.grad((before * weight).sum(), batch)
    change = ((augment.apply(batch + step, parameters) - before) * weight).sum()
    assert change.item() == pytest.approx((gradient * step).sum().item(), rel=1e-9)
    assert change.abs() > 0.1


# --- what is drawn ----------------------------------------------------------------------------------------------------

DRAWS = 100_000


def assert_uniform(values: Tensor, low: float, high: float) -> None:
    values = values.double()
    assert values.min() >= low - 1e-6
    assert values.max() <= high + 1e-6
    span = high - low
    assert values.min() < low + 0.001 * span
    assert values.max() > high - 0.001 * span
    assert values.mean().item() == pytest.approx((low + high) / 2, abs=0.006 * span)
    assert values.var().item() == pytest.approx(span**2 / 12, rel=0.03)


def assert_uniform_integers(values: Tensor, low: int, high: int) -> None:
    counts = Counter(values.tolist())
    assert sorted(counts) == list(range(low, high + 1))
    expected = len(values) / len(counts)
    assert all(abs(n - expected) < 5 * math.sqrt(expected) for n in counts.values())


def test_parameters_have_the_ranges_and_distributions_of_the_definition() -> None:
    p = DSA("color_crop_cutout_flip").draw(DRAWS, 32, 32, generator=generator())
    assert p.flip.double().mean().item() == pytest.approx(0.5, abs=0.01)
    assert_uniform(p.brightness, -0.5, 0.5)
    assert_uniform(p.saturation, 0.0, 2.0)
    assert_uniform(p.contrast, 0.5, 1.5)
    for axis in (0, 1):
        assert_uniform_integers(p.shift[:, axis], -4, 4)
        assert_uniform_integers(p.cutout[:, axis], 0, 32)
    assert_uniform(DSA("rotate").draw(DRAWS, 32, 32, generator=generator()).angle, -math.radians(15), math.radians(15))
    p = DSA("scale").draw(DRAWS, 32, 32, generator=generator())
    assert_uniform(p.scale[:, 0], 1 / 1.2, 1.2)
    assert_uniform(p.scale[:, 1], 1 / 1.2, 1.2)


def test_everything_drawn_for_a_sample_is_independent() -> None:
    strategies = ("color_flip_cutout_crop", "scale", "rotate")
    drawn = [DSA(s).draw(DRAWS, 32, 32, generator=generator()) for s in strategies]
    columns = [drawn[0].flip, drawn[0].brightness, drawn[0].saturation, drawn[0].contrast, *drawn[0].shift.T]
    columns += [*drawn[0].cutout.T, *drawn[1].scale.T, drawn[2].angle]
    correlation = torch.corrcoef(torch.stack([c.double() for c in columns]))
    assert (correlation - torch.eye(len(columns))).abs().max() < 0.02


@pytest.mark.parametrize(("height", "width", "padding"), [(28, 28, 4), (20, 40, 3), (9, 5, 1), (2, 2, 0)])
def test_padding_goes_by_the_height_and_the_square_stays_centred_in_the_image(height: int, width: int, padding: int) -> None:
    p = DSA("crop_cutout").draw(20_000, height, width, generator=generator())
    for axis, side in ((0, width), (1, height)):
        assert_uniform_integers(p.shift[:, axis], -padding, padding)
        assert_uniform_integers(p.cutout[:, axis], 0, side if int(0.5 * height + 0.5) % 2 == 0 else side - 1)


def masked_by_the_authors(samples: int, side: int, stream: torch.Generator) -> Tensor:
    """Where DSA's authors cut a square of even or odd side out of side x side pixels, [samples, side, side] bool.

    A whole number from 0 to the side is drawn each way, the last one only for even squares; half a square lies before it, and
    what would lie outside is moved to the border.
    """
    square = int(0.5 * side + 0.5)
    places = torch.arange(square) - square // 2
    masked = torch.zeros(samples, side, side, dtype=torch.bool)
    for sample in masked:
        down, across = torch.randint(0, side + (1 - square % 2), (2,), generator=stream).tolist()
        sample[(places + down).clamp(0, side - 1)[:, None], (places + across).clamp(0, side - 1)[None]] = True
    return masked


@pytest.mark.parametrize("side", [7, 16, 18, 32])
def test_every_pixel_is_cut_out_as_often_as_by_the_authors(side: int) -> None:
    count = 20_000
    theirs = masked_by_the_authors(count, side, generator(1)).double().mean(0)
    streams = [generator(seed) for seed in (2, 3)]
    for stream in (generator(2), streams):  # of one training, and of two that are made together
        ours = DSA("cutout")(torch.ones(count, 1, side, side), generator=stream)[:, 0].eq(0).double().mean(0)
        assert (ours - theirs).abs().max() < 5 * math.sqrt(2 * 0.25 / count)


@pytest.mark.parametrize(("cutout", "left", "right"), [("border", 5 / 17, 5 / 17), ("inner", 5 / 16, 4 / 16)])
def test_both_borders_are_cut_out_alike_but_for_squares_of_the_first_records(cutout: Any, left: float, right: float) -> None:
    count = 40_000
    columns = (
        DSA("cutout", cutout=cutout)(torch.ones(count, 1, 16, 16), generator=generator()).eq(0).any(2)[:, 0].double().mean(0)
    )
    assert columns[[0, -1]].tolist() == pytest.approx([left, right], abs=5 * math.sqrt(0.25 / count))


def test_where_squares_are_centred_is_known_or_refused() -> None:
    with pytest.raises(BadOption, match=r"augmentation cutout: no 'outer'; valid: border, inner"):
        DSA("cutout", cutout="outer")  # type: ignore[arg-type]


def test_the_square_is_clipped_at_the_border() -> None:
    ones = torch.ones(2_000, 1, 16, 16)
    removed = DSA("cutout")(ones, generator=generator()).eq(0).sum(dim=(1, 2, 3))
    assert removed.min() == 4 * 4
    assert removed.max() == 8 * 8


def active(p: DSAParameters) -> set[str]:
    found = {
        "flip": p.flip.any(),
        "color": p.brightness.ne(0).any() | p.saturation.ne(1).any() | p.contrast.ne(1).any(),
        "crop": p.shift.ne(0).any(),
        "scale": p.scale.ne(1).any(),
        "rotate": p.angle.ne(0).any(),
        "cutout": p.cutout.isfinite().any(),
    }
    return {word for word, flag in found.items() if flag}


def assert_even(counts: Counter[str], kinds: int, draws: int) -> None:
    assert len(counts) == kinds
    expected = draws / kinds
    assert all(abs(n - expected) < 5 * math.sqrt(expected) for n in counts.values()), counts


@pytest.mark.parametrize(("strategy", "kinds"), [(ALL, 3), ("color_flip_cutout_rotate_crop", 2), ("flip_color_cutout_scale", 1)])
def test_one_geometric_word_is_drawn_for_the_whole_batch(strategy: str, kinds: int) -> None:
    augment, stream, counts = DSA(strategy), generator(), Counter[str]()
    for _ in range(900):
        found = active(augment.draw(32, 32, 32, generator=stream))
        assert found >= {"flip", "color", "cutout"}
        (geometric,) = found - {"flip", "color", "cutout"}
        counts[geometric] += 1
    assert_even(counts, kinds, 900)


def test_which_word_is_drawn_says_nothing_about_the_first_sample() -> None:
    """The choice for the batch and what is drawn for sample 0 come from different random numbers."""
    augment, stream, rows = DSA("color_flip_cutout_crop_scale"), generator(), []
    for _ in range(2_000):
        p = augment.draw(2, 64, 64, generator=stream)
        cropped = p.scale.eq(1).all()
        rows.append(torch.stack((cropped, p.flip[0], p.brightness[0], p.saturation[0], p.contrast[0], *p.cutout[0])))
    assert torch.corrcoef(torch.stack(rows).T)[0, 1:].abs().max() < 0.12


@pytest.mark.parametrize(("strategy", "kinds"), [(ALL, 6), ("flip_color", 2), ("cutout", 1)])
def test_single_mode_draws_one_word_of_all_for_the_whole_batch(strategy: str, kinds: int) -> None:
    augment, stream, counts = DSA(strategy, mode="single"), generator(), Counter[str]()
    for _ in range(900):
        (word,) = active(augment.draw(32, 32, 32, generator=stream))
        counts[word] += 1
    assert_even(counts, kinds, 900)


# --- strategies -------------------------------------------------------------------------------------------------------


def test_the_order_of_the_words_does_not_matter() -> None:
    batch = images(4, 3, 16, 16)
    expected = DSA("color_crop_flip_scale")(batch, generator=generator())
    for words in permutations(("color", "crop", "flip", "scale")):
        assert torch.equal(DSA("_".join(words))(batch, generator=generator()), expected)


def test_the_same_seed_draws_a_word_alike_under_any_strategy() -> None:
    alone, among = (DSA(s).draw(8, 16, 16, generator=generator()) for s in ("cutout", ALL))
    assert torch.equal(alone.cutout, among.cutout)


@pytest.mark.parametrize("strategy", ["", "none"])
def test_no_strategy_returns_the_batch_itself(strategy: str) -> None:
    batch = images(2, 3, 8, 8)
    assert DSA(strategy)(batch, generator=generator()) is batch


@pytest.mark.parametrize("strategy", ["blur", "color_crops", "flip_", "none_flip", "Flip", "flip crop"])
def test_an_unknown_word_is_refused_with_the_valid_ones(strategy: str) -> None:
    with pytest.raises(BadOption, match=r"no word .* valid: color, crop, cutout, flip, scale, rotate"):
        DSA(strategy)


def test_a_repeated_word_and_an_unknown_mode_are_refused() -> None:
    with pytest.raises(BadOption, match="'flip' comes twice"):
        DSA("flip_crop_flip")
    with pytest.raises(BadOption, match="no 'S'; valid: multiple, single"):
        DSA(ALL, mode="S")  # type: ignore[arg-type]


def test_whole_number_images_are_refused() -> None:
    with pytest.raises(DataError, match="floating-point"):
        DSA(ALL)(torch.zeros(2, 3, 8, 8, dtype=torch.uint8))


# --- calling ----------------------------------------------------------------------------------------------------------


def test_a_call_is_a_draw_that_is_applied() -> None:
    batch = images(5, 3, 12, 10)
    for augment in (DSA(ALL), DSA(ALL, mode="single")):
        parameters = augment.draw(5, 12, 10, generator=generator(3))
        result = augment.apply(batch, parameters)
        assert torch.equal(augment(batch, generator=generator(3)), result)
        assert torch.equal(augment.apply(batch, parameters), result)


def test_the_generator_alone_decides() -> None:
    batch, augment = images(5, 3, 12, 10), DSA(ALL)
    torch.manual_seed(0)
    first = augment(batch, generator=generator(1))
    state = torch.get_rng_state()
    assert torch.equal(augment(batch, generator=generator(1)), first)
    assert not torch.equal(augment(batch, generator=generator(2)), first)
    assert torch.equal(torch.get_rng_state(), state), "torch's own generator is left alone"
    stream = generator(1)
    assert not torch.equal(augment(batch, generator=stream), augment(batch, generator=stream))


def test_without_a_generator_torch_s_own_is_used() -> None:
    batch, augment = images(5, 3, 12, 10), DSA(ALL)
    torch.manual_seed(4)
    first = augment(batch)
    torch.manual_seed(4)
    assert torch.equal(augment(batch), first)


def test_the_batch_given_is_left_as_it_was() -> None:
    batch = images(5, 3, 12, 12)
    before = batch.clone()
    augmentation(ALL, 2)(batch, generator=generator())
    assert torch.equal(batch, before)


def test_draws_of_several_batches_can_be_applied_as_one() -> None:
    batches, augment = [images(4, 3, 16, 16, seed=s) for s in range(3)], DSA(ALL)
    drawn = [augment.draw(4, 16, 16, generator=generator(s)) for s in range(3)]
    joined = DSAParameters(**{f.name: torch.cat([getattr(p, f.name) for p in drawn]) for f in fields(DSAParameters)})
    apart = torch.cat([augment.apply(b, p) for b, p in zip(batches, drawn, strict=True)])
    assert_near(augment.apply(torch.cat(batches), joined), apart, 1e-6)


@pytest.mark.parametrize("strategy", [*WORDS, ALL])
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_dtype_and_memory_format_are_kept(dtype: torch.dtype, memory_format: torch.memory_format, strategy: str) -> None:
    batch = images(4, 3, 16, 16, dtype=dtype).contiguous(memory_format=memory_format)
    for augment in (DSA(strategy), augmentation(strategy, 2)):
        result = augment(batch, generator=generator())
        assert (result.dtype, result.shape, result.stride()) == (batch.dtype, batch.shape, batch.stride())
        exact = augment(batch.double(), generator=generator())
        atol = {torch.float16: 5e-3, torch.bfloat16: 5e-2}.get(dtype, 1e-5)
        assert_near(result.double(), exact, atol)


def test_float64_images_are_augmented_in_float64() -> None:
    batch = images(4, 3, 16, 16, dtype=torch.float64)
    augment = DSA(ALL)
    for seed in range(6):
        parameters = augment.draw(4, 16, 16, generator=generator(seed))
        assert_near(augment.apply(batch, parameters), by_definition(batch, parameters), 1e-12)


# --- the mosaic crop --------------------------------------------------------------------------------------------------


def test_the_mosaic_crop_comes_before_dsa() -> None:
    batch, stream = images(6, 3, 16, 16), generator(5)
    expected = DSA(ALL)(MosaicCrop(2)(batch, generator=stream), generator=stream)
    assert torch.equal(augmentation(ALL, 2)(batch, generator=generator(5)), expected)
    single = augmentation(ALL, 1, "single")
    assert torch.equal(single(batch, generator=generator(5)), DSA(ALL, mode="single")(batch, generator=generator(5)))


# --- on the device, without waiting for it ----------------------------------------------------------------------------


class Recorder(TorchFunctionMode):
    """Names of the torch functions that are called, and of those that would make a GPU wait for the host, or the reverse."""

    reads = frozenset({"item", "tolist", "numpy", "cpu", "nonzero", "__bool__", "__int__", "__float__", "__index__"})
    copies = frozenset({"tensor", "as_tensor", "from_numpy", "copy_", "cuda"})
    makes = frozenset({"arange", "empty", "full", "linspace", "ones", "rand", "randint", "randn", "zeros"})

    def __init__(self) -> None:
        super().__init__()
        self.seen: set[str] = set()
        self.waiting: set[str] = set()

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = func.__name__
        self.seen.add(name)
        if name in self.reads | self.copies or (name in self.makes and kwargs.get("device") is None):
            self.waiting.add(name)
        return func(*args, **kwargs)


@pytest.mark.parametrize("augment", [DSA(ALL), DSA(ALL, mode="single"), augmentation(ALL, 2)], ids=repr)
def test_nothing_is_read_by_the_host_or_made_there(augment: Any) -> None:
    batch, stream = images(4, 3, 16, 16), generator()
    with Recorder() as recorder:
        augment(batch, generator=stream)
    assert {"rand", "arange", "grid_sample"} <= recorder.seen
    assert not recorder.waiting


@pytest.mark.gpu
@gpu
@pytest.mark.parametrize("augment", [DSA(ALL), DSA(ALL, mode="single"), augmentation(ALL, 2)], ids=repr)
def test_a_call_on_the_gpu_never_waits(augment: Any) -> None:
    batch, stream = images(8, 3, 32, 32).cuda(), generator(0, "cuda")
    augment(batch, generator=stream)
    torch.cuda.set_sync_debug_mode("error")
    try:
        result = augment(batch, generator=stream)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert result.device == batch.device


@pytest.mark.gpu
@gpu
@pytest.mark.parametrize("shape", [(8, 3, 32, 32), (5, 1, 28, 20)])
def test_the_gpu_does_what_the_cpu_does(shape: tuple[int, ...]) -> None:
    batch, augment = images(*shape), DSA(ALL)
    for seed in range(8):
        drawn = augment.draw(shape[0], *shape[2:], generator=generator(seed))
        moved = DSAParameters(**{f.name: getattr(drawn, f.name).cuda() for f in fields(DSAParameters)})
        assert_near(augment.apply(batch.cuda(), moved).cpu(), augment.apply(batch, drawn), tolerance=1e-4)
    tiles = MosaicCrop(2).draw(shape[0], generator=generator())
    on_gpu = MosaicCrop(2).apply(batch.cuda(), MosaicCropParameters(tiles.tile.cuda()))
    assert_near(on_gpu.cpu(), MosaicCrop(2).apply(batch, tiles))


@pytest.mark.gpu
@gpu
def test_a_cuda_graph_draws_anew_at_each_replay() -> None:
    batch, augment = images(8, 3, 32, 32).cuda(), augmentation(ALL, 2)
    side_stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    side_stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side_stream):
        augment(batch)
    torch.cuda.current_stream().wait_stream(side_stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        result = augment(batch)
    graph.replay()
    first = result.clone()
    graph.replay()
    assert not torch.equal(result, first)
