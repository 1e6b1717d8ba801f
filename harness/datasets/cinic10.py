"""CINIC-10 as its archive unpacks: {train,valid,test}/CLASS/*.png."""

from __future__ import annotations

from pathlib import Path

from harness.core.errors import DataError
from harness.datasets import links
from harness.datasets.base import Dataset
from harness.datasets.cards import CIFAR10, CINIC_MEAN, CINIC_STD
from harness.datasets.class_folders import by_class
from harness.datasets.decoded import LazySplit, decoded_split
from harness.datasets.presence import cinic_places, cinic_remedy, is_cinic
from harness.files.pixels import Form

FORM = Form((3, 32, 32))


def cinic10(data_dir: Path | None) -> Dataset:
    """CINIC-10, 90,000 and 90,000 images, 3 channels, 32 px (needs its files); its valid/ is not read."""
    place = next((place for place in cinic_places(data_dir) if is_cinic(place)), None)
    if place is None:
        raise DataError(f"cinic10: no test/airplane/ in {data_dir or 'a data folder'} or below it; {cinic_remedy(data_dir)}")
    root = links.root(place)
    absent = "" if (root / "train").is_dir() else f"cinic10: no {root / 'train'}/CLASS/; teachers, distillers and ZCA need it"
    test = by_class("cinic10: test", root, "test", CIFAR10)
    train = LazySplit(lambda: by_class("cinic10: train", root, "train", CIFAR10), FORM, absent)
    return Dataset("cinic10", train, decoded_split(test, FORM), CIFAR10, CINIC_MEAN, CINIC_STD, remarks=test.notes)
