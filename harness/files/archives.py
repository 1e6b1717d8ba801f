"""Zip and tar archives from elsewhere, unpacked within limits: regular files of plain names alone, and no more than is stated."""

from __future__ import annotations

import bz2
import errno
import gzip
import io
import lzma
import os
import re
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, cast

from harness.core.errors import DataError, WriteError
from harness.files import paths

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

#: Bytes of an archive, of all that is in it, and of what a description in a tar may have; entries.
MAX_BYTES, MAX_DESCRIPTION, MAX_ENTRIES = 64 << 30, 1 << 20, 2_000_000
#: Bytes that may come after the last entry of a tar, which pads itself with zeros.
MAX_END = 64 << 20
#: How many times larger than the archive, beside `FREE` bytes, its content may be: images and tensors hardly compress.
MAX_RATIO, FREE = 100, 256 << 20
CHUNK = 1 << 20
TAR = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")
OTHERS = (".rar", ".7z", ".tar.zst", ".tzst", ".tar.lz4")
#: How files of torch.save begin: zip archives, and pickles from before version 1.6. Some are called .tar.
SAVED = (b"PK\x03\x04", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")

#: What the readers of archives raise for a broken one, and what an operating system does that cannot write.
_DAMAGE = (
    *(OSError, EOFError, ValueError, RuntimeError, LookupError, OverflowError),
    *(zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError),
)
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EIO)

_openers: dict[bytes, Callable[[Path], IO[bytes]]] = {
    b"\x1f\x8b": cast("Callable[[Path], IO[bytes]]", gzip.open),
    b"BZh": cast("Callable[[Path], IO[bytes]]", bz2.open),
    b"\xfd7zXZ": cast("Callable[[Path], IO[bytes]]", lzma.open),
}


@dataclass(frozen=True)
class Entry:
    """A regular file in an archive: its name, relative and plain, its bytes as stated, and what gives them."""

    name: str
    size: int
    open: Callable[[], IO[bytes]]


def kind(path: Path) -> str:
    """Return "zip" or "tar" for a file that is unpacked, by its name and its first bytes; "" for any other.

    Raises: DataError for an archive of a kind that is not read.
    """
    name = path.name.casefold()
    if not path.is_file() or not name.endswith((".zip", *TAR, *OTHERS)):
        return ""
    if name.endswith(OTHERS):
        raise DataError(f"{path}: such archives are not read, zip and tar are; unpack it, and give the folder")
    if name.endswith(".zip"):
        return "zip"
    with path.open("rb") as file:
        return "" if name.endswith(".tar") and file.read(4).startswith(SAVED) else "tar"


def unpack(path: Path, into: Path) -> int:
    """Unpack an archive into a folder that exists; return how many entries were passed over as strays.

    Raises: DataError, one line that names the archive, for what `kind` does not call one, for links, devices, encrypted
        entries, names that are not plain, two files of one name, content of more than is stated or of more than MAX_RATIO times
        the archive's bytes, and for any damage; WriteError where the disk has no room. What was written by then stays.
    """
    size = paths.size(path, MAX_BYTES)
    limit = min(MAX_BYTES, MAX_RATIO * size + FREE)
    listing = {"zip": _zipped, "tar": _tarred}.get(kind(path))
    if listing is None:
        raise DataError(f"{path}: not a zip or tar archive")
    written, passed, total = set[str](), 0, 0
    try:
        with listing(path) as entries:
            for entry in entries:
                parts = _parts(entry.name)
                name, total = "/".join(parts), total + entry.size
                if total > limit or len(written) + passed >= MAX_ENTRIES:
                    raise DataError(f"its content claims {total} bytes, above the limit of {limit}, or {MAX_ENTRIES} files")
                if any(map(paths.stray, parts)):
                    passed += 1
                    continue
                if name in written:
                    raise DataError(f"two entries are named {name[:80]!r}")
                written.add(name)
                _write(entry, into / name, into)
    except DataError as error:
        raise DataError(f"{path}: {paths.line(error)}") from None
    except WriteError:
        raise
    except _DAMAGE as error:
        raise DataError(f"{path}: damaged or truncated ({type(error).__name__}: {paths.line(error)[:120]})") from None
    if not written:
        raise DataError(f"{path}: no files in it")
    return passed


def _parts(name: str) -> list[str]:
    """Return a plain relative name's parts. Raises DataError for any other."""
    parts = name.removeprefix("./").split("/")
    if paths.UNFIT.search(name.replace("\r", "")) or "\\" in name or re.match(r"^[A-Za-z]:", name) or len(name) > 1000:
        raise DataError(f"the entry {name[:80]!a} is not a plain name")
    if {"", ".", ".."} & {*parts} or len(parts) > paths.MAX_DEPTH:
        raise DataError(f"the entry {name[:80]!r} is not a plain name within the archive")
    return parts


def _write(entry: Entry, file: Path, into: Path) -> None:
    """Write an entry's bytes, neither more nor fewer than it states."""
    try:
        with _writing(file):
            file.parent.mkdir(parents=True, exist_ok=True)
            target = file.open("xb")
    except (FileExistsError, NotADirectoryError):
        raise DataError(f"the entry {str(file.relative_to(into))[:80]!r} is a file and a folder, or twice there") from None
    left = entry.size
    with target, entry.open() as source:
        while left >= 0 and (chunk := source.read(CHUNK)):
            left -= len(chunk)
            with _writing(file):
                target.write(chunk)
    if left:
        raise DataError(f"the entry {entry.name[:80]!r} has {'more' if left < 0 else 'fewer'} bytes than it states")


@contextmanager
def _writing(file: Path) -> Iterator[None]:
    """Tell what keeps a file from being written from what is wrong with the archive."""
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise WriteError(f"{file}: cannot be written: {error.strerror}") from None
        raise


@contextmanager
def _zipped(path: Path) -> Iterator[Iterator[Entry]]:
    with zipfile.ZipFile(path) as archive:
        listed = archive.infolist()
        if len(listed) > MAX_ENTRIES:
            raise DataError(f"more than {MAX_ENTRIES} entries")
        yield (entry for info in listed if (entry := _zip_entry(archive, info)) is not None)


def _zip_entry(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Entry | None:
    """Return a file in a zip archive, None for a folder. Raises DataError for what is neither."""
    name, mode = info.orig_filename, info.external_attr >> 16
    if info.create_system == 0 and "/" not in name:  # some archivers of Windows
        name = name.replace("\\", "/")
    if info.flag_bits & 1:
        raise DataError(f"the entry {name[:80]!a} is encrypted")
    if mode and (mode & 0o170000) not in (0, 0o100000, 0o040000):
        raise DataError(f"the entry {name[:80]!a} is a link or a device; nothing but files is unpacked")
    if name.endswith("/"):
        _parts(name[:-1])
        return None
    return Entry(name, info.file_size, lambda: archive.open(info))


@contextmanager
def _tarred(path: Path) -> Iterator[Iterator[Entry]]:
    with path.open("rb") as file:
        start = file.read(6)
    opener = next((opener for begin, opener in _openers.items() if start.startswith(begin)), None)
    with (
        opener(path) if opener is not None else path.open("rb") as content,
        tarfile.open(fileobj=cast("IO[bytes]", _Bounded(content)), mode="r:") as archive,
    ):
        yield (entry for info in archive if (entry := _tar_entry(archive, info)) is not None)
        for _ in range(MAX_END // CHUNK):  # to the end of the stream, where its checksum is compared
            if not content.read(CHUNK):
                return
        raise DataError(f"more than {MAX_END >> 20} MiB after its last entry")


def _tar_entry(archive: tarfile.TarFile, info: tarfile.TarInfo) -> Entry | None:
    """Return a file in a tar archive, None for a folder. Raises DataError for what is neither."""
    if info.isdir():
        if info.name not in ("", "."):
            _parts(info.name)
        return None
    if not info.isreg() or info.issparse():
        raise DataError(f"the entry {info.name[:80]!a} is a link, a device or sparse; nothing but files is unpacked")
    return Entry(info.name, info.size, lambda: cast("IO[bytes]", archive.extractfile(info)))


class _Bounded(io.RawIOBase):
    """A stream that gives little at once: a tar's description of an entry is read whole, however long it says to be."""

    def __init__(self, content: IO[bytes]) -> None:
        self._content = content

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= MAX_DESCRIPTION:
            raise DataError(f"a description of {size} bytes, above the limit of {MAX_DESCRIPTION}")
        return self._content.read(size)

    def readinto(self, buffer: ReadableBuffer) -> int:
        raise io.UnsupportedOperation

    def seek(self, place: int, whence: int = os.SEEK_SET) -> int:
        return self._content.seek(place, whence)

    def tell(self) -> int:
        return self._content.tell()
