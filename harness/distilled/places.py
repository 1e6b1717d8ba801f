"""Where a published set lies, as a folder or file of this machine: a path, an archive that is unpacked, a place on the Hub."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from harness.core.errors import DataError
from harness.core.home import home
from harness.files import archives, atomic, hub, paths
from harness.files.pixels import EXTENSIONS

Say = Callable[[str], None]


@dataclass(frozen=True)
class Place:
    """A published set on this machine: its path, and where it comes from, for the provenance."""

    path: Path
    facts: dict[str, object] = field(default_factory=dict)


def fetched(path: Path, say: Say) -> Place:
    """Return a path that is there, resolved; what lies on the Hub is downloaded, once for each of its revisions.

    Raises: DataError, in one line, for one that is absent or cannot be reached.
    """
    if hub.is_remote(path):
        copy = hub.fetch(hub.Remote.of(path), home() / "hub", say)
        return Place(copy.path, {"hub": copy.pinned})
    path = path.expanduser()
    if not path.exists():
        raise DataError(f"{path}: no such file or folder")
    return Place(path.resolve())


@contextmanager
def unpacked(place: Place, say: Say) -> Iterator[Place]:
    """Give what a reader is given: an archive as the folder that is in it, for as long as it is read; all else as it is.

    Errors name what is in an archive by the archive's path.
    """
    if not archives.kind(place.path):
        yield place
        return
    base = home() / "unpacked"
    atomic.make_folder(base)
    with tempfile.TemporaryDirectory(dir=base, ignore_cleanup_errors=True) as scratch:
        folder = Path(scratch).resolve() / _stem(place.path)
        folder.mkdir()
        passed = archives.unpack(place.path, folder)
        if passed:
            say(f"{place.path.name}: {passed} {'entry' if passed == 1 else 'entries'} passed over, such as thumbnails and logs")
        facts = place.facts | {"archive": {place.path.name: _sha256(place.path)}}
        try:
            yield Place(_inner(folder), facts)
        except DataError as error:
            raise DataError(str(error).replace(str(folder), str(place.path))) from None


def _stem(path: Path) -> str:
    """Return an archive's name without its ending."""
    name = path.name
    ending = next((end for end in sorted((".zip", *archives.TAR), key=len, reverse=True) if name.casefold().endswith(end)), "")
    return name[: len(name) - len(ending)] or "set"


def _inner(folder: Path) -> Path:
    """Return the folder that an archive is the folder of: the only thing in the one before, and so on, none of images."""
    for _ in range(paths.MAX_DEPTH):
        listed = paths.entries(folder)
        if len(listed) != 1 or not listed[0].is_dir() or paths.files(folder, Path(listed[0].path), EXTENSIONS):
            break
        folder = Path(listed[0].path)
    return folder


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
