"""Datasets by name: `datasets.load("fashion-mnist", data_dir=…)`. A dataset is a train and a test split in uint8.

A dataset plugin is a function `name(data_dir: Path | None, *, option=default) -> Dataset`. One of many image files lists them
(`class_folders.by_class`), decodes the test split once (`decoded.decoded_split`), train on demand (`decoded.LazySplit`).
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from harness.core.registry import Registry
from harness.core.resolved import Resolved
from harness.core.spec import Named, Spec

if TYPE_CHECKING:
    from harness.datasets.base import Dataset
    from harness.datasets.cards import Card

registry: Registry[Callable[[Path | None], Dataset]] = Registry("dataset", group="giftbench.datasets")
register, create, get, names, describe = registry.register, registry.create, registry.get, registry.names, registry.describe

#: Parameters that a dataset has been given since trials were recorded with it.
_LATER = {"fashion-mnist": ("size",), "folder/*": ("column",)}

for _name, _target in {
    "digits": "digits:digits",
    "fashion-mnist": "fashion_mnist:fashion_mnist",
    "mnist": "mnist:mnist",
    "svhn": "svhn:svhn",
    "stl10": "stl10:stl10",
    "cinic10": "cinic10:cinic10",
    "cifar10": "cifar:cifar10",
    "cifar100": "cifar:cifar100",
    "tiny-imagenet": "tiny_imagenet:tiny_imagenet",
    "imagenet-1k": "imagenet:imagenet_1k",
    "imagenette": "imagenet:imagenette",
    "imagewoof": "imagenet:imagewoof",
    "imagefruit": "imagenet:imagefruit",
    "imagemeow": "imagenet:imagemeow",
    "imagesquawk": "imagenet:imagesquawk",
    "imageyellow": "imagenet:imageyellow",
    "folder/*": "folder:folder",
}.items():
    registry.add(_name, f"harness.datasets.{_target}", later=_LATER.get(_name, ()))


def folder_of(data_dir: str | Path | None) -> Path | None:
    """Return the folder of the datasets' files: `data_dir`, else the environment's GIFTBENCH_DATA, else None."""
    folder = data_dir if data_dir is not None else os.environ.get("GIFTBENCH_DATA")
    return Path(folder).expanduser() if folder else None


def load(spec: Named | Resolved[object], data_dir: str | Path | None = None) -> Dataset:
    """Return a dataset. `data_dir` defaults to the environment's GIFTBENCH_DATA.

    Raises: UnknownName, BadOption; DataError when the files are absent or broken.
    """
    from harness.core.errors import DataError
    from harness.datasets.base import Dataset

    resolved = registry.resolve(spec)
    dataset = resolved.create()(folder_of(data_dir))
    if not isinstance(dataset, Dataset):
        raise DataError(f"dataset {resolved.name!r} returned {type(dataset).__name__}, not a Dataset")
    return dataset


def card(spec: Named | Resolved[object], data_dir: str | Path | None = None) -> Card:
    """Return a dataset's name, shape, number of classes and normalisation: of those that ship without reading a file.

    Raises: as `load`; DataError for a folder or a plugin whose files are absent.
    """
    from harness.datasets.cards import Card, known

    resolved = registry.resolve(spec)
    shipped = known(resolved.spec)
    if shipped is not None:
        return replace(shipped, names=_chosen(resolved.spec)) if resolved.spec.options.get("classes") else shipped
    data = load(resolved, data_dir)
    return Card(data.name, data.shape, len(data.classes), data.mean, data.std, data.classes)


def _chosen(spec: Spec) -> tuple[str, ...]:
    """Return the WordNet ids of some classes of ImageNet-1K, in the order in which a spec names them."""
    from harness.datasets.imagenet import wordnet_ids

    classes = spec.options["classes"]
    return tuple(wordnet_ids([name for name in classes if isinstance(name, (str, int))])) if isinstance(classes, list) else ()


def at_hand(spec: Named | Resolved[object], data_dir: str | Path | None = None) -> tuple[bool, str]:
    """Return whether a dataset's files are there, and where they are or, in one line, what to do. Nothing is read or downloaded.

    Raises: UnknownName, BadOption.
    """
    from harness.datasets.presence import find

    return find(registry.resolve(spec).spec, folder_of(data_dir))
