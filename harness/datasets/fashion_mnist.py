"""Fashion-MNIST from IDX files, zero-padded from 28 to 32 px or as it is."""

from __future__ import annotations

import gzip
import struct
import zlib
from math import prod
from pathlib import Path

import numpy
import torch
from torch import Tensor
from torch.nn import functional

from harness.core.errors import BadOption, DataError
from harness.datasets.base import Dataset, statistics
from harness.datasets.cards import FASHION
from harness.datasets.presence import DEBIAN, FASHION_FILES
from harness.datasets.split import Split


def fashion_mnist(data_dir: Path | None, *, size: int = 32) -> Dataset:
    """Fashion-MNIST, 60,000 and 10,000 images, 1 channel, zero-padded to 32 px (IDX files, or torchvision's download).

    Args:
        data_dir: where its files are looked for.
        size: pixels a side: 32, or 28 as published, which DC, DSA and DM are distilled at.
    Raises: BadOption for another size; DataError when the files are absent or broken.
    """
    if size not in (28, 32):
        raise BadOption(f"dataset 'fashion-mnist': size must be 28 or 32, not {size}")
    around = ((size - 28) // 2,) * 4
    folder = _folder(data_dir)
    splits = {}
    for split, (images, labels) in FASHION_FILES.items():
        pixels, classes = read_idx(_file(folder, images), 3), read_idx(_file(folder, labels), 1)
        splits[split] = Split(functional.pad(pixels[:, None], around), classes.long())
    mean, std = statistics(splits["train"].images)
    return Dataset("fashion-mnist", splits["train"], splits["test"], FASHION, mean, std, teacher_epochs=5, min_scale=0.5)


def _folder(data_dir: Path | None) -> Path:
    """Return the folder that holds the files: `data_dir` when given, else Debian's, else torchvision's download."""
    if data_dir is not None:
        for folder in (data_dir, data_dir / "fashion-mnist", data_dir / "FashionMNIST" / "raw"):
            if _file(folder, FASHION_FILES["train"][0]).exists():
                return folder
        raise DataError(
            f"fashion-mnist: no {FASHION_FILES['train'][0]}[.gz] in {data_dir} (nor in its fashion-mnist or FashionMNIST/raw)"
        )
    if _file(DEBIAN, FASHION_FILES["train"][0]).exists():
        return DEBIAN
    from torchvision.datasets import FashionMNIST

    from harness.core.home import home

    try:
        FashionMNIST(str(home() / "data"), download=True)
    except Exception as error:  # no network, a refused connection, a wrong checksum: all end here
        raise DataError(
            f"fashion-mnist: no files and the download failed ({type(error).__name__}: {error}); "
            "give --data-dir, set GIFTBENCH_DATA, or install Debian's package dataset-fashion-mnist"
        ) from None
    return home() / "data" / "FashionMNIST" / "raw"


def _file(folder: Path, name: str) -> Path:
    packed = folder / f"{name}.gz"
    return packed if packed.exists() else folder / name


def read_idx(file: Path, dimensions: int) -> Tensor:
    """Return the uint8 tensor of an IDX file, plain or gzipped. Raises DataError when it is not one or is truncated."""
    limit = 1 << 28
    try:
        with gzip.open(file) if file.suffix == ".gz" else file.open("rb") as stream:
            content = stream.read(limit)
    except FileNotFoundError:
        raise DataError(f"{file}: no such file") from None
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{file}: cannot be read: {error}") from None
    header = 4 + 4 * dimensions
    if len(content) < header or content[:4] != bytes((0, 0, 8, dimensions)):
        raise DataError(f"{file}: not an IDX file of {dimensions} dimensions of bytes")
    shape = struct.unpack(f">{dimensions}I", content[4:header])
    if not prod(shape):
        raise DataError(f"{file}: its header promises no data: {'x'.join(map(str, shape))}")
    if len(content) - header != prod(shape):
        raise DataError(f"{file}: {len(content) - header} bytes of data where its header promises {prod(shape)}")
    return torch.from_numpy(numpy.frombuffer(content, numpy.uint8, offset=header).reshape(shape).copy())
