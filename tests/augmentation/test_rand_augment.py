"""RandAugment against timm's and torchvision's own operations on Pillow's images, one after the other."""

from __future__ import annotations

import math
import random
from typing import Any

import numpy
import pytest
import torch
from PIL import Image
from timm.data import auto_augment
from torch import Tensor
from torchvision.transforms import InterpolationMode
from torchvision.transforms import autoaugment as theirs

from harness.augmentation.pipeline import augmentation
from harness.augmentation.rand_augment import (
    OPERATIONS,
    TIMM,
    TORCHVISION,
    Manner,
    RandAugment,
    Rounds,
    done_everywhere,
    done_where_drawn,
)
from harness.augmentation.words import Policy, changes_pixels, known_augmentation, rand_augment, steps, versions
from harness.core.errors import BadOption, DataError

STATISTICS = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
DELT = "rand-m6-n2-mstd1.0"
#: Of timm's operations, what takes the argument, and arguments at both ends and between.
ARGUMENTS: dict[str, tuple[Any, ...]] = {
    "autocontrast": (0,),
    "equalize": (0,),
    "invert": (0,),
    "rotate": (-30.0, -7.5, 3.0, 30.0),
    "posterize": (1, 2, 4),  # Pillow refuses 0 by now, which was black
    "solarize": (0, 100, 153, 256),
    "solarize-add": (0, 66, 110),
    **dict.fromkeys(("color", "contrast", "brightness", "sharpness"), (0.1, 0.64, 1.0, 1.18, 1.9)),
    **dict.fromkeys(("shear-x", "shear-y"), (-0.3, -0.11, 0.3)),
    **dict.fromkeys(("translate-x", "translate-y"), (-0.45, 0.13, 0.27)),
}
THEIRS = dict(
    zip(
        TIMM,
        (
            *(auto_augment.auto_contrast, auto_augment.equalize, auto_augment.invert, auto_augment.rotate),
            *(auto_augment.posterize, auto_augment.solarize, auto_augment.solarize_add, auto_augment.color),
            *(auto_augment.contrast, auto_augment.brightness, auto_augment.sharpness, auto_augment.shear_x),
            *(auto_augment.shear_y, auto_augment.translate_x_rel, auto_augment.translate_y_rel),
        ),
        strict=True,
    )
)
MOVING = ("rotate", "shear-x", "shear-y", "translate-x", "translate-y")


def photographs(count: int = 3, height: int = 20, width: int = 24) -> Tensor:
    """Images with slopes, steps and noise, none of which holds all values; whole numbers, [N, 3, H, W]."""
    draws = torch.Generator().manual_seed(0)
    slope = torch.linspace(20, 200, width).expand(count, 3, height, width)
    noise = torch.randint(-20, 40, (count, 3, height, width), generator=draws)
    return (slope + noise * torch.tensor([0.3, 1.0, 2.0]).view(1, 3, 1, 1)).round().clamp(0, 255)


def normalised(pixels: Tensor) -> Tensor:
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in STATISTICS)
    return (pixels / 255 - mean) / std


def pixels_of(images: Tensor) -> Tensor:
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in STATISTICS)
    return ((images * std + mean) * 255).round()


def done(pixels: Tensor, name: str, argument: float, policy: Policy | None = None, bicubic: bool = False) -> Tensor:
    """What one round of one operation makes of all images."""
    ours = RandAugment(policy or rand_augment(DELT), STATISTICS, bicubic)
    shape = (len(pixels), 1)
    rounds = Rounds(torch.full(shape, OPERATIONS.index(name)), torch.full(shape, float(argument)))
    return pixels_of(ours.apply(normalised(pixels), rounds))


def by_pillow(pixels: Tensor, operation: Any, *arguments: Any, **options: Any) -> Tensor:
    images = [Image.fromarray(image.permute(1, 2, 0).byte().numpy()) for image in pixels]
    results = [numpy.asarray(operation(image, *arguments, **options)) for image in images]
    return torch.from_numpy(numpy.stack(results)).permute(0, 3, 1, 2).float()


@pytest.mark.parametrize(
    ("name", "argument", "bicubic"),
    [
        (name, argument, bicubic)
        for name, values in ARGUMENTS.items()
        for argument in values
        for bicubic in ((False, True) if name in MOVING else (False,))
    ],
)
def test_an_operation_gives_what_timms_gives(name: str, argument: float, bicubic: bool) -> None:
    pixels = photographs()
    resample = Image.Resampling.BICUBIC if bicubic else Image.Resampling.BILINEAR
    fill = {"fillcolor": (124, 116, 104), "resample": resample}
    arguments = () if name in ("autocontrast", "equalize", "invert") else (argument,)
    expected = by_pillow(pixels, THEIRS[name], *arguments, **fill)
    apart = (done(pixels, name, argument, bicubic=bicubic) - expected).abs()
    if name in MOVING:
        assert apart.median() == 0
        assert (apart > 1).float().mean() < 0.02, "a pixel at the border comes from inside, or does not"
    else:
        assert apart.max() <= 1
        assert (apart > 0).float().mean() < 0.01, "a blend that falls on a whole number is cut off to either side"


def test_images_of_one_value_and_of_one_channel_are_treated_as_pillow_treats_them() -> None:
    flat = torch.full((1, 3, 8, 8), 77.0)
    for name in ("autocontrast", "equalize"):
        assert torch.equal(done(flat, name, 0), by_pillow(flat, THEIRS[name]))
    grey = RandAugment(rand_augment(DELT), ((0.5,), (0.25,)))
    batch = torch.randn(2, 1, 8, 8, generator=torch.Generator().manual_seed(0)).clamp(-2, 2)
    rounds = Rounds(torch.full((2, 1), OPERATIONS.index("color")), torch.full((2, 1), 0.3))
    assert (grey.apply(batch, rounds) - batch).abs().max() < 1 / 255 / 0.25, "there is no colour to take away"


@pytest.mark.parametrize("magnitude", [0, 6, 9, 10])
@pytest.mark.parametrize("increasing", [False, True])
def test_arguments_are_timms_at_every_magnitude(magnitude: int, increasing: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = RandAugment(rand_augment(f"rand-m{magnitude}-n1-p1-inc{int(increasing)}"), STATISTICS).draw(
        400, generator=torch.Generator().manual_seed(0)
    )
    named = auto_augment._RAND_INCREASING_TRANSFORMS if increasing else auto_augment._RAND_TRANSFORMS
    for place, (ours, name) in enumerate(zip(TIMM, named, strict=True)):
        values = {round(float(v), 4) for v in drawn.argument[drawn.operation == place]}
        level = auto_augment.LEVEL_TO_ARG[name]
        expected = set()
        for draw in (0.0, 0.9):  # a sign is drawn where there is one
            monkeypatch.setattr(random, "random", lambda draw=draw: draw)
            expected.add(round(float(level(float(magnitude), {"translate_pct": 0.45})[0]), 4) if level else 0.0)
        assert {abs(value) for value in values} == {abs(value) for value in expected}, ours
        assert values == expected or expected == {0.0}, ours


def test_operations_are_drawn_alike_half_of_them_done_with_noise_of_its_deviation() -> None:
    drawn = RandAugment(rand_augment(DELT), STATISTICS).draw(20_000, generator=torch.Generator().manual_seed(0))
    identity = drawn.operation == OPERATIONS.index("identity")
    assert float(identity.float().mean()) == pytest.approx(0.5, abs=0.01)
    counts = drawn.operation[~identity].bincount(minlength=len(TIMM)) / (~identity).sum()
    assert counts.tolist() == pytest.approx([1 / 15] * 15, abs=0.006)
    turned = drawn.argument[drawn.operation == OPERATIONS.index("rotate")]
    assert float(turned.abs().mean()) == pytest.approx(18, abs=0.3)
    assert float(turned.abs().std()) == pytest.approx(3, abs=0.2)
    assert float((turned < 0).float().mean()) == pytest.approx(0.5, abs=0.05)


def test_torchvisions_are_all_done_at_its_magnitude() -> None:
    made: Any = augmentation("torchvision-rand-augment", statistics=STATISTICS)
    drawn = made.steps[0].draw(4_000, generator=torch.Generator().manual_seed(0))
    space = theirs.RandAugment()._augmentation_space(31, (20, 24))
    assert len(space) == len(TORCHVISION)
    counts = drawn.operation.flatten().bincount(minlength=len(OPERATIONS))
    assert [OPERATIONS[place] for place, count in enumerate(counts) if count] == list(TORCHVISION)
    own = {name.lower().replace("shear", "shear-").replace("translate", "translate-"): values for name, values in space.items()}
    for name, (values, signed) in own.items():
        found = {round(float(v), 4) for v in drawn.argument[drawn.operation == OPERATIONS.index(name)]}
        level = float(values[9]) if values.ndim else 0.0
        if name.startswith("translate"):
            level /= 24 if name.endswith("x") else 20
        shift = 1.0 if name in ("color", "contrast", "brightness", "sharpness") else 0.0
        signs = (1, -1) if signed else (1,)
        assert sorted(found) == pytest.approx(sorted({round(shift + sign * level, 4) for sign in signs}), abs=1e-3)


@pytest.mark.parametrize("name", ["Posterize", "Solarize", "Contrast", "TranslateX", "ShearY", "Rotate"])
def test_a_torchvision_operation_gives_what_theirs_gives(name: str) -> None:
    pixels = photographs()
    values, _ = theirs.RandAugment()._augmentation_space(31, (20, 24))[name]
    level = float(values[9])
    expected = by_pillow(pixels, lambda image: theirs._apply_op(image, name, level, InterpolationMode.BILINEAR, [0.0] * 3))
    ours = name.lower().replace("shear", "shear-").replace("translate", "translate-")
    argument = level / 24 if name == "TranslateX" else 1 + level if name == "Contrast" else level
    sign = -1 if name == "TranslateX" else 1  # a sign is drawn: which way is theirs
    made: Any = augmentation("torchvision-rand-augment", statistics=STATISTICS)
    apart = (done(pixels, ours, sign * argument, made.steps[0].policy) - expected).abs()
    assert (apart > 1).float().mean() < 0.02


def test_a_round_comes_after_the_other_and_each_image_has_its_own() -> None:
    pixels = photographs(2)
    ours = RandAugment(rand_augment(DELT), STATISTICS)
    invert, brighter = OPERATIONS.index("invert"), OPERATIONS.index("brightness")
    rounds = Rounds(torch.tensor([[invert, brighter], [brighter, invert]]), torch.tensor([[0.0, 0.5], [0.5, 0.0]]))
    result = pixels_of(ours.apply(normalised(pixels), rounds))
    first = by_pillow(by_pillow(pixels[:1], THEIRS["invert"]), THEIRS["brightness"], 0.5)
    second = by_pillow(by_pillow(pixels[1:], THEIRS["brightness"], 0.5), THEIRS["invert"])
    assert (result - torch.cat([first, second])).abs().max() <= 1


def test_trainings_together_draw_what_each_draws_alone() -> None:
    ours = RandAugment(rand_augment(DELT), STATISTICS)
    streams = [torch.Generator().manual_seed(seed) for seed in range(2)]
    together = ours(normalised(photographs(4)), generator=streams)
    alone = [ours(normalised(photographs(4))[2 * n : 2 * n + 2], generator=torch.Generator().manual_seed(n)) for n in range(2)]
    assert torch.equal(together, torch.cat(alone))


def test_a_step_asks_for_nothing_on_the_host(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, batch = augmentation(f"{DELT}+flip", statistics=STATISTICS), normalised(photographs())
    for name in ("item", "tolist", "cpu", "numpy", "__bool__", "__float__", "__int__"):
        monkeypatch.setattr(Tensor, name, lambda *a, **k: pytest.fail("a value was asked for"))
    ours(batch, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("text", [DELT, "torchvision-rand-augment"])
def test_what_is_done_on_a_gpu_is_what_is_done_on_the_cpu(text: str) -> None:
    made: Any = augmentation(f"{text}+flip", statistics=STATISTICS)
    rounds, pixels = made.steps[0].draw(60, generator=torch.Generator().manual_seed(0)), photographs(60)
    manner = Manner(torch.tensor([124.0, 116.0, 104.0]).view(1, 3, 1, 1), whole=True)
    for operation, argument in zip(rounds.operation.unbind(1), rounds.argument.unbind(1), strict=True):
        both = [done(pixels, operation, argument.view(-1, 1, 1, 1), manner) for done in (done_everywhere, done_where_drawn)]
        assert torch.equal(*both)
        assert not torch.equal(both[0], pixels)


def test_timms_string_is_read_and_kept() -> None:
    assert rand_augment(DELT) == Policy(DELT, 6.0, 2, 0.5, 1.0)
    assert rand_augment("rand-m9-n3-p0.3-mstd101-inc1-mmax20") == Policy(
        "rand-m9-n3-p0.3-mstd101-inc1-mmax20", 9.0, 3, 0.3, math.inf, 20.0, True
    )
    text = f"{DELT}+random-resized-crop(min_scale=0.25)+flip"
    assert known_augmentation(text) == text
    assert [step.name for step in steps(text)] == [DELT, "random-resized-crop", "flip"]
    assert changes_pixels(text)
    assert not changes_pixels("flip+pad-crop")
    assert versions(text) == {}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("rand-", "cannot read ''; parts are a number after one of m, n, p, mstd, mmax, inc, each once"),
        ("rand-x5", "cannot read 'x5'"),
        ("rand-m", "cannot read 'm'"),
        ("rand-m5-m6", "cannot read 'm6'"),
        ("rand-tweights", "cannot read 'tweights'"),
        ("rand-m2.5", "magnitude must be a whole number, not 2.5"),
        ("rand-n0", "n must be at least 1"),
        ("rand-p2", "p at most 1"),
        ("torchvision-rand-augment(magnitude=31)", "magnitude must be a whole number from 0 to 30, not 31"),
    ],
)
def test_a_string_that_says_nothing_is_refused(text: str, said: str) -> None:
    with pytest.raises(BadOption) as raised:
        known_augmentation(text)
    assert said in str(raised.value)
    assert "\n" not in str(raised.value)


def test_images_without_pixels_are_refused() -> None:
    with pytest.raises(DataError, match="changes pixels, and images that were whitened have none"):
        augmentation(DELT)
