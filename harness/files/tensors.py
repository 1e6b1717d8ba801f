"""A file that torch.save wrote elsewhere, read as data: checked from end to end before torch sees it."""

from __future__ import annotations

import argparse
import mmap
import shutil
import tempfile
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, cast

from harness.core.errors import DataError
from harness.core.home import home
from harness.files import atomic, legacy, paths, pickles, transcribing

if TYPE_CHECKING:
    from torch import Tensor

MAX_BYTES = 64 << 30
MAX_PICKLE = 16 << 20
MAX_ENTRIES = 100_000
MAX_DEPTH = 64
MAX_VALUES = 200_000

_allowing = threading.Lock()  # torch's list of safe globals is one for the whole process


def load_tensors(path: Path, *, limit: int = MAX_BYTES, values: int = MAX_VALUES) -> object:
    """Return what a torch-saved file holds, as plain data: tensors on the CPU in dicts, lists and tuples, names and numbers.

    State dicts and Namespaces come as dicts, parameters as tensors, numpy's numbers as Python's, torch.Size as a tuple, devices
    as their names. Tensors are mapped from the file, so that memory is taken as they are read.

    Args:
        path: the file.
        limit: its size, in bytes, above which it is refused.
        values: how many tensors, containers, names and numbers it may hold.
    Raises: DataError, one line that names the file: it is absent, too large, damaged (the zip format has checksums, which are
        compared), in neither of torch's formats, or holds anything but the above. Nothing in it is executed, and no number in it
        allocates memory.
    """
    size = paths.size(path, limit)
    try:
        return _Plain(values).of(_older(path) if _is_older(path) else _newer(path, size))
    except DataError as error:
        raise DataError(f"{path}: {paths.line(error)}") from None
    except Exception as error:  # zipfile and torch raise whatever they stumble over; all of it is the file's fault
        raise DataError(f"{path}: cannot be read as saved tensors ({type(error).__name__}: {paths.line(error)})") from None


def _is_older(path: Path) -> bool:
    """Return whether a file begins as those of torch.save do from before version 1.6, whatever comes then."""
    with path.open("rb") as file:
        return legacy.protocol(file.read(max(map(len, legacy.STARTS.values())))) > 0


def _older(path: Path) -> object:
    """Return what torch makes of a checked file from before version 1.6.

    It is given a map of the file, and not the file, which it would first try to read as an archive of yet another format. A file
    whose pickles have a later protocol is copied with others.
    """
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        if legacy.protocol(content) not in transcribing.PROTOCOLS:
            return _load(cast("IO[bytes]", content), legacy.check(content))
        pickled, end = legacy.transcribed(content)
        with _temporary() as copy:
            file.seek(end)
            copy.write(pickled)
            shutil.copyfileobj(file, copy)
            copy.flush()
            return _older(Path(copy.name))


def _newer(path: Path, size: int) -> object:
    """Return what torch makes of a checked zip archive; its tensors are mapped from the file."""
    content, storages = _archive(path, size)
    if transcribing.protocol(content) not in transcribing.PROTOCOLS:
        return _load(path, pickles.check(content, storages), mmap=True)
    content = transcribing.transcribed(content, MAX_PICKLE)
    used = pickles.check(content, storages)
    with _with_pickle(path, content) as copy:
        return _load(copy, used, mmap=True)


@contextmanager
def _with_pickle(path: Path, content: bytes) -> Iterator[Path]:
    """Give a copy of a checked archive that has another pickle, for as long as it is opened: a map of it outlasts its name."""
    with _temporary() as copy:
        shutil.copyfile(path, copy.name)
        with zipfile.ZipFile(copy.name, "a") as archive:
            (old,) = (entry for entry in archive.filelist if entry.filename.partition("/")[2].casefold() == "data.pkl")
            archive.filelist.remove(old)
            del archive.NameToInfo[old.filename]
            archive.writestr(zipfile.ZipInfo(old.filename), content)
        yield Path(copy.name)


@contextmanager
def _temporary() -> Iterator[IO[bytes]]:
    """Give a new file in the cache folder, which goes when the block ends."""
    folder = home() / "temporary"
    atomic.make_folder(folder)
    with tempfile.NamedTemporaryFile(dir=folder, suffix=".pt") as copy:
        yield cast("IO[bytes]", copy)


def _archive(path: Path, size: int) -> tuple[bytes, dict[str, int]]:
    """Check the zip archive; return its pickle and the bytes of each storage by key."""
    with path.open("rb") as file:
        start = file.read(4)
        file.seek(max(0, size - 22))
        end = file.read(4)
    if start != b"PK\x03\x04":
        kind = "a pickle of something else" if start[:1] == b"\x80" else "something else"
        raise DataError(f"not a file that torch.save wrote, in its zip format or the one before, but {kind}; {pickles.INSTEAD}")
    if end != b"PK\x05\x06":
        raise DataError("damaged or truncated (it does not end as an archive does)")
    try:
        with zipfile.ZipFile(path) as archive:
            entries = _entries(archive, size)
            for entry in archive.infolist():
                with archive.open(entry) as stream:
                    while stream.read(1 << 20):  # to the end, where the checksum is compared
                        pass
            content = archive.read(entries["data.pkl"])
    except (zipfile.BadZipFile, NotImplementedError, EOFError, UnicodeError) as error:
        raise DataError(f"damaged or truncated ({' '.join(str(error).split())[:120] or type(error).__name__})") from None
    return content, {name.removeprefix("data/"): entry.file_size for name, entry in entries.items() if name.startswith("data/")}


def _entries(archive: zipfile.ZipFile, size: int) -> dict[str, zipfile.ZipInfo]:
    """Return the archive's entries by their name within its one top folder, checked."""
    listed = archive.infolist()
    if not listed or len(listed) > MAX_ENTRIES or archive.comment or min(entry.header_offset for entry in listed):
        raise DataError("not an archive that torch.save wrote")
    if sum(entry.file_size for entry in listed) > size:
        raise DataError("its entries claim to be larger than the file")
    top = listed[0].filename.split("/")[0]
    if any(entry.filename == f"{top}/constants.pkl" for entry in listed):
        raise DataError(f"a TorchScript archive, which is code; {pickles.INSTEAD}")
    members: dict[str, zipfile.ZipInfo] = {}
    for entry in listed:
        head, _, name = entry.orig_filename.partition("/")
        parts = name.split("/")
        if head != top or entry.filename != entry.orig_filename or {"", ".", ".."} & {head, *parts} or set(name) & set("\\:\0"):
            raise DataError(f"the entry {entry.orig_filename[:80]!r} is not a plain name in one folder")
        if entry.compress_type != zipfile.ZIP_STORED or entry.compress_size != entry.file_size or entry.flag_bits & 1:
            raise DataError(f"the entry {name[:80]!r} is compressed or encrypted, which torch.save does not do")
        if name.casefold() in members:  # torch looks names up without regard to case
            raise DataError(f"two entries are named {name[:80]!r}")
        members[name.casefold()] = entry
    if "data.pkl" not in members:
        raise DataError("not an archive that torch.save wrote: it has no data.pkl")
    if members["data.pkl"].file_size > MAX_PICKLE:
        raise DataError(f"its data.pkl is larger than {MAX_PICKLE >> 20} MiB; {pickles.INSTEAD}")
    return members


def _load(file: Path | IO[bytes], used: set[str], **settings: Any) -> object:
    """Return what torch makes of a file whose pickle names only these globals."""
    import torch

    extra: list[Any] = [argparse.Namespace] if pickles.NAMESPACE in used else []
    if "numpy dtype" in used:
        import numpy as np
        from numpy._core.multiarray import scalar

        extra += [(scalar, name.replace(" ", ".")) for name in pickles.NUMPY_SCALARS]
        extra += [np.dtype, *(type(np.dtype(code)) for code in pickles.NUMBERS)]
    if not extra:
        return torch.load(file, map_location="cpu", weights_only=True, **settings)
    with _allowing, torch.serialization.safe_globals(extra):
        return torch.load(file, map_location="cpu", weights_only=True, **settings)


class _Plain:
    """A copy of a structure in which containers are plain; what it shares or nests too much is refused."""

    def __init__(self, values: int) -> None:
        self.count, self.values = 0, values

    def of(self, value: object, depth: int = 0) -> object:
        import torch

        self.count += 1
        if self.count > self.values or depth > MAX_DEPTH:
            raise DataError(f"nested too deeply, or into itself; {pickles.INSTEAD}")
        if isinstance(value, torch.Tensor):
            return _dense(value)
        if isinstance(value, argparse.Namespace):
            value = value.__dict__
        if isinstance(value, dict):
            return {key: self.of(item, depth + 1) for key, item in dict.items(value)}
        if type(value) is list:
            return [self.of(item, depth + 1) for item in value]
        if isinstance(value, tuple):
            return tuple(self.of(item, depth + 1) for item in value)
        if value is None or type(value) in (bool, int, float, str, bytes) or isinstance(value, torch.dtype):
            return value
        if isinstance(value, torch.device):
            return str(value)
        if type(value).__module__ == "numpy" and hasattr(value, "item"):
            return value.item()
        raise DataError(f"it holds a {type(value).__name__}, which is no tensor; {pickles.INSTEAD}")


def _dense(value: Tensor) -> Tensor:
    """Return a tensor without its gradient. Raises DataError for one that is not dense, or larger than what it is stored in."""
    import torch

    if type(value) not in (torch.Tensor, torch.nn.Parameter) or value.layout != torch.strided or value.is_quantized:
        raise DataError(f"it holds a tensor that is not dense; {pickles.INSTEAD}")
    if value.device.type != "cpu" or value.numel() * value.element_size() > value.untyped_storage().nbytes():
        raise DataError(f"it holds a tensor of shape {list(value.shape)} that is larger than what the file stores of it")
    return value.detach()
