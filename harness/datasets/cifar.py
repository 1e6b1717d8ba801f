"""CIFAR-10 and CIFAR-100 through torchvision, which checks the download's MD5."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from harness.datasets.base import Dataset, Split
from harness.errors import DataError

MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)


def cifar10(data_dir: Path | None) -> Dataset:
    """CIFAR-10, 50,000 and 10,000 images, 3 channels, 32 px (torchvision's files, downloaded when no folder is given)."""
    return _cifar("cifar10", "CIFAR10", data_dir)


def cifar100(data_dir: Path | None) -> Dataset:
    """CIFAR-100, 50,000 and 10,000 images, 3 channels, 32 px (torchvision's files, downloaded when no folder is given)."""
    return _cifar("cifar100", "CIFAR100", data_dir)


def _cifar(name: str, attribute: str, data_dir: Path | None) -> Dataset:
    import torchvision.datasets

    from harness.home import home

    reader: Any = getattr(torchvision.datasets, attribute)
    root, download = (data_dir, False) if data_dir is not None else (home() / "data", True)
    try:
        parts = {split: reader(str(root), train=split == "train", download=download) for split in ("train", "test")}
    except Exception as error:  # absent files, a failed download, a wrong checksum
        remedy = (
            f"needs {reader.base_folder}/ as its archive unpacks"
            if data_dir is not None
            else "give --data-dir or set GIFTBENCH_DATA"
        )
        raise DataError(f"{name}: cannot be read from {root}: {error}; {remedy}") from None
    splits = {
        split: Split(torch.from_numpy(part.data).permute(0, 3, 1, 2).contiguous(), torch.tensor(part.targets, dtype=torch.int64))
        for split, part in parts.items()
    }
    return Dataset(name, splits["train"], splits["test"], tuple(parts["train"].classes), MEAN, STD)
