"""A first block in one is the modules that it stands for: maps, gradients and what the norm remembers, in float64 to rounding."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from harness.training import first_block
from harness.training.first_block import FirstBlock

#: Channels in and out, sides of the images, their number, padding: one part and several, the last one smaller.
SHAPES = [
    (1, 32, 16, 16, 10, 1),
    (1, 8, 28, 28, 3, 3),
    (3, 5, 6, 10, 7, 1),
    (2, 1, 2, 2, 1, 1),
    (1, 64, 32, 32, 9, 1),
]


@pytest.fixture(autouse=True)
def _small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(first_block, "AT_A_TIME", 1 << 17)
    monkeypatch.setattr(first_block, "SUMMED", 1000)


def drawn(shape: tuple[int, ...], dtype: torch.dtype) -> tuple[nn.Sequential, Tensor, Tensor]:
    """Return the modules, images, and the gradient of the halved maps."""
    channels, maps, height, width, count, padding = shape
    torch.manual_seed(0)
    modules = nn.Sequential(nn.Conv2d(channels, maps, 3, padding=padding), nn.BatchNorm2d(maps), nn.ReLU(), nn.AvgPool2d(2))
    with torch.no_grad():
        for parameter in modules[1].parameters():
            parameter.uniform_(-1, 1)
    halved = (count, maps, height // 2 + padding - 1, width // 2 + padding - 1)
    images, gradient = torch.randn(count, channels, height, width) + 0.5, torch.randn(halved)
    modules = modules.to(dtype).to(memory_format=torch.channels_last)
    return modules, *(values.to(dtype).to(memory_format=torch.channels_last) for values in (images, gradient))


def in_one(modules: nn.Sequential, images: Tensor, gradient: Tensor) -> list[Tensor]:
    """Return maps, the gradients of the parameters, and mean and variance."""
    conv, norm, *_ = modules
    weights = [conv.weight, conv.bias, norm.weight, norm.bias]
    halved, mean, variance = FirstBlock.apply(images, *weights, norm.eps, conv.padding[0])
    return [halved.detach(), *torch.autograd.grad(halved, weights, gradient), mean, variance]


def one_by_one(modules: nn.Sequential, images: Tensor, gradient: Tensor) -> list[Tensor]:
    halved = modules(images)
    with torch.no_grad():
        maps = modules[0](images) - modules[0].bias[:, None, None]
    variance, mean = torch.var_mean(maps, (0, 2, 3), correction=0)
    return [halved.detach(), *torch.autograd.grad(halved, [*modules.parameters()], gradient), mean, variance]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_maps_gradients_and_statistics_are_those_of_the_modules(shape: tuple[int, ...]) -> None:
    modules, images, gradient = drawn(shape, torch.float64)
    for ours, theirs in zip(in_one(modules, images, gradient), one_by_one(modules, images, gradient), strict=True):
        assert ours.shape == theirs.shape
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-10 * max(1.0, float(theirs.abs().max())))


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_sums_are_to_the_bit_those_over_a_map_of_gradients(shape: tuple[int, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    """So they were made when the first records in float32 were committed, which are to be trained again to the digit."""
    parts_of, passes = first_block._parts, []

    def noting(*given: Any) -> Iterator[tuple[Tensor, Tensor, slice]]:
        passes.append([])
        for part, maps, of in parts_of(*given):
            passes[-1].append((part, maps.clone(), of))
            yield part, maps, of

    monkeypatch.setattr(first_block, "_parts", noting)
    modules, images, gradient = drawn(shape, torch.float32)
    of_shift = in_one(modules, images, gradient)[4]
    _, backward = passes
    sums = torch.zeros(9 * shape[0] + 1, shape[1])
    for part, maps, of in backward:
        spread = functional.interpolate(gradient[of] * 0.25, scale_factor=2).permute(0, 2, 3, 1).reshape(maps.shape)
        sums.addmm_(part, torch.where(maps > 0, spread, 0.0))
    assert torch.equal(of_shift, sums[-1])


def test_there_are_shapes_of_several_parts_and_of_one() -> None:
    parts = {-(-count * height * width * maps // first_block.AT_A_TIME) > 1 for _, maps, height, width, count, _ in SHAPES}
    assert parts == {True, False}


def test_the_gradient_of_the_weight_lies_in_memory_as_the_weight_does() -> None:
    modules, images, gradient = drawn(SHAPES[2], torch.float32)
    _, of_weight, *_ = in_one(modules, images, gradient)
    assert of_weight.stride() == modules[0].weight.stride()


def test_gradients_that_lie_in_another_order_are_the_same() -> None:
    modules, images, gradient = drawn(SHAPES[2], torch.float64)
    for ours, theirs in zip(
        in_one(modules, images.contiguous(), gradient.contiguous()), in_one(modules, images, gradient), strict=True
    ):
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)


def test_a_small_variance_is_not_lost_in_float32() -> None:
    """Of smooth images, dark at their frame, a kernel of second differences makes maps of a thousandth of their variance."""
    torch.manual_seed(0)
    bump = torch.linspace(0, torch.pi, 32).double().sin()
    images = torch.rand(50, 1, 1, 1).double() * bump[:, None] * bump
    edges = torch.tensor([[0.0, 1, 0], [1, -4, 1], [0, 1, 0]]).double()[None, None] / 4
    norm = [torch.zeros(1).double(), torch.ones(1).double(), torch.zeros(1).double()]
    maps = nn.functional.conv2d(images, edges, padding=1)
    assert float(maps.var()) < 1e-3 * float(images.var())
    *_, exact = FirstBlock.apply(images, edges, *norm, 1e-5, 1)
    torch.testing.assert_close(exact, maps.var((0, 2, 3), correction=0))
    *_, narrow = FirstBlock.apply(images.float(), edges.float(), *(values.float() for values in norm), 1e-5, 1)
    torch.testing.assert_close(narrow.double(), exact, rtol=1e-6, atol=0)


@pytest.mark.parametrize("shape", [SHAPES[0], SHAPES[4]], ids=str)
def test_float_noise_is_that_of_the_modules(shape: tuple[int, ...]) -> None:
    """Against float64, in root mean square of what has no gradient of zero: at most twice that of torch's own."""
    modules, images, gradient = drawn(shape, torch.float64)
    exact = one_by_one(modules, images, gradient)
    modules, images, gradient = modules.float(), images.float(), gradient.float()
    noise = []
    for way in (in_one, one_by_one):
        errors = [
            (own.double() - its).square().mean().sqrt() for own, its in zip(way(modules, images, gradient), exact, strict=True)
        ]
        noise.append([float(error) for error in errors])
    ours, theirs = noise
    for own, its, value in zip(ours, theirs, exact, strict=True):
        assert own <= 2 * its + 1e-6 * float(value.abs().max())


def test_patches_are_made_once_for_students_that_are_given_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    patches = first_block._patches
    monkeypatch.setattr(first_block, "_patches", lambda *images: calls.append(1) or patches(*images))
    modules, images, gradient = drawn(SHAPES[2], torch.float32)
    other, *_ = drawn(SHAPES[2], torch.float32)
    with torch.no_grad():
        other[0].weight.mul_(0.5)
    expected = [in_one(each, images, gradient) for each in (modules, other)]
    assert len(calls) == 2
    with first_block.patches_kept():
        kept = [in_one(each, images, gradient) for each in (modules, other)]
        assert len(calls) == 3
        in_one(modules, images.clone(memory_format=torch.channels_last), gradient)  # equal, but others
        assert len(calls) == 4
    for ours, alone in zip(kept, expected, strict=True):
        assert all(map(torch.equal, ours, alone))
    in_one(modules, images, gradient)
    assert len(calls) == 5


def test_images_that_take_the_place_of_others_in_memory_are_not_taken_for_them() -> None:
    modules, images, gradient = drawn(SHAPES[2], torch.float32)
    expected = in_one(modules, images * 2, gradient)
    with first_block.patches_kept():
        in_one(modules, images, gradient)
        images.mul_(2)
        assert all(map(torch.equal, in_one(modules, images, gradient), expected))
        passing = torch.zeros_like(images)
        held = weakref.ref(passing)
        in_one(modules, passing, gradient)
        del passing
        assert held() is not None, "others could take its place in memory"
    assert held() is None
