"""The small networks of published teachers: their sizes are those of the papers, and small images keep their detail."""

from __future__ import annotations

import pytest
import torch

from harness import models


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("wrn-16-2", 0.70),  # millions, at 100 classes
        ("mobilenet-v2-x0.5-modified", 0.81),
        ("shufflenet-v2-x0.5-modified", 0.44),
    ],
)
def test_a_network_has_the_published_number_of_parameters(name: str, parameters: float) -> None:
    with torch.device("meta"):
        assert round(models.parameters_count(models.build(name, (3, 32, 32), 100)) / 1e6, 2) == parameters


def test_shufflenet_is_torchvisions() -> None:
    import torchvision

    with torch.device("meta"):
        ours, theirs = models.build("shufflenet-v2-x0.5", (3, 224, 224), 1000), torchvision.models.shufflenet_v2_x0_5()
    assert {n: t.shape for n, t in ours.state_dict().items()} == {n: t.shape for n, t in theirs.state_dict().items()}


@pytest.mark.parametrize(
    ("name", "layer", "side"),
    [
        ("wrn-16-2", "block3", 8),
        ("mobilenet-v2-x0.5-modified", "blocks", 2),
        ("shufflenet-v2-x0.5-modified", "stage4", 4),
        ("shufflenet-v2-x0.5", "stage4", 1),
    ],
)
def test_an_image_of_32_pixels_ends_in_a_map_of_its_own_size(name: str, layer: str, side: int) -> None:
    seen: list[torch.Size] = []
    with torch.device("meta"):
        network = models.build(name, (3, 32, 32), 10)
        network.get_submodule(layer).register_forward_hook(lambda module, given, made: seen.append(made.shape))
        network(torch.empty(2, 3, 32, 32))
    assert seen[0][2:] == (side, side)


def test_a_wide_block_adds_its_input_as_it_came_unless_the_width_changes() -> None:
    from harness.models.small_nets import WideBlock

    torch.manual_seed(0)
    same, wider = WideBlock(4, 4, 1).eval(), WideBlock(4, 8, 2).eval()
    images = torch.randn(2, 4, 8, 8)
    for block in (same, wider):
        torch.nn.init.zeros_(block.conv2.weight)
    assert torch.equal(same(images), images)
    active = torch.relu(wider.bn1(images))
    assert torch.allclose(wider(images), wider.convShortcut(active))
