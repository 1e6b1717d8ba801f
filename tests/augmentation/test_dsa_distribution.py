"""DSA is equal in distribution to its definition: what it draws, and what it makes of pixels.

The table that it is held to is written out here a second time, from the definition and not from the code, with closed forms of
means and variances. Tolerances are five standard errors. `test_augmentation` has each word and each rule by itself.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields

import pytest
import torch
import torch.nn.functional as F
from scipy import stats
from torch import Tensor

from harness.augmentation import DSA, DSAParameters

ALL = "color_crop_cutout_flip_scale_rotate"
DRAWS, BATCH = 100_000, 100
SIGMAS = 5
CHANCE = 2 * stats.norm.sf(SIGMAS)  # of a false alarm at five standard errors, for statistics that are not normal


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def images(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=generator(seed), dtype=torch.float64).float()


# --- closed forms -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Uniform:
    """Uniform on [low, high]; with `whole`, on its whole numbers."""

    low: float
    high: float
    whole: bool = False

    @property
    def mean(self) -> float:
        return (self.low + self.high) / 2

    @property
    def variance(self) -> float:
        width = self.high - self.low
        return ((width + 1) ** 2 - 1) / 12 if self.whole else width**2 / 12

    @property
    def fourth(self) -> float:
        """The fourth central moment, which the standard error of a variance rests on."""
        width = self.high - self.low
        k = (width + 1) ** 2
        return (k - 1) * (3 * k - 7) / 240 if self.whole else width**4 / 80

    def check(self, values: Tensor) -> None:
        """Compare mean, variance, extents and the whole distribution of independent values with this."""
        values, n = values.double(), len(values)
        assert values.mean().item() == pytest.approx(self.mean, abs=SIGMAS * math.sqrt(self.variance / n))
        error = math.sqrt((self.fourth - self.variance**2) / n)
        assert values.var().item() == pytest.approx(self.variance, abs=SIGMAS * error)
        low, high = values.min().item(), values.max().item()
        rounding = 0.0 if self.whole else 1e-5 * (self.high - self.low)
        # A gap of g of the width at one end has chance (1 - g)^n. Whole numbers must reach both ends.
        gap = 0.0 if self.whole else (self.high - self.low) * -math.log(CHANCE) / n
        assert self.low - rounding <= low <= self.low + gap + rounding
        assert self.high - gap - rounding <= high <= self.high + rounding
        if self.whole:
            assert values.eq(values.round()).all()
            assert_even((values - self.low).long(), int(self.high - self.low) + 1)
        else:
            assert stats.kstest(values.numpy(), stats.uniform(self.low, self.high - self.low).cdf).pvalue > CHANCE


def assert_even(cells: Tensor, count: int) -> None:
    """Cells 0 to count - 1 come alike often, by Pearson's chi-squared."""
    assert stats.chisquare(torch.bincount(cells, minlength=count).numpy()).pvalue > CHANCE


def assert_independent(first: Tensor, second: Tensor, bins: int) -> None:
    """Two columns of cells 0 to bins - 1, each of them even, come in all pairs alike often."""
    assert_even(first.long() * bins + second.long(), bins**2)


#: The definition: what each word draws, in its own units, for images of 32 px.
DEFINED = {
    "brightness": Uniform(-0.5, 0.5),  # (u - 0.5) * 1.0, added
    "saturation": Uniform(0, 2),  # 2 u
    "contrast": Uniform(0.5, 1.5),  # u + 0.5
    "shift": Uniform(-4, 4, whole=True),  # a window in the image with round(0.125 * 32) pixels of padding
    "scale": Uniform(1 / 1.2, 1.2),
    "angle": Uniform(-math.pi / 12, math.pi / 12),  # 15 degrees
    "cutout": Uniform(0, 32, whole=True),  # between pixels, for the side is even: before the first one to behind the last
}
NEUTRAL = {"shift": 0.0, "scale": 1.0, "angle": 0.0}


# --- what is drawn for batches, one geometric word each ---------------------------------------------------------------


@pytest.fixture(scope="module")
def drawn() -> list[DSAParameters]:
    """The parameters of 3,000 batches of 100: each of the three geometric words has about 100,000 draws."""
    augment, stream = DSA(ALL), generator(1)
    return [augment.draw(BATCH, 32, 32, generator=stream) for _ in range(3 * DRAWS // BATCH)]


@pytest.fixture(scope="module")
def words(drawn: list[DSAParameters]) -> Tensor:
    """Which of `NEUTRAL` is at work in each batch."""
    at_work = [[bool(getattr(p, word).ne(neutral).any()) for word, neutral in NEUTRAL.items()] for p in drawn]
    assert all(sum(flags) == 1 for flags in at_work), "one word a batch"
    return torch.tensor([flags.index(True) for flags in at_work])


def values(drawn: list[DSAParameters], words: Tensor, name: str) -> Tensor:
    """Everything that was drawn as `name`, in the batches where its word is at work, pairs one after the other in columns."""
    chosen = drawn if name not in NEUTRAL else [p for p, word in zip(drawn, words, strict=True) if [*NEUTRAL][word] == name]
    return torch.cat([getattr(p, name) for p in chosen])


@pytest.mark.parametrize("name", DEFINED)
def test_means_variances_and_extents_are_those_of_the_definition(drawn: list[DSAParameters], words: Tensor, name: str) -> None:
    found = values(drawn, words, name)
    assert len(found) > 0.9 * DRAWS
    for column in found.reshape(len(found), -1).T:
        DEFINED[name].check(column)


def test_half_of_the_images_are_flipped(drawn: list[DSAParameters]) -> None:
    flips = torch.stack([p.flip for p in drawn])
    assert stats.binomtest(int(flips.sum()), flips.numel(), 0.5).pvalue > CHANCE
    share = flips.double().mean(1)  # of a batch: flips of its images are independent
    variance = 0.25 / BATCH
    assert share.var().item() == pytest.approx(variance, abs=SIGMAS * variance * math.sqrt(2 / len(share)))


def test_each_geometric_word_has_a_third_of_the_batches(words: Tensor) -> None:
    assert_even(words, 3)
    assert_independent(words[0::2], words[1::2], 3)


@pytest.mark.parametrize("name", ["shift", "scale", "cutout"])
def test_the_two_of_a_pair_are_independent(drawn: list[DSAParameters], words: Tensor, name: str) -> None:
    """All cells of the square: each of 9 x 9 steps, each of 32 x 32 pixels, 16 x 16 intervals of the two scales."""
    law, (first, second) = DEFINED[name], values(drawn, words, name).double().T
    bins = int(law.high - law.low) + 1 if law.whole else 16
    width = 1 if law.whole else (law.high - law.low) / bins
    cells = [((side - law.low) / width).floor().clamp(0, bins - 1) for side in (first, second)]
    assert_independent(*cells, bins)


def test_nothing_that_is_drawn_for_an_image_tells_of_the_rest_of_it_or_of_its_neighbour(
    drawn: list[DSAParameters], words: Tensor
) -> None:
    for word in range(3):
        batches = [p for p, at_work in zip(drawn, words, strict=True) if at_work == word]
        columns = [torch.stack([getattr(p, field.name) for p in batches]).double() for field in fields(DSAParameters)]
        columns = [part for column in columns for part in (column.unbind(2) if column.dim() == 3 else (column,))]
        table = torch.stack([column for column in columns if column.var() > 0])  # [columns, batches, images]
        own, neighbour = table[:, :, :-1].flatten(1), table[:, :, 1:].flatten(1)
        correlation = torch.corrcoef(torch.cat([own, neighbour])) - torch.eye(2 * len(table))
        limit = SIGMAS / math.sqrt(own.shape[1])
        correlation[: len(table), : len(table)].fill_diagonal_(0)
        assert correlation.abs().max() < limit


def test_what_is_drawn_is_the_same_for_any_word_at_work(drawn: list[DSAParameters], words: Tensor) -> None:
    """The word of the batch says nothing of the colours, flips and squares of its images."""
    for name in ("flip", "brightness", "saturation", "contrast", "cutout"):
        means = torch.stack([getattr(p, name).double().flatten().mean() for p in drawn])
        groups = [means[words == word].numpy() for word in range(3)]
        assert stats.f_oneway(*groups).pvalue > CHANCE


# --- what is drawn, read from pixels ----------------------------------------------------------------------------------

SIDE, CHUNK = 16, 5_000


def seen(word: str, probe: Tensor, look: Callable[[Tensor], Tensor]) -> Tensor:
    """Augment 100,000 copies of a probe [C, H, W]; return what `look` finds in them, a column a draw."""
    augment, stream = DSA(word), generator(2)

    def chunks() -> Iterator[Tensor]:
        for _ in range(DRAWS // CHUNK):
            yield look(augment(probe.expand(CHUNK, -1, -1, -1), generator=stream))

    return torch.cat(list(chunks()), dim=-1)


def test_colours_of_pixels_follow_the_definition() -> None:
    """The mean of the image moves by the brightness; greys part from it by the contrast, colours from grey by both factors."""
    probe = images(3, SIDE, SIDE).double()
    grey = probe.mean(0)

    def slope(x: Tensor, given: Tensor) -> Tensor:
        return (x * given).flatten(1).sum(1) / given.square().sum()

    def look(result: Tensor) -> Tensor:
        greys = result.mean(1)
        mean = greys.mean((1, 2))
        contrast = slope(greys - mean[:, None, None], grey - grey.mean())
        colour = slope(result - greys[:, None], probe - grey)
        return torch.stack([mean - grey.mean(), colour / contrast, contrast])

    for name, column in zip(("brightness", "saturation", "contrast"), seen("color", probe, look), strict=True):
        DEFINED[name].check(column)


def ramps() -> Tensor:
    """A probe whose pixels say where they are, from the centre of the image, and a third channel of ones."""
    place = torch.arange(SIDE).double() - (SIDE - 1) / 2
    return torch.stack([place.expand(SIDE, SIDE), place[:, None].expand(SIDE, SIDE), torch.ones(SIDE, SIDE).double()])


MIDDLE = slice(SIDE // 2 - 3, SIDE // 2 + 3)  # pixels that stay inside the image under every word


def test_crops_of_pixels_are_all_windows_alike() -> None:
    found = seen("crop", ramps(), lambda result: result[:, :2, MIDDLE, MIDDLE].mean((2, 3)).T)
    for column in found:
        Uniform(-2, 2, whole=True).check(column.round(decimals=6))
    assert_independent(*(found.round() + 2), 5)


def test_scales_and_angles_of_pixels_follow_the_definition() -> None:
    place = ramps()[:2, MIDDLE, MIDDLE]

    def look(result: Tensor) -> Tensor:
        """What x and y of a result's pixels depend on: x by x, x by y, y by x, y by y."""
        middle = result[:, :2, MIDDLE, MIDDLE].flatten(2)
        return (middle @ place.flatten(1).T / place[0].square().sum()).flatten(1).T

    x_by_x, x_by_y, y_by_x, y_by_y = seen("scale", ramps(), look)
    assert torch.stack([x_by_y, y_by_x]).abs().max() < 1e-6
    for column in (x_by_x, y_by_y):
        DEFINED["scale"].check(column)
    x_by_x, x_by_y, y_by_x, y_by_y = seen("rotate", ramps(), look)
    assert torch.stack([x_by_x.square() + y_by_x.square() - 1, x_by_x - y_by_y, x_by_y + y_by_x]).abs().max() < 1e-6
    DEFINED["angle"].check(torch.atan2(y_by_x, x_by_x))


def test_flips_of_pixels_are_half_of_all() -> None:
    (flipped,) = seen("flip", ramps(), lambda result: (result[:, 0, 0, 0] > 0).double()[None])
    assert stats.binomtest(int(flipped.sum()), DRAWS, 0.5).pvalue > CHANCE


def test_squares_of_pixels_are_centred_anywhere_and_clipped_at_the_border() -> None:
    """Side 8 of 16: around pixel c, rows c - 4 to c + 3. Each combination of first and last row comes as often as its centres."""

    def look(result: Tensor) -> Tensor:
        gone = result[:, 2].eq(0)
        assert gone.sum((1, 2)).equal(gone.any(1).sum(1) * gone.any(2).sum(1)), "a full rectangle"
        return torch.stack([gone.any(1).double() @ bits, gone.any(2).double() @ bits])

    bits = 2.0 ** torch.arange(SIDE).double()
    rows = {sum(2**row for row in range(max(0, c - 4), min(SIDE, c + 4))): c for c in range(SIDE + 1)}
    assert len(rows) == SIDE + 1
    columns, lines = ([rows[int(mask)] for mask in side.tolist()] for side in seen("cutout", ramps(), look))
    assert_independent(torch.tensor(columns), torch.tensor(lines), SIDE + 1)


# --- pixels against the definition, one image after the other -----------------------------------------------------------


@dataclass
class Sample:
    """What is done to one image, in the definition's own numbers."""

    flip: bool
    brightness: float
    saturation: float
    contrast: float
    word: str
    shift: tuple[int, int]
    scale: tuple[float, float]
    angle: float
    square: tuple[int, int]


def defined(image: Tensor, sample: Sample) -> Tensor:
    """Flip, colour, ONE of crop, scale and rotate, then cutout, of an image [3, H, W] in float64; pairs are (x, y)."""
    _, height, width = image.shape
    x = image.flip(2) if sample.flip else image
    x = x + sample.brightness
    m = x.mean(0, keepdim=True)
    x = (x - m) * sample.saturation + m
    m = x.mean()
    x = (x - m) * sample.contrast + m
    if sample.word == "crop":
        pad = math.floor(0.125 * height + 0.5)
        left, top = (pad + step for step in sample.shift)
        x = F.pad(x, [pad] * 4)[:, top : top + height, left : left + width]
    else:
        (a, b), cos, sin = sample.scale, math.cos(sample.angle), math.sin(sample.angle)
        theta = [[a, 0, 0], [0, b, 0]] if sample.word == "scale" else [[cos, -sin, 0], [sin, cos, 0]]
        grid = F.affine_grid(torch.tensor([theta], dtype=x.dtype), [1, *x.shape], align_corners=False)
        x = F.grid_sample(x[None], grid, padding_mode="zeros", align_corners=False)[0]
    half = math.floor(0.5 * height + 0.5) // 2
    column, row = sample.square
    x = x.clone()
    x[:, max(0, row - half) : row + half, max(0, column - half) : column + half] = 0
    return x


def drawn_by_definition(word: str, side: int, stream: torch.Generator) -> Sample:
    """Draw for one image of side x side, from the definition's table."""

    def u() -> float:
        return torch.rand((), generator=stream, dtype=torch.float64).item()

    def whole(low: int, high: int) -> int:
        return int(torch.randint(low, high + 1, (), generator=stream))

    pad = math.floor(0.125 * side + 0.5)
    return Sample(
        flip=u() < 0.5,
        brightness=(u() - 0.5) * 1.0,
        saturation=2 * u(),
        contrast=u() + 0.5,
        word=word,
        shift=(whole(-pad, pad), whole(-pad, pad)),
        scale=(1 / 1.2 + u() * (1.2 - 1 / 1.2), 1 / 1.2 + u() * (1.2 - 1 / 1.2)),
        angle=math.radians(30 * u() - 15),
        square=(whole(0, side), whole(0, side)),
    )


def of_ours(parameters: DSAParameters, at: int, word: str) -> Sample:
    flip, brightness, saturation, contrast, shift, scale, angle, square = (
        getattr(parameters, field.name)[at].tolist() for field in fields(DSAParameters)
    )
    whole = [(int(x), int(y)) for x, y in (shift, square)]
    return Sample(flip, brightness, saturation, contrast, word, whole[0], tuple(scale), angle, whole[1])


@pytest.mark.parametrize("word", ["crop", "scale", "rotate"])
@pytest.mark.parametrize("side", [16, 32])
def test_hundreds_of_images_at_once_become_what_the_definition_makes_of_each(word: str, side: int) -> None:
    augment, batch = DSA(f"color_cutout_flip_{word}"), images(300, 3, side, side)
    parameters = augment.draw(300, side, side, generator=generator(3))
    expected = torch.stack([defined(x, of_ours(parameters, at, word)) for at, x in enumerate(batch.double())])
    result = augment.apply(batch, parameters).double()
    assert (result - expected).abs().max() < 5e-5


@pytest.mark.parametrize("word", ["crop", "scale", "rotate"])
def test_every_pixel_has_the_mean_and_the_variance_that_the_definition_gives_it(word: str) -> None:
    """Ours and the definition draw on their own; one probe is augmented many times, and each of its pixels compared."""
    side, theirs, ours = 12, 3_000, 30_000
    probe = images(3, side, side, seed=4) + 0.5
    stream = generator(5)
    reference = torch.stack([defined(probe.double(), drawn_by_definition(word, side, stream)) for _ in range(theirs)])
    augment = DSA(f"color_cutout_flip_{word}")
    result = augment(probe.expand(ours, -1, -1, -1), generator=generator(6)).double()
    for own, its in ((result, reference), (result.square(), reference.square())):
        error = (own.var(0) / ours + its.var(0) / theirs).sqrt()
        z = (own.mean(0) - its.mean(0)) / error
        assert z.abs().max() < SIGMAS + 0.5, "the largest of some hundred pixels"
        assert 0.25 < z.square().mean() < 3, "pixels of one image go up and down together, but not all the way"
