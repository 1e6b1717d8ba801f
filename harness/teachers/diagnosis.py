"""Why a published teacher is not as good here as its authors say: the usual mistakes, each tried."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from harness.datasets.base import Dataset
from harness.models.fitting import Statistics
from harness.training.evaluation import hits
from harness.training.values import Material

#: Test images that a mistake is tried on, evenly spaced.
SAMPLE = 2000
#: Points by which a mistake may miss the accuracy that is known, or by which it must beat ours, to be named.
NEAR, BETTER = 3.0, 5.0

#: Normalisations that published teachers were trained with, whatever their data.
KNOWN: dict[str, Statistics] = {
    "ImageNet's statistics": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "CIFAR's statistics": ((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)),
    "CIFAR-10's own statistics": ((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)),
    "CIFAR-100's own statistics": ((0.5071, 0.4867, 0.4408), (0.2675, 0.2565, 0.2761)),
}


@dataclass(frozen=True)
class Cause:
    """A mistake that would explain it: accuracy without it in percent, on how many images, what was changed, what to do."""

    accuracy: float
    images: int
    change: str
    remedy: str

    def __str__(self) -> str:
        sampled = f" of {self.images} test images" if self.images == SAMPLE else ""
        return f"{self.change} it reaches {self.accuracy:.1f} %{sampled}: {self.remedy}"


def cause(network: nn.Module, dataset: Dataset, used: Statistics, device: str, expected: float) -> Cause | None:
    """Return the mistake that explains best why `network` does not reach `expected` percent on the test split, if one does.

    Args:
        network: on the device, in eval mode, its images normalised by `used`.
        used: mean and std per channel, of pixels in [0, 1].
        expected: the accuracy that it is known for.
    """
    images, labels = _sample(dataset)
    measured = _accuracy(network, images, labels, used, device)
    normalisations = list(_normalisations(network, dataset, images, labels, used, device))
    others = list(_orders(network, images, labels, used, device))
    nearest = min([*normalisations, *others], key=lambda each: abs(each.accuracy - expected))
    if abs(nearest.accuracy - expected) <= NEAR and abs(nearest.accuracy - expected) < abs(measured - expected):
        return nearest
    best = max(normalisations, key=lambda each: each.accuracy)
    return best if best.accuracy >= measured + BETTER else None


def _sample(dataset: Dataset) -> tuple[Tensor, Tensor]:
    count = len(dataset.test.labels)
    index = torch.linspace(0, count - 1, min(count, SAMPLE)).round().long()
    return dataset.test.images[index], dataset.test.labels[index]


def _accuracy(network: nn.Module, images: Tensor, labels: Tensor, statistics: Statistics, device: str) -> float:
    mean, std = (tuple(float(v) for v in values) for values in statistics)
    right, _ = hits(network, Material.on_device(device, images, labels, mean=mean, std=std))
    return float(100 * right[:, 0].double().mean())


def _normalisations(
    network: nn.Module, dataset: Dataset, images: Tensor, labels: Tensor, used: Statistics, device: str
) -> Iterator[Cause]:
    channels = dataset.shape[0]
    pixels = {
        "pixels that are not normalised": ((0.0,) * channels, (1.0,) * channels),
        "pixels in [-1, 1]": ((0.5,) * channels, (0.5,) * channels),
        "pixels in [0, 255]": ((0.0,) * channels, (1 / 255,) * channels),
        f"the statistics of {dataset.name}": (dataset.mean, dataset.std),
    }
    for name, (mean, std) in (KNOWN | pixels).items():
        if len(mean) == channels and (tuple(mean), tuple(std)) != (tuple(used[0]), tuple(used[1])):
            remedy = f"give teacher.mean = {_list(mean)} and teacher.std = {_list(std)}"
            yield Cause(_accuracy(network, images, labels, (mean, std), device), len(labels), f"with {name}", remedy)


def _orders(network: nn.Module, images: Tensor, labels: Tensor, used: Statistics, device: str) -> Iterator[Cause]:
    if images.shape[1] == 3:
        turned = _accuracy(network, images.flip(1), labels, used, device)
        yield Cause(
            turned,
            len(labels),
            "with blue, green, red images",
            "its authors read images by OpenCV; convert its first layer to RGB",
        )
    yield Cause(
        _reordered(network, images, labels, used, device),
        len(labels),
        "with its classes in another order",
        "its authors numbered the classes otherwise, as unsorted class folders do; reorder the rows of its head",
    )


def _reordered(network: nn.Module, images: Tensor, labels: Tensor, used: Statistics, device: str) -> float:
    """Return the accuracy, in percent, under the one-to-one order of the classes that makes it the highest."""
    from scipy.optimize import linear_sum_assignment

    mean, std = (tuple(float(v) for v in values) for values in used)
    material = Material.on_device(device, images, labels, mean=mean, std=std)
    with torch.inference_mode():
        parts = torch.split(torch.arange(len(labels), device=material.labels.device), 100)
        logits = torch.cat([network(material.batch(part)).float() for part in parts])
    classes = logits.shape[1]
    pairs = (material.labels * classes + logits.argmax(1)).cpu()
    confusion = torch.bincount(pairs, minlength=classes * classes).view(classes, classes)
    rows, columns = linear_sum_assignment(confusion.numpy(), maximize=True)
    return float(100 * confusion[torch.from_numpy(rows), torch.from_numpy(columns)].sum() / len(labels))


def _list(values: Sequence[float]) -> str:
    return "[" + ", ".join(f"{value:.4g}" for value in values) + "]"
