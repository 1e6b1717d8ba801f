"""Arrays of numpy's .npz and .npy files from elsewhere: numbers alone, as large as the file says and has; no pickle is read."""

from __future__ import annotations

import io
import math
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy

from harness.core.errors import DataError
from harness.files import paths

#: Bytes of a file; entries; how many times larger than the file, beside `FREE` bytes, the arrays may be.
MAX_BYTES, MAX_ENTRIES, MAX_RATIO, FREE = 64 << 30, 1000, 100, 256 << 20
#: Bytes of an array's description, which numpy reads as a Python literal.
MAX_HEADER = 10_000
KINDS = "buif"

Array = numpy.ndarray[Any, numpy.dtype[Any]]


@dataclass(frozen=True)
class Stored:
    """An array as its file describes it: its name, shape, numpy type and bytes on disk."""

    name: str
    shape: tuple[int, ...]
    dtype: numpy.dtype[Any]
    packed: int


class Arrays:
    """The arrays of an .npz file, described when it is opened and read when asked for. Made by `opened`."""

    def __init__(self, path: Path, archive: zipfile.ZipFile, size: int) -> None:
        self._path, self._archive = path, archive
        self.stored: dict[str, Stored] = {}
        listed = archive.infolist()
        if len(listed) > MAX_ENTRIES:
            raise DataError(f"more than {MAX_ENTRIES} entries")
        if sum(info.file_size for info in listed) > min(MAX_BYTES, MAX_RATIO * size + FREE):
            raise DataError(f"its arrays claim more than {MAX_RATIO} times its size")
        for info in listed:
            name = info.filename.removesuffix(".npy")
            if name == info.filename or name in self.stored or paths.UNFIT.search(name):
                raise DataError(f"the entry {info.filename[:80]!a} is no array, or twice there")
            with archive.open(info) as stream:
                self.stored[name] = _described(stream, name, info.file_size, info.compress_size)

    def read(self, name: str) -> Array:
        """Return an array, every byte of it read and its checksum compared. Raises DataError, one line that names the file."""
        with _refusing(self._path), self._archive.open(f"{name}.npy") as stream:
            return _array(stream, self.stored[name])


@contextmanager
def opened(path: Path) -> Iterator[Arrays]:
    """Give the arrays of an .npz file. Raises DataError, one line that names it, for one that is not that."""
    size = paths.size(path, MAX_BYTES)
    with _refusing(path):
        archive = zipfile.ZipFile(path)
    with archive:
        with _refusing(path):
            arrays = Arrays(path, archive, size)
        yield arrays


@contextmanager
def _refusing(path: Path) -> Iterator[None]:
    try:
        yield
    except DataError as error:
        raise DataError(f"{path}: {paths.line(error)}") from None
    except (zipfile.BadZipFile, zlib.error, OSError, EOFError, ValueError, RuntimeError, LookupError, OverflowError) as error:
        raise DataError(f"{path}: no .npz file, or damaged ({type(error).__name__}: {paths.line(error)[:120]})") from None


def _described(stream: IO[bytes], name: str, size: int, packed: int) -> Stored:
    """Return what an array's own description says. Raises DataError where that is no numbers, or not what the file holds."""
    start = io.BytesIO(stream.read(MAX_HEADER + 16))
    version = numpy.lib.format.read_magic(start)
    reader = {(1, 0): numpy.lib.format.read_array_header_1_0, (2, 0): numpy.lib.format.read_array_header_2_0}.get(version)
    if reader is None:
        raise DataError(f"array {name[:80]!r} is of numpy's format {version}, which only named fields need")
    try:
        shape, _, dtype = reader(start, max_header_size=MAX_HEADER)
    except Exception as error:  # a description is a Python literal, and numpy raises whatever reading one does
        raise ValueError(paths.line(error)) from None
    if dtype.hasobject or dtype.kind not in KINDS or dtype.itemsize > 8:
        what = "Python objects, which would have to be run" if dtype.hasobject else str(dtype)[:40]
        raise DataError(f"array {name[:80]!r} holds {what}; expected numbers")
    if len(shape) > 8 or any(type(side) is not int or side < 0 for side in shape):
        raise DataError(f"array {name[:80]!r} has no shape")
    if math.prod(shape) * dtype.itemsize + start.tell() != size:
        raise DataError(f"array {name[:80]!r} is said to be {dtype} {list(shape)}, its bytes are others")
    return Stored(name, tuple(shape), dtype, packed)


def _array(stream: IO[bytes], stored: Stored) -> Array:
    """Return an array whose description has been checked."""
    content = stream.read()
    start = io.BytesIO(content[: MAX_HEADER + 16])
    version = numpy.lib.format.read_magic(start)
    read = numpy.lib.format.read_array_header_1_0 if version == (1, 0) else numpy.lib.format.read_array_header_2_0
    shape, fortran, dtype = read(start, max_header_size=MAX_HEADER)
    flat = numpy.frombuffer(content, dtype, count=math.prod(shape), offset=start.tell())
    array: Array = flat.reshape(shape, order="F" if fortran else "C").astype(dtype.newbyteorder("="), order="C")
    return array
