"""IDX files, which MNIST and Fashion-MNIST are published in."""

from __future__ import annotations

import gzip
import struct
import zlib
from math import prod
from pathlib import Path

import numpy
import torch
from torch import Tensor

from harness.core.errors import DataError


def packed_or_plain(folder: Path, name: str) -> Path:
    """Return a file's gzipped form where it is there, else the file."""
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
