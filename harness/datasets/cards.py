"""What is known of a dataset before a file of it is read."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from harness.datasets.subsets import SUBSETS

if TYPE_CHECKING:
    from harness.core.spec import Spec

#: Per channel, of pixels in [0, 1]: what torchvision's and most authors' ImageNet code normalises by, Tiny-ImageNet's too.
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
#: What the authors of distilled sets normalise CIFAR-10 and CIFAR-100 by.
CIFAR_MEAN, CIFAR_STD = (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)
#: What DC, DSA, DM and CAFE normalise SVHN and MNIST (28 px) by: their own statistics, rounded to four digits.
SVHN_MEAN, SVHN_STD = (0.4377, 0.4438, 0.4728), (0.1980, 0.2010, 0.1970)
MNIST_MEAN, MNIST_STD = 0.1307, 0.3081
#: Of STL-10's 5,000 labelled train images, as most code that trains on it has them.
STL_MEAN, STL_STD = (0.4467, 0.4398, 0.4066), (0.2603, 0.2566, 0.2713)
#: What the README of CINIC-10 states (Darlow et al., 2018), rounded to four digits.
CINIC_MEAN, CINIC_STD = (0.4789, 0.4723, 0.4305), (0.2421, 0.2383, 0.2587)


@dataclass(frozen=True)
class Card:
    """A dataset's name, image shape, number of classes and normalisation.

    Attributes:
        name: as boards write it, without options.
        shape: (channels, height, width) in pixels.
        classes: how many.
        mean, std: per channel, of pixels in [0, 1]; empty when only the data tell.
        names: of the classes, in their order; empty when only the data tell. A card is the same with and without them.
    """

    name: str
    shape: tuple[int, int, int]
    classes: int
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    names: tuple[str, ...] = field(default=(), compare=False)


#: What the classes of datasets that ship are called, in their order. Tiny-ImageNet's words lie in its files alone.
DIGITS = tuple(map(str, range(10)))
FASHION = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")
STL10 = ("airplane", "bird", "car", "cat", "deer", "dog", "horse", "monkey", "ship", "truck")
CIFAR10 = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
_CIFAR100 = """
    apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus butterfly camel can
    castle caterpillar cattle chair chimpanzee clock cloud cockroach couch crab crocodile cup dinosaur dolphin
    elephant flatfish forest fox girl hamster house kangaroo keyboard lamp lawn_mower leopard lion lizard lobster
    man maple_tree motorcycle mountain mouse mushroom oak_tree orange orchid otter palm_tree pear pickup_truck
    pine_tree plain plate poppy porcupine possum rabbit raccoon ray road rocket rose sea seal shark shrew skunk
    skyscraper snail snake spider squirrel streetcar sunflower sweet_pepper table tank telephone television tiger
    tractor train trout tulip turtle wardrobe whale willow_tree wolf woman worm
"""
CIFAR100 = tuple(_CIFAR100.split())
_NAMES = {
    "digits": DIGITS,
    "fashion-mnist": FASHION,
    "mnist": DIGITS,
    "svhn": DIGITS,
    "stl10": STL10,
    "cinic10": CIFAR10,
    "cifar10": CIFAR10,
    "cifar100": CIFAR100,
}

_FIXED = {
    "digits": Card("digits", (1, 16, 16), 10, (0.3052,), (0.3185,)),
    "fashion-mnist": Card("fashion-mnist", (1, 32, 32), 10, (0.219,), (0.3318,)),
    "svhn": Card("svhn", (3, 32, 32), 10, SVHN_MEAN, SVHN_STD),
    "stl10": Card("stl10", (3, 96, 96), 10, STL_MEAN, STL_STD),
    "cinic10": Card("cinic10", (3, 32, 32), 10, CINIC_MEAN, CINIC_STD),
    "cifar10": Card("cifar10", (3, 32, 32), 10, CIFAR_MEAN, CIFAR_STD),
    "cifar100": Card("cifar100", (3, 32, 32), 100, CIFAR_MEAN, CIFAR_STD),
    "tiny-imagenet": Card("tiny-imagenet", (3, 64, 64), 200, IMAGENET_MEAN, IMAGENET_STD),
}
_FASHION_28 = Card("fashion-mnist", (1, 28, 28), 10, (0.286,), (0.353,))
_SIZED = {"imagenet-1k": 1000}


def known(spec: Spec) -> Card | None:
    """Return the card of a resolved spec of a dataset that ships; None for folders and plugins, whose data tell."""
    if spec.name == "fashion-mnist" and spec.options.get("size") == 28:
        return _FASHION_28
    if spec.name == "mnist":
        return mnist_card(spec.options["size"])
    if spec.name in _FIXED:
        return replace(_FIXED[spec.name], names=_NAMES.get(spec.name, ()))
    if spec.name in _SIZED or spec.name in SUBSETS:
        size = spec.options["size"]
        classes = len(spec.options.get("classes") or ()) or _SIZED.get(spec.name) or len(SUBSETS[spec.name])
        return Card(spec.name, (3, size, size), classes, IMAGENET_MEAN, IMAGENET_STD, _wordnet_ids(spec))
    return None


def mnist_card(size: int) -> Card:
    """Return the card of MNIST at 28 px, or with black around its images: moments thinned by the share of its own pixels."""
    share = (28 / size) ** 2
    mean = MNIST_MEAN * share
    std = ((MNIST_STD**2 + MNIST_MEAN**2) * share - mean**2) ** 0.5
    return Card("mnist", (1, size, size), 10, (round(mean, 4),), (round(std, 4),), DIGITS)


def _wordnet_ids(spec: Spec) -> tuple[str, ...]:
    """Return the WordNet ids of the classes of a named subset of ImageNet-1K; of others the list of all thousand tells them."""
    return tuple(SUBSETS[spec.name].values()) if spec.name in SUBSETS else ()
