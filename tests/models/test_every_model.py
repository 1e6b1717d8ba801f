"""What holds of every student: shapes, gradients, memory formats, random streams."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from torch import nn

from harness import models

STANDARD = ("resnet18", "resnet18-modified", "resnet101", "resnet101-modified", "efficientnet-b0", "mobilenet-v2")
SMALL = ("wrn-16-2", "resnetap10(width=0.25)", "mobilenet-v2-x0.5-modified", "shufflenet-v2-x0.5", "shufflenet-v2-x0.5-modified")
SWINS = ("swin-v2-tiny", "swin-v2-tiny(windows=pad)")
STUDENTS = ("convnet3", "convnet6(norm=instance)", *STANDARD, *SMALL, *SWINS, "timm/test_vit")
CHEAP = ("convnet3", "convnet3(norm=instance)", "resnet18", "resnet18-modified", "mobilenet-v2", *SMALL, "timm/test_vit")


@pytest.mark.parametrize("shape", [(1, 16, 16), (3, 32, 32), (1, 64, 64)])
@pytest.mark.parametrize("spec", STUDENTS)
def test_two_images_of_any_size_become_two_rows_of_logits(spec: str, shape: models.Shape) -> None:
    _check_on_meta(spec, shape)


@pytest.mark.parametrize("spec", ["convnet6", "resnet18-modified", "mobilenet-v2", "swin-v2-tiny", "timm/test_vit"])
def test_large_images_become_logits_too(spec: str) -> None:
    _check_on_meta(spec, (3, 224, 224))


def _check_on_meta(spec: str, shape: models.Shape) -> None:
    with torch.device("meta"):
        model = models.build(spec, shape, 7)
        images = torch.empty(2, *shape)
        logits = model(images)
        assert logits.shape == (2, 7)
        logits.sum().backward()
        assert model.eval()(images).shape == (2, 7)
    assert isinstance(model.giftbench_adaptation, str)


@pytest.mark.parametrize("shape", [(1, 16, 16), (3, 24, 40)])
def test_two_real_images_train_and_one_is_tested(shape: models.Shape) -> None:
    for spec in CHEAP:
        model = models.build(spec, shape, 7)
        model(torch.randn(2, *shape)).square().sum().backward()
        assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None), spec
        assert torch.isfinite(model.eval()(torch.randn(1, *shape))).all(), spec


@pytest.mark.parametrize("spec", [*STUDENTS, "convnet5(norm=instance)", "convnet8", "convnet3(norm='none')"])
def test_gradients_reach_every_parameter_at_16_pixels(spec: str) -> None:
    torch.manual_seed(0)
    model = models.build(spec, (1, 16, 16), 7)
    if spec in SWINS:
        model = models.build(models.registry.resolve(spec, drop_path=0), (1, 16, 16), 7)
    with torch.no_grad():  # norms that start at zero hold back what lies before them at the first step alone
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.rand_like(parameter) if parameter.ndim == 1 else 0)
    logits = model(torch.randn(4, 1, 16, 16))
    (logits * torch.randn_like(logits)).sum().backward()
    cancelled = _biases_that_a_norm_cancels(model)
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 0 or name in cancelled, name


def _biases_that_a_norm_cancels(model: nn.Module) -> set[str]:
    layers = list(model.named_modules())
    norms = (nn.BatchNorm2d, nn.GroupNorm)
    pairs = pairwise(layers)
    return {f"{name}.bias" for (name, layer), (_, after) in pairs if isinstance(layer, nn.Conv2d) and isinstance(after, norms)}


@pytest.mark.parametrize("spec", [*CHEAP, "efficientnet-b0", "swin-v2-tiny(patch=2)"])
def test_channels_last_gives_what_contiguous_gives(spec: str) -> None:
    torch.manual_seed(1)
    model = models.build(spec, (3, 16, 16), 5).eval()
    images = torch.randn(4, 3, 16, 16)
    with torch.no_grad():
        plain = model(images)
        last = model.to(memory_format=torch.channels_last)(images.to(memory_format=torch.channels_last))
    scale = plain.abs().max()
    assert scale > 0
    assert (plain - last).abs().max() < 1e-3 * scale


@pytest.mark.parametrize("spec", CHEAP)
def test_weights_come_from_the_global_random_stream(spec: str) -> None:
    def weights(seed: int) -> dict[str, torch.Tensor]:
        torch.manual_seed(seed)
        return models.build(spec, (3, 16, 16), 5).state_dict()

    first, again, other = weights(7), weights(7), weights(8)
    assert all(torch.equal(first[k], again[k]) for k in first)
    assert any(not torch.equal(first[k], other[k]) for k in first)
