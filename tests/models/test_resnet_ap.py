"""ResNetAP-10 against its layers written out one after the other, at the three sizes that its first layers tell apart."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from harness import models
from harness.core.errors import BadOption


def by_hand(weights: dict[str, Tensor], images: Tensor) -> Tensor:
    """What IDC's ResNetAP-10 with instance norm computes."""

    def normed(maps: Tensor, name: str) -> Tensor:
        return functional.group_norm(maps, maps.shape[1], weights[f"{name}.weight"], weights[f"{name}.bias"])

    side = images.shape[-1]
    pool = 1 if side <= 64 else 2 if side <= 128 else 4
    maps = functional.conv2d(images, weights["layer0.conv1.weight"], padding=3 if pool == 4 else 1)
    maps = functional.avg_pool2d(functional.relu(normed(maps, "layer0.bn1")), pool)
    for layer in range(1, 5):
        name, stride = f"layer{layer}.0", 1 if layer == 1 else 2
        inner = functional.relu(normed(functional.conv2d(maps, weights[f"{name}.conv1.weight"], padding=1), f"{name}.bn1"))
        inner = functional.avg_pool2d(inner, stride)
        inner = normed(functional.conv2d(inner, weights[f"{name}.conv2.weight"], padding=1), f"{name}.bn2")
        if stride > 1:
            maps = functional.avg_pool2d(functional.conv2d(maps, weights[f"{name}.downsample.0.weight"]), stride)
            maps = normed(maps, f"{name}.downsample.2")
        maps = functional.relu(inner + maps)
    return functional.linear(maps.flatten(2).mean(2), weights["fc.weight"], weights["fc.bias"])


@pytest.mark.parametrize("side", [32, 96, 160])
def test_it_computes_what_its_layers_compute(side: int) -> None:
    torch.manual_seed(0)
    network = models.build("resnetap10(width=0.125)", (3, side, side), 5)
    images = torch.randn(2, 3, side, side)
    assert torch.allclose(network(images), by_hand(network.state_dict(), images), atol=1e-5)
    assert models.adaptation(network) == ""


def test_it_has_as_many_weights_as_its_authors_network() -> None:
    """7x7 and 3x3 convolutions without bias, two numbers a channel of each norm, a linear layer."""
    widths = [64, 64, 128, 256, 512]
    count = 3 * 64 * 49 + 2 * 64 + 512 * 10 + 10
    for before, own in pairwise(widths):
        count += 9 * before * own + 9 * own * own + 4 * own + (before * own + 2 * own if before != own else 0)
    with torch.device("meta"):
        assert models.parameters_count(models.build("resnetap10", (3, 224, 224), 10)) == count


def test_its_convolutions_start_by_their_outputs() -> None:
    torch.manual_seed(0)
    weight = models.build("resnetap10", (3, 32, 32), 10).state_dict()["layer4.0.conv2.weight"]
    assert float(weight.std()) == pytest.approx(math.sqrt(2 / (9 * 512)), rel=0.01)


def test_images_too_small_for_its_pools_keep_their_maps_and_say_so() -> None:
    network = models.build("resnetap10(width=0.125)", (1, 8, 8), 3)
    assert network(torch.randn(2, 1, 8, 8)).shape == (2, 3)
    assert models.adaptation(network) == "2 of 3 poolings"


@pytest.mark.parametrize(("spec", "said"), [("resnetap10(norm=layer)", "no norm 'layer'"), ("resnetap10(width=0)", "above 0")])
def test_what_it_has_not_is_refused(spec: str, said: str) -> None:
    with pytest.raises(BadOption, match=said):
        models.build(spec, (3, 32, 32), 10)


def test_batch_norm_is_there_when_it_is_asked_for() -> None:
    network = models.build("resnetap10(width=0.125, norm=batch)", (3, 32, 32), 10)
    assert [*network.buffers()]
