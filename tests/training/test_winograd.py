"""Minimal filtering is a convolution: its maps and gradients in float64 to rounding, in float32 but for noise."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from harness.training.winograd import AT_A_TIME, LEAST, PIXELS, Filtered

#: Channels in and out, sides of a map, images: whole squares, cut ones, less than one, more images than are worked on at a time.
SHAPES = [
    (4, 6, 8, 8, 2),
    (3, 5, 7, 9, 3),
    (2, 3, 3, 2, 2),
    (1, 1, 1, 1, 1),
    (5, 2, 4, 13, 2),
    (64, 64, 16, 16, 7),
    (96, 64, 5, 6, 23),
]


def drawn(channels: int, maps: int, height: int, width: int, count: int, dtype: torch.dtype) -> tuple[list[Tensor], Tensor]:
    """Return images, a weight and a bias that want gradients, and the gradient of the maps."""
    stream = torch.Generator().manual_seed(0)
    sizes = [(count, channels, height, width), (maps, channels, 3, 3), (maps,), (count, maps, height, width)]
    *given, gradient = (torch.randn(size, generator=stream, dtype=torch.float64).to(dtype) for size in sizes)
    return [_laid(values).requires_grad_() for values in given], _laid(gradient)


def _laid(values: Tensor) -> Tensor:
    return values.contiguous(memory_format=torch.channels_last) if values.dim() == 4 else values


def filtered(given: list[Tensor], gradient: Tensor) -> list[Tensor]:
    maps = Filtered.apply(*given)
    return [maps.detach(), *torch.autograd.grad(maps, given, gradient)]


def convolved(given: list[Tensor], gradient: Tensor) -> list[Tensor]:
    maps = functional.conv2d(*given, padding=1)
    return [maps.detach(), *torch.autograd.grad(maps, given, gradient)]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_maps_and_gradients_are_those_of_the_convolution(shape: tuple[int, int, int, int, int]) -> None:
    given, gradient = drawn(*shape, torch.float64)
    for ours, theirs in zip(filtered(given, gradient), convolved(given, gradient), strict=True):
        assert ours.shape == theirs.shape
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-10 * float(theirs.abs().max()))


def test_there_are_shapes_of_several_parts_and_of_one() -> None:
    at_once = [max(LEAST, AT_A_TIME // (PIXELS**2 * channels)) for channels, *_ in SHAPES]
    squares = [count * -(-height // 4) * -(-width // 4) for _, _, height, width, count in SHAPES]
    assert {mine > most for mine, most in zip(squares, at_once, strict=True)} == {True, False}


@pytest.mark.parametrize("shape", [(64, 64, 16, 16, 10), (128, 128, 8, 8, 20)], ids=str)
def test_float_noise_is_a_few_times_that_of_torch(shape: tuple[int, int, int, int, int]) -> None:
    exact = convolved(*drawn(*shape, torch.float64))
    given, gradient = drawn(*shape, torch.float32)
    for ours, theirs, right in zip(filtered(given, gradient), convolved(given, gradient), exact, strict=True):
        assert _error(theirs, right) < 2e-6
        assert _error(ours, right) < 1e-5


def _error(values: Tensor, right: Tensor) -> float:
    return float((values.double() - right).norm() / right.norm())


def test_gradients_lie_in_memory_as_what_they_are_of() -> None:
    given, gradient = drawn(6, 4, 8, 8, 2, torch.float32)
    for values, ours in zip(given, filtered(given, gradient)[1:], strict=True):
        assert values.stride() == ours.stride()


def test_maps_that_torch_has_in_its_own_order_are_taken_too() -> None:
    given, gradient = drawn(4, 6, 8, 8, 2, torch.float64)
    others = [values.detach().contiguous().requires_grad_() for values in given]
    for ours, theirs in zip(filtered(others, gradient.contiguous()), filtered(given, gradient), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)


def test_a_gradient_of_its_gradient_is_refused() -> None:
    given, _ = drawn(4, 4, 4, 4, 1, torch.float64)
    (first,) = torch.autograd.grad(Filtered.apply(*given).square().sum(), given[:1], create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        first.sum().backward()
