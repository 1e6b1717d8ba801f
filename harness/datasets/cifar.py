"""CIFAR-10 and CIFAR-100: the binary version read as plain bytes, else the pickled one once torchvision has checked its MD5."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy
import torch

from harness.core.errors import DataError
from harness.datasets import links
from harness.datasets.base import Dataset
from harness.datasets.cards import CIFAR_MEAN, CIFAR_STD
from harness.datasets.presence import CIFAR_FOLDERS, cifar_remedy
from harness.datasets.split import Split
from harness.files import paths

#: Records of each binary file, as published.
RECORDS = {"data_batch": 10_000, "test_batch": 10_000, "train": 50_000, "test": 10_000}
#: Bytes of one image, planes of red, green and blue.
PIXELS = 3 * 32 * 32
MAX_TEXT = 1 << 16


@dataclass(frozen=True)
class _Binary:
    """The binary version: files of each split, label bytes before each image (the last one counts), and the classes' names."""

    classes: int
    train: tuple[str, ...]
    test: str
    labels: int
    names: str


_BINARIES = {
    "cifar10": _Binary(10, tuple(f"data_batch_{i}.bin" for i in range(1, 6)), "test_batch.bin", 1, "batches.meta.txt"),
    "cifar100": _Binary(100, ("train.bin",), "test.bin", 2, "fine_label_names.txt"),  # a coarse label, then a fine one
}


def cifar10(data_dir: Path | None) -> Dataset:
    """CIFAR-10, 50,000 and 10,000 images, 3 channels, 32 px (its archive's files, downloaded when no folder is given)."""
    return _cifar("cifar10", "CIFAR10", data_dir)


def cifar100(data_dir: Path | None) -> Dataset:
    """CIFAR-100, 50,000 and 10,000 images, 3 channels, 32 px (its archive's files, downloaded when no folder is given)."""
    return _cifar("cifar100", "CIFAR100", data_dir)


def _cifar(name: str, attribute: str, data_dir: Path | None) -> Dataset:
    from harness.core.home import home

    root = data_dir if data_dir is not None else home() / "data"
    binary = root / CIFAR_FOLDERS[name][0]
    if binary.is_dir():
        return _read_binary(name, links.root(binary))
    return _read_pickled(name, attribute, root, data_dir is None)


def _read_binary(name: str, folder: Path) -> Dataset:
    version = _BINARIES[name]
    names = paths.inside(folder, version.names)
    paths.size(names, MAX_TEXT)
    classes = tuple(line.strip() for line in names.read_text("utf-8-sig", errors="replace").splitlines() if line.strip())
    if len(classes) != version.classes:
        raise DataError(f"{names}: {len(classes)} names where {name} has {version.classes} classes")
    train = [_records(folder, file, version) for file in version.train]
    return Dataset(
        name,
        Split(torch.cat([part.images for part in train]), torch.cat([part.labels for part in train])),
        _records(folder, version.test, version),
        classes,
        CIFAR_MEAN,
        CIFAR_STD,
    )


def _records(folder: Path, name: str, version: _Binary) -> Split:
    """Return the images and labels of a binary file. Raises DataError when its size or a label is not as published."""
    file = paths.inside(folder, name)
    count = RECORDS[name.removesuffix(".bin").rstrip("_0123456789")]
    length = version.labels + PIXELS
    size = paths.size(file, 1 << 30)
    if size != count * length:
        raise DataError(f"{file}: {size} bytes where {count} records of {length} bytes are expected ({count * length})")
    rows = torch.from_numpy(numpy.fromfile(file, numpy.uint8, count * length).reshape(count, length))
    labels = rows[:, version.labels - 1].long()
    if int(labels.max()) >= version.classes:
        raise DataError(f"{file}: a label of {int(labels.max())} where 0..{version.classes - 1} are expected")
    return Split(rows[:, version.labels :].reshape(count, 3, 32, 32).contiguous(), labels)


def _read_pickled(name: str, attribute: str, root: Path, download: bool) -> Dataset:
    """Read what torchvision reads: it checks the MD5 of each pickle before it loads it."""
    import torchvision.datasets

    reader: Any = getattr(torchvision.datasets, attribute)
    if not download and not (root / reader.base_folder).is_dir():
        raise DataError(f"{name}: no {'/ nor '.join(CIFAR_FOLDERS[name])}/ in {root}; {cifar_remedy(name, root)}")
    try:
        parts = {split: reader(str(root), train=split == "train", download=download) for split in ("train", "test")}
    except Exception as error:  # absent files, a failed download, a wrong checksum
        needed = f"needs {CIFAR_FOLDERS[name][0]}/ or {reader.base_folder}/ as its archive unpacks"
        remedy = "give --data-dir or set GIFTBENCH_DATA" if download else needed
        raise DataError(f"{name}: cannot be read from {root}: {error}; {remedy}") from None
    splits = {
        split: Split(torch.from_numpy(part.data).permute(0, 3, 1, 2).contiguous(), torch.tensor(part.targets, dtype=torch.int64))
        for split, part in parts.items()
    }
    return Dataset(name, splits["train"], splits["test"], tuple(parts["train"].classes), CIFAR_MEAN, CIFAR_STD)
