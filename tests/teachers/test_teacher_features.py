"""A teacher's features: what its networks' classifiers are given."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from harness import models
from harness.core.errors import DataError
from harness.teachers.teacher import Teacher

CLASSES = 7


def teacher(*networks: nn.Module) -> Teacher:
    frozen = tuple(network.eval().requires_grad_(False) for network in networks)
    return Teacher("made up", frozen, ("",) * len(frozen), (0.0,) * len(frozen), (0.5,), (0.25,))


def built(name: str, channels: int = 3) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return models.build(name, (channels, 16, 16), CLASSES)


def images(count: int = 3, channels: int = 3) -> Tensor:
    return torch.randn(count, channels, 16, 16, generator=torch.Generator().manual_seed(0))


def hooks(network: nn.Module) -> int:
    return sum(len(module._forward_pre_hooks) for module in network.modules())


@pytest.mark.parametrize(
    ("name", "width", "classifier"),
    [
        ("convnet2(width=8)", 8 * 4 * 4, "classifier"),
        ("resnet18", 512, "fc"),
        ("efficientnet-b0", 1280, "classifier"),
        ("mobilenet-v2", 1280, "classifier"),
        ("swin-v2-tiny(patch=2)", 768, "head.fc"),
        ("timm/vit_tiny_patch16_224", 192, "head"),
    ],
)
def test_the_classifier_turns_the_features_into_the_logits(name: str, width: int, classifier: str) -> None:
    network = built(name)
    made = teacher(network)
    features = made.features(images())
    assert (features.shape, features.dtype, features.requires_grad) == ((3, width), torch.float32, False)
    assert torch.equal(network.get_submodule(classifier)(features), made.logits(images()))
    assert hooks(network) == 0


def test_the_features_of_several_networks_lie_side_by_side() -> None:
    first, second = built("convnet1(width=4)"), built("resnet18")
    both = teacher(first, second).features(images())
    assert both.shape == (3, 4 * 8 * 8 + 512)
    assert torch.equal(both, torch.cat([teacher(first).features(images()), teacher(second).features(images())], 1))


def test_no_gradient_is_kept_even_of_images_that_want_one() -> None:
    assert not teacher(built("convnet1(width=4)")).features(images().requires_grad_()).requires_grad


def test_images_in_channels_last_order_have_the_same_features() -> None:
    made = teacher(built("convnet2(width=4)"))
    last = images().contiguous(memory_format=torch.channels_last)
    assert torch.allclose(made.features(last), made.features(images()), atol=1e-5)


class TwoOfAWidth(nn.Module):
    """A hidden layer as wide as the classes, made after the classifier but run before it."""

    def __init__(self) -> None:
        super().__init__()
        self.classifier = nn.Linear(CLASSES, CLASSES)
        self.hidden = nn.Linear(3 * 16 * 16, CLASSES)

    def forward(self, given: Tensor) -> Tensor:
        logits: Tensor = self.classifier(self.hidden(given.flatten(1)).relu())
        return logits


def test_of_two_layers_as_wide_as_the_classes_the_last_to_run_is_the_classifier() -> None:
    network = TwoOfAWidth()
    made = teacher(network)
    assert torch.equal(network.classifier(made.features(images())), made.logits(images()))


def test_features_of_another_precision_are_returned_as_float32() -> None:
    made = teacher(TwoOfAWidth().double())
    assert made.features(images().double()).dtype == torch.float32


def test_a_network_without_a_linear_classifier_is_refused() -> None:
    network = nn.Sequential(
        nn.Flatten(), nn.Linear(3 * 16 * 16, 5), nn.Unflatten(1, (5, 1, 1)), nn.Conv2d(5, CLASSES, 1), nn.Flatten()
    )
    with pytest.raises(
        DataError, match=r"Sequential has no features: none of its linear layers gives its 7 logits; take "
    ) as caught:
        teacher(built("convnet1(width=4)"), network).features(images())
    assert "\n" not in str(caught.value)
    assert hooks(network) == 0


def test_no_hook_stays_when_a_network_fails() -> None:
    network = built("convnet1(width=4)")
    with pytest.raises(RuntimeError):
        teacher(network).features(images(channels=1))
    assert hooks(network) == 0
