"""Batch norm and ReLU folded into convolutions: which, that maps stay what they were, and that nothing is guessed."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from harness import models
from harness.training import folding
from harness.training.folding import Astray, Folded, Watch

SHAPE = (3, 8, 8)


@pytest.fixture(autouse=True)
def _any_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folding, "LARGE", 1)


class Way(nn.Module):
    """A convolution, a batch norm, and a way in which a forward puts them to use."""

    def __init__(self, way: Callable[[Way, Tensor], Tensor], **options: object) -> None:
        super().__init__()
        self.way = way
        self.convolution = nn.Conv2d(3, 4, 3, **{"padding": 1} | options)  # type: ignore[arg-type]
        self.norm, self.other = nn.BatchNorm2d(4), nn.BatchNorm2d(4)
        self.relu, self.changes = nn.ReLU(), nn.ReLU(inplace=True)
        self.turned = False

    def forward(self, images: Tensor) -> Tensor:
        return self.way(self, images)


def trained(network: nn.Module, seed: int = 0) -> nn.Module:
    """Return a network in eval mode whose batch norms have statistics and weights of their own."""
    stream = torch.Generator().manual_seed(seed)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d) and module.running_mean is not None and module.running_var is not None:
            with torch.no_grad():
                module.running_mean.copy_(torch.randn(module.num_features, generator=stream))
                module.running_var.copy_(torch.rand(module.num_features, generator=stream) + 0.5)
                module.weight.copy_(torch.randn(module.num_features, generator=stream))
                module.bias.copy_(torch.randn(module.num_features, generator=stream))
    return network.to(memory_format=torch.channels_last).eval()


def images(count: int = 4) -> Tensor:
    return torch.randn(count, *SHAPE, generator=torch.Generator().manual_seed(1)).contiguous(memory_format=torch.channels_last)


def both(network: nn.Module) -> tuple[Tensor, Tensor, list[bool]]:
    """Return what a network gives in a plain pass and in a folded one, and of each fold whether a ReLU is in it."""
    with torch.inference_mode():
        with Watch() as watch:
            plain = network(images())
        folds = watch.folds()
        with Folded(folds):
            return plain, network(images()), [fold.rectified for fold in folds]


def shared(own: Way, x: Tensor) -> Tensor:
    return own.norm(own.convolution(x)) + own.other(own.convolution(x))


def branch(own: Way, x: Tensor) -> Tensor:
    maps = own.convolution(x)
    return own.norm(maps) + maps


def residual(own: Way, x: Tensor) -> Tensor:
    normalised = own.norm(own.convolution(x))
    return own.relu(normalised) + normalised


def ignored(own: Way, x: Tensor) -> Tensor:
    """The ReLU changes what it reads, and what it returns is not looked at."""
    normalised = own.norm(own.convolution(x))
    own.changes(normalised)
    return normalised


WAYS: dict[str, tuple[Callable[[Way, Tensor], Tensor], list[bool]]] = {
    "a ReLU after it": (lambda own, x: own.relu(own.norm(own.convolution(x))), [True]),
    "a ReLU in place": (lambda own, x: own.changes(own.norm(own.convolution(x))), [True]),
    "a ReLU in place whose answer is not looked at": (ignored, [True]),
    "torch's function": (lambda own, x: F.relu(own.norm(own.convolution(x))), [True]),
    "the tensor's function": (lambda own, x: own.norm(own.convolution(x)).relu_(), [True]),
    "no ReLU": (lambda own, x: own.norm(own.convolution(x)) * 2, [False]),
    "nothing after it": (lambda own, x: own.norm(own.convolution(x)), [False]),
    "its form is asked for": (lambda own, x: own.relu(own.norm(own.convolution(x))).flatten(1, x.dim() - 1), [True]),
    "the norm is read beside the ReLU": (residual, [False]),
    "the maps are read beside the norm": (branch, []),
    "a convolution of two norms": (shared, []),
    "a ReLU between them": (lambda own, x: own.norm(own.relu(own.convolution(x))), []),
    "maps changed in place before the norm": (lambda own, x: own.norm(own.convolution(x).add_(1)), []),
    "a view of the maps": (lambda own, x: own.norm(own.convolution(x)[:, :, 1:]), []),
}


@pytest.mark.parametrize("name", WAYS)
def test_what_only_a_norm_reads_is_folded_and_no_maps_change(name: str) -> None:
    way, rectified = WAYS[name]
    torch.manual_seed(0)
    plain, folded, folds = both(trained(Way(way)))
    assert folds == rectified
    torch.testing.assert_close(folded, plain, rtol=1e-5, atol=1e-5)
    assert torch.equal(folded, plain) == (not folds)


@pytest.mark.parametrize(
    "options", [{"bias": False}, {"stride": 2}, {"dilation": (2, 1)}, {"padding": (0, 1)}, {"kernel_size": 1}]
)
def test_convolutions_of_any_form_are_folded(options: dict[str, object]) -> None:
    class Own(Way):
        def __init__(self) -> None:
            super().__init__(lambda own, x: own.relu(own.norm(own.convolution(x))))
            self.convolution = nn.Conv2d(3, 4, **{"kernel_size": 3} | options)  # type: ignore[arg-type]

    plain, folded, folds = both(trained(Own()))
    assert folds == [True]
    torch.testing.assert_close(folded, plain, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    "change",
    [
        lambda own: setattr(own, "norm", nn.BatchNorm2d(4, track_running_stats=False)),
        lambda own: setattr(own, "convolution", nn.Conv2d(3, 4, 3, padding="same")),
        lambda own: own.norm.running_var.fill_(torch.inf),
        lambda own: own.norm.weight.data.fill_(torch.nan),
        lambda own: own.norm.train(),
    ],
)
def test_nothing_is_folded_that_is_not_a_product_of_weights_which_are_known(change: Callable[[Way], object]) -> None:
    network = trained(Way(lambda own, x: own.norm(own.convolution(x))))
    change(network)  # type: ignore[arg-type]
    with torch.inference_mode(), Watch() as watch:
        network(images())
    assert watch.folds() == []


def turns(own: Way, x: Tensor) -> Tensor:
    maps = own.convolution(x)
    return own.other(maps) if own.turned else own.norm(maps)


def leaves_out(own: Way, x: Tensor) -> Tensor:
    maps = own.convolution(x)
    return maps if own.turned else own.norm(maps)


def looks_first(own: Way, x: Tensor) -> Tensor:
    maps = own.convolution(x)
    return own.norm(maps) + (maps.mean() if own.turned else 0)


def no_relu(own: Way, x: Tensor) -> Tensor:
    normalised = own.norm(own.convolution(x))
    return normalised.flatten(1) if own.turned else own.relu(normalised)


def reads_again(own: Way, x: Tensor) -> Tensor:
    normalised = own.norm(own.convolution(x))
    return own.relu(normalised) + (normalised if own.turned else 0)


@pytest.mark.parametrize("way", [turns, leaves_out, looks_first, no_relu, reads_again])
def test_a_pass_in_which_maps_go_another_way_ends(way: Callable[[Way, Tensor], Tensor]) -> None:
    network = trained(Way(way))
    assert isinstance(network, Way)
    with torch.inference_mode():
        with Watch() as watch:
            network(images())
        folds = watch.folds()
        with Folded(folds):
            network(images())
        network.turned = True
        with pytest.raises(Astray), Folded(folds):
            network(images())


@pytest.mark.parametrize(
    ("name", "folds", "rectified"),
    [("convnet3(width=4)", 3, 3), ("convnet3(width=4,norm=instance)", 0, 0), ("resnet18", 20, 9), ("wrn-16-2", 7, 7)],
)
def test_of_students_that_ship(name: str, folds: int, rectified: int) -> None:
    torch.manual_seed(0)
    network = trained(models.build(models.registry.resolve(name), SHAPE, 5))
    plain, folded, kinds = both(network)
    assert (len(kinds), sum(kinds)) == (folds, rectified)
    torch.testing.assert_close(folded, plain, rtol=1e-4, atol=1e-4 * float(plain.abs().max()))


def test_small_maps_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    network = trained(Way(lambda own, x: own.norm(own.convolution(x))))
    for large, folds in ((4 * 4 * 64, 1), (4 * 4 * 64 + 1, 0)):
        monkeypatch.setattr(folding, "LARGE", large)
        with torch.inference_mode(), Watch() as watch:
            network(images(4))
        assert len(watch.folds()) == folds
