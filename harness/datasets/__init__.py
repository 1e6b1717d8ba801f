"""Datasets by name: `datasets.load("fashion-mnist", data_dir=…)`. A dataset is a train and a test split in uint8.

A dataset plugin is a function `name(data_dir: Path | None, *, option=default) -> Dataset`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.registry import Registry
from harness.spec import Spec

if TYPE_CHECKING:
    from harness.datasets.base import Dataset

registry: Registry[Any] = Registry("dataset", group="giftbench.datasets")
register, create, get, names, describe = registry.register, registry.create, registry.get, registry.names, registry.describe

for _name, _target in {
    "digits": "digits:digits",
    "fashion-mnist": "fashion_mnist:fashion_mnist",
    "cifar10": "cifar:cifar10",
    "cifar100": "cifar:cifar100",
    "folder/*": "folder:folder",
}.items():
    registry.add(_name, f"harness.datasets.{_target}")


def load(spec: str | Mapping[str, Any] | Spec, data_dir: str | Path | None = None) -> Dataset:
    """Return a dataset. `data_dir` defaults to the environment's GIFTBENCH_DATA.

    Raises: UnknownName, BadOption; DataError when the files are absent or broken.
    """
    from harness.datasets.base import Dataset
    from harness.errors import DataError

    spec = registry.resolve(spec)
    folder = data_dir if data_dir is not None else os.environ.get("GIFTBENCH_DATA") or None
    dataset = registry.create(spec)(Path(folder) if folder else None)
    if not isinstance(dataset, Dataset):
        raise DataError(f"dataset {spec.name!r} returned {type(dataset).__name__}, not a Dataset")
    return dataset
