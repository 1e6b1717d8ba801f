"""Safetensors files: what the header says is read and checked without torch, tensors when they are asked for."""

from __future__ import annotations

import errno
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING

from harness.core.errors import DataError
from harness.files import atomic
from harness.files.paths import cannot_be_read, line

if TYPE_CHECKING:
    from torch import Tensor

#: Bytes of a header, as the library itself has it.
MAX_HEADER = 100_000_000
#: Bits of one value.
BITS = {
    "F4": 4,
    **dict.fromkeys(("F6_E2M3", "F6_E3M2"), 6),
    **dict.fromkeys(("BOOL", "U8", "I8", "F8_E5M2", "F8_E4M3", "F8_E8M0", "F8_E4M3FNUZ", "F8_E5M2FNUZ"), 8),
    **dict.fromkeys(("U16", "I16", "F16", "BF16"), 16),
    **dict.fromkeys(("U32", "I32", "F32"), 32),
    **dict.fromkeys(("U64", "I64", "F64", "C64"), 64),
}


@dataclass(frozen=True)
class Stored:
    """A tensor as the header states it: the name of its type, such as `F32`, and its shape."""

    dtype: str
    shape: tuple[int, ...]

    @property
    def nbytes(self) -> int:
        """Bytes of its values."""
        return prod(self.shape) * BITS[self.dtype] // 8


@dataclass(frozen=True)
class Header:
    """What a file says of itself: words by name, and its tensors by name."""

    metadata: Mapping[str, str]
    tensors: Mapping[str, Stored]


def read_header(path: Path, what: str = "a safetensors file") -> Header:
    """Return the header of a file that is as long as its header says.

    Args:
        path: the file.
        what: it is expected to be, for messages.
    Raises: DataError, one line that names the file.
    """
    try:
        if path.exists() and not path.is_file():
            raise DataError(f"{path}: not {what}: not a regular file")  # opening a pipe would wait for its other end
        with path.open("rb") as stream:
            size = os.fstat(stream.fileno()).st_size
            length = int.from_bytes(stream.read(8), "little")
            if size < 8 or length > min(MAX_HEADER, size - 8):
                raise ValueError(f"a header of {length} bytes in a file of {size}")
            content = json.loads(stream.read(length).decode(), object_pairs_hook=_once)
        return _checked(content, size - 8 - length)
    except OSError as error:
        raise DataError(f"{path}: {cannot_be_read(error)}") from None
    except (LookupError, TypeError, ValueError, RecursionError) as error:
        raise DataError(f"{path}: not {what}, or truncated: {line(error)}") from None


def load(path: Path, what: str = "a safetensors file") -> tuple[Header, dict[str, Tensor]]:
    """Return header and tensors, which are mapped from the file. As `read_header`."""
    from safetensors import SafetensorError, safe_open

    header = read_header(path, what)
    try:
        with safe_open(path, framework="pt") as file:
            return header, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, LookupError, TypeError, ValueError) as error:
        raise DataError(f"{path}: not {what}, or truncated: {line(error)}") from None


def tensor(path: Path, name: str, what: str = "a safetensors file") -> Tensor:
    """Return one tensor, and read no other. As `load`."""
    from safetensors import SafetensorError, safe_open

    read_header(path, what)
    try:
        with safe_open(path, framework="pt") as file:
            loaded: Tensor = file.get_tensor(name)
            return loaded
    except (SafetensorError, OSError, LookupError, TypeError, ValueError) as error:
        raise DataError(f"{path}: not {what}, or truncated: {line(error)}") from None


def save(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None) -> None:
    """Write a file whole or not at all, and the folder that it lies in where there is none. Raises WriteError."""
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    atomic.make_folder(path.parent)
    with atomic.replacing(path) as temporary:
        try:
            save_file(dict(tensors), temporary, metadata=None if metadata is None else dict(metadata))
        except SafetensorError as error:  # which is no OSError, and holds the system's words
            system = re.search(r"code: (\d+)", str(error))
            raise OSError(
                int(system[1]) if system else errno.EIO, os.strerror(int(system[1])) if system else line(error)
            ) from None


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """Return a mapping of JSON whose names stand there once each."""
    content = dict(pairs)
    if len(content) != len(pairs):
        raise ValueError("a name that stands in the header twice")
    return content


def _checked(content: object, size: int) -> Header:
    """Return the header of JSON whose tensors cover the `size` bytes that follow it; else ValueError and its kin."""
    if not isinstance(content, dict):
        raise TypeError("its header is no mapping")
    metadata = content.pop("__metadata__", None) or {}
    if not isinstance(metadata, dict) or not all(isinstance(words, str) for words in metadata.values()):
        raise TypeError("its metadata is no mapping of words")
    tensors, spans = {}, []
    for name, facts in content.items():
        dtype, shape, (start, stop) = facts["dtype"], facts["shape"], facts["data_offsets"]
        if not all(type(number) is int and number >= 0 for number in (*shape, start, stop)):
            raise TypeError(f"the tensor {name!r} has a shape or a place that is none")
        if prod(shape) * BITS[dtype] != (stop - start) * 8:
            raise ValueError(f"the tensor {name!r} has {stop - start} bytes for {shape} of {dtype}")
        tensors[name] = Stored(dtype, tuple(shape))
        spans.append((start, stop))
    end = 0
    for start, stop in sorted(spans):
        if start != end:
            raise ValueError("its tensors overlap, or leave room between them")
        end = stop
    if end != size:
        raise ValueError(f"tensors of {end} bytes in {size}")
    return Header(metadata, tensors)
