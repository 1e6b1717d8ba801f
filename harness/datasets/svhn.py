"""SVHN's cropped digits from the two MATLAB files that its authors publish."""

from __future__ import annotations

from math import prod
from pathlib import Path

import numpy
import torch

from harness.core.errors import DataError
from harness.datasets.base import Dataset
from harness.datasets.cards import DIGITS, SVHN_MEAN, SVHN_STD
from harness.datasets.downloads import downloaded
from harness.datasets.presence import SVHN_FILES, svhn_places, svhn_remedy
from harness.datasets.split import Split
from harness.files import paths

#: Bytes of a file, and images in one; the larger file has 182 MB and 73,257.
MAX_BYTES, MAX_IMAGES = 1 << 31, 1 << 20


def svhn(data_dir: Path | None) -> Dataset:
    """SVHN's cropped digits, 73,257 and 26,032 images, 3 channels, 32 px (its .mat files, or a download of 250 MB)."""
    train, test = (_read(_folder(data_dir) / name) for name in SVHN_FILES)
    return Dataset("svhn", train, test, DIGITS, SVHN_MEAN, SVHN_STD, min_scale=0.5)


def _folder(data_dir: Path | None) -> Path:
    for place in svhn_places(data_dir):
        if (place / SVHN_FILES[0]).exists():
            return place
    if data_dir is not None:
        raise DataError(f"svhn: no {SVHN_FILES[0]} in {data_dir} (nor in its svhn/ or SVHN/); {svhn_remedy(data_dir)}")
    downloaded("svhn", "SVHN", "182 MB", split="train")
    return downloaded("svhn", "SVHN", "64 MB", split="test")


def _read(file: Path) -> Split:
    """Return the images, X [32, 32, 3, N], and labels, y [N, 1] in 1..10, 10 being the digit 0."""
    from scipy.io import loadmat, whosmat

    paths.size(file, MAX_BYTES)
    try:
        said = {name: (tuple(shape), kind) for name, shape, kind in whosmat(file)}
        shape, kind = said.get("X", ((), ""))
        count = shape[3] if len(shape) == 4 else 0
        if shape != (32, 32, 3, count) or not 0 < count <= MAX_IMAGES or kind != "uint8":
            raise DataError(f"its X is {kind or 'absent'} {list(shape)}, expected uint8 [32, 32, 3, N]")
        if prod(said.get("y", ((), ""))[0]) != count or not said["y"][0]:
            raise DataError(f"its y is {list(said.get('y', ((), ''))[0])}, expected [{count}, 1]")
        content = loadmat(file, variable_names=["X", "y"])
        if content["X"].shape != shape or content["X"].dtype != numpy.uint8 or content["y"].size != count:
            raise DataError("it holds something else under X and y than its headers say")
        labels = torch.from_numpy(content["y"].astype(numpy.int64).reshape(-1))
        pixels = torch.from_numpy(numpy.ascontiguousarray(content["X"].transpose(3, 2, 0, 1)))
    except DataError as error:
        raise DataError(f"{file}: {error}") from None
    except Exception as error:  # a damaged file may raise anything in scipy
        raise DataError(
            f"{file}: not the MATLAB file that SVHN publishes ({type(error).__name__}: {paths.line(error)})"
        ) from None
    if int(labels.min()) < 1 or int(labels.max()) > 10:
        raise DataError(f"{file}: labels {int(labels.min())}..{int(labels.max())} where 1..10 are expected")
    return Split(pixels, labels % 10)
