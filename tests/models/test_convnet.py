"""ConvNet-D: its parts, its size, its poolings."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from harness import models
from harness.core.errors import BadOption
from harness.models import convnet
from harness.models.convnet import ConvNet, HalvingPool, poolings


def test_convnet3_has_the_parameters_of_the_literature() -> None:
    convolutions = (3 * 9 * 128 + 128) + 2 * (128 * 9 * 128 + 128)
    norms, linear = 3 * 2 * 128, 128 * 4 * 4 * 10 + 10
    assert convolutions + norms + linear == 320_010
    assert models.parameters_count(models.build("convnet3", (3, 32, 32), 10)) == 320_010


def test_a_block_is_convolution_norm_relu_average_pool() -> None:
    model = models.build("convnet2", (1, 8, 8), 10)
    assert isinstance(model, ConvNet)
    kinds = (nn.Conv2d, nn.BatchNorm2d, nn.ReLU, nn.AvgPool2d) * 2
    assert len(model.features) == len(kinds)
    assert all(isinstance(layer, kind) for layer, kind in zip(model.features, kinds, strict=True))
    first: Any = model.features[0]
    assert (first.kernel_size, first.padding, first.stride) == ((3, 3), (1, 1), (1, 1))
    assert first.bias is not None


@pytest.mark.parametrize("depth", range(1, 9))
def test_the_name_says_the_depth(depth: int) -> None:
    model = models.build(f"convnet{depth}(width=4)", (3, 16, 16), 10)
    assert sum(isinstance(m, nn.Conv2d) for m in model.modules()) == depth


@pytest.mark.parametrize(("norm", "kind"), [("batch", nn.BatchNorm2d), ("instance", nn.GroupNorm), ("none", None)])
def test_the_norm_is_the_one_asked_for(norm: str, kind: type[nn.Module] | None) -> None:
    model = models.build({"name": "convnet3", "norm": norm, "width": 8}, (3, 16, 16), 10)
    norms = [m for m in model.modules() if isinstance(m, (nn.BatchNorm2d, nn.GroupNorm))]
    assert [type(m) for m in norms] == ([kind] * 3 if kind else [])
    assert all(m.weight is not None and m.bias is not None for m in norms)


def test_instance_norm_normalises_each_channel_of_each_image_alone() -> None:
    model = models.build("convnet1(norm=instance, width=6)", (3, 8, 8), 2)
    norm = next(layer for layer in model.modules() if isinstance(layer, nn.GroupNorm))
    maps = 3 * torch.randn(4, 6, 8, 8) + torch.randn(4, 6, 1, 1)
    out = norm(maps)
    assert torch.allclose(out.mean((2, 3)), torch.zeros(4, 6), atol=1e-5)
    assert torch.allclose(out.var((2, 3), unbiased=False), torch.ones(4, 6), atol=1e-3)


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_features_are_flattened_channel_row_column_in_any_memory_format(memory_format: torch.memory_format) -> None:
    model = models.build("convnet2(width=5)", (3, 8, 12), 1).eval()
    assert isinstance(model, ConvNet)
    model = model.to(memory_format=memory_format)
    images = torch.randn(2, 3, 8, 12).to(memory_format=memory_format)
    with torch.no_grad():
        maps = model.features(images)
        channel, row, column = 3, 1, 2
        model.classifier.weight.zero_()[0, channel * 2 * 3 + row * 3 + column] = 1
        model.classifier.bias.zero_()
        assert torch.allclose(model(images)[:, 0], maps[:, channel, row, column])


def test_the_table_of_poolings_is_what_is_built(docstring_table: Callable[[Any], list[list[str]]]) -> None:
    for pixels, depth, maps, recorded in docstring_table(poolings):
        model = models.build(f"convnet{depth}(width=2)", (1, int(pixels), int(pixels)), 3)
        sides: list[int] = []
        images = torch.zeros(1, 1, int(pixels), int(pixels))
        assert isinstance(model, ConvNet)
        model.eval()
        for layer in model.features:
            if isinstance(layer, nn.Conv2d):
                sides.append(images.shape[-1])
            images = layer(images)
        assert [*sides[1:], images.shape[-1]] == [int(side) for side in maps.split()], (pixels, depth)
        assert models.adaptation(model) == recorded, (pixels, depth)


def test_an_oblong_image_is_pooled_as_its_smaller_side_allows() -> None:
    model = models.build("convnet4(width=2)", (1, 4, 64), 3)
    assert models.adaptation(model) == "2 of 4 poolings"
    assert model(torch.zeros(2, 1, 4, 64)).shape == (2, 3)


def test_norm_none_may_be_written_bare() -> None:
    written = models.registry.resolve("convnet3(norm=none)")
    assert written == models.registry.resolve("convnet3(norm='none')")
    assert models.registry.label(written) == "convnet3(norm='none')"


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("shape", [(2, 3, 6, 8), (2, 3, 7, 8), (2, 3, 6, 9)])
def test_large_maps_are_pooled_and_have_gradients_as_by_torch(
    monkeypatch: pytest.MonkeyPatch, shape: tuple[int, ...], dtype: torch.dtype, memory_format: torch.memory_format
) -> None:
    monkeypatch.setattr(convnet, "LARGE_MAP", 1)
    maps = torch.randn(shape).to(dtype).to(memory_format=memory_format)
    found = []
    for pool in (HalvingPool(), nn.AvgPool2d(2)):
        given = maps.clone().requires_grad_()
        pooled = pool(given)
        (pooled * torch.linspace(-1, 1, pooled.numel()).view_as(pooled).to(dtype)).sum().backward()
        assert given.grad is not None
        found.append((pooled.detach(), given.grad))
    assert torch.equal(found[0][0], found[1][0])
    assert torch.equal(found[0][1], found[1][1])


def test_only_large_maps_that_need_a_gradient_are_pooled_by_our_function(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(convnet, "LARGE_MAP", 2 * 3 * 4 * 4)
    pool = HalvingPool()
    names = [type(pool(torch.randn(2, 3, *sides, requires_grad=True)).grad_fn).__name__ for sides in ((4, 4), (4, 2), (5, 4))]
    assert names == ["HalvedBackward", "AvgPool2DBackward0", "AvgPool2DBackward0"]
    assert pool(torch.randn(2, 3, 4, 4)).grad_fn is None


def test_the_gradient_of_a_large_maps_pool_has_a_gradient_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(convnet, "LARGE_MAP", 1)
    maps = torch.randn(2, 3, 4, 6, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(HalvingPool(), (maps,))
    assert torch.autograd.gradgradcheck(HalvingPool(), (maps,))


def test_gradients_of_single_images_go_through_a_large_maps_pool(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(convnet, "LARGE_MAP", 1)
    maps = torch.randn(5, 1, 3, 4, 6)

    def squares(pool: nn.Module) -> Callable[[torch.Tensor], torch.Tensor]:
        return lambda one: pool(one).square().sum()

    ours, torchs = (torch.func.vmap(torch.func.grad(squares(pool)))(maps) for pool in (HalvingPool(), nn.AvgPool2d(2)))
    assert torch.equal(ours, torchs)


def test_a_first_convolution_that_pads_by_3_makes_32_pixels_of_28() -> None:
    model = models.build("convnet3(padding=3)", (1, 28, 28), 10)
    sides: list[int] = []
    for layer in model.modules():
        if isinstance(layer, nn.Conv2d):
            layer.register_forward_hook(lambda module, given, maps: sides.append(maps.shape[-1]))
    assert model(torch.randn(2, 1, 28, 28)).shape == (2, 10) and sides == [32, 16, 8]
    assert models.adaptation(model) == "" and models.adaptation(models.build("convnet5(padding=3)", (1, 28, 28), 10)) == ""
    paddings = [layer.padding for layer in model.modules() if isinstance(layer, nn.Conv2d)]
    assert paddings == [(3, 3), (1, 1), (1, 1)]


@pytest.mark.parametrize("depth", range(1, 9))
def test_trials_keep_the_padding_only_where_it_is_not_1(depth: int) -> None:
    """Records that were made before there was a choice keep their ids."""
    plain, said = (models.registry.resolve(f"convnet{depth}{options}") for options in ("", "(padding=1)"))
    assert plain.spec == said.spec and plain.options == {"width": 128, "norm": "batch"}
    other = models.registry.resolve(f"convnet{depth}(padding=3)")
    assert other.options == {"width": 128, "norm": "batch", "padding": 3} and other.label == f"convnet{depth}(padding=3)"
    with pytest.raises(BadOption, match="a padding of at least 1"):
        models.build(f"convnet{depth}(padding=0)", (1, 28, 28), 10)
