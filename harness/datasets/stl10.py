"""STL-10 from the binary files that its archive unpacks to; its unlabelled images are not read."""

from __future__ import annotations

from pathlib import Path

import numpy
import torch

from harness.core.errors import DataError
from harness.datasets.base import Dataset
from harness.datasets.cards import STL10, STL_MEAN, STL_STD
from harness.datasets.downloads import downloaded
from harness.datasets.presence import STL_FOLDER, stl_places, stl_remedy
from harness.datasets.split import Split
from harness.files import paths

#: Images of each split, as published, and bytes of one: planes of red, green and blue, each column by column.
IMAGES = {"train": 5_000, "test": 8_000}
SIDE = 96
PIXELS = 3 * SIDE * SIDE


def stl10(data_dir: Path | None) -> Dataset:
    """STL-10, 5,000 and 8,000 images, 3 channels, 96 px (stl10_binary/, or torchvision's download of 2.6 GB)."""
    folder = _folder(data_dir)
    return Dataset("stl10", _split(folder, "train"), _split(folder, "test"), STL10, STL_MEAN, STL_STD)


def _folder(data_dir: Path | None) -> Path:
    for place in stl_places(data_dir):
        if place.is_dir():
            return paths.folder(place)
    if data_dir is not None:
        raise DataError(f"stl10: no {STL_FOLDER}/ in {data_dir}; {stl_remedy(data_dir)}")
    return paths.folder(downloaded("stl10", "STL10", "2.6 GB") / STL_FOLDER)


def _split(folder: Path, split: str) -> Split:
    """Return a split's images and labels, 1..10 in the file. Raises DataError when a size or a label is not as published."""
    count = IMAGES[split]
    pixels = _bytes(folder / f"{split}_X.bin", count * PIXELS)
    labels = _bytes(folder / f"{split}_y.bin", count).long()
    if int(labels.min()) < 1 or int(labels.max()) > len(STL10):
        said = f"labels {int(labels.min())}..{int(labels.max())}"
        raise DataError(f"{folder / f'{split}_y.bin'}: {said} where 1..{len(STL10)} are expected")
    return Split(pixels.view(count, 3, SIDE, SIDE).transpose(2, 3).contiguous(), labels - 1)


def _bytes(file: Path, count: int) -> torch.Tensor:
    size = paths.size(file, 1 << 30)
    if size != count:
        raise DataError(f"{file}: {size} bytes where {count} are expected")
    return torch.from_numpy(numpy.fromfile(file, numpy.uint8, count))
