"""Files from elsewhere are data: names stay in their folder, sizes are known before memory is taken, nothing is executed."""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Collection, Iterator
from contextlib import suppress
from pathlib import Path, PosixPath

from harness.core.errors import DataError

#: Entries that one folder may have; ImageNet-1K's largest has 1,300 and a flat one of Tiny-ImageNet 10,000.
MAX_ENTRIES = 2_000_000
#: Folders in one another that are gone down for files.
MAX_DEPTH = 16
#: What systems and tools leave in folders and archives, in lower case; passed over everywhere, as hidden entries are.
STRAYS = frozenset(
    (
        *("thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r", "__macosx", "$recycle.bin", "@eadir", "lost+found"),
        *("__pycache__", "wandb", "lightning_logs"),
    )
)
#: How logs end, and what a folder may be called that has nothing but notes in it.
LOGS, LOG_FOLDERS = (".log", ".out", ".err"), frozenset(("log", "logs", "tensorboard", "runs"))
NOTES = (*LOGS, ".txt", ".json", ".jsonl", ".csv", ".yaml", ".yml", ".toml", ".md")
EVENTS = "events.out.tfevents."
#: Characters that would break an error's line, or that no encoding holds: control characters, line ends, undecodable bytes.
UNFIT = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


def line(words: object) -> str:
    """Return what a file from elsewhere, or an error about it, says as one line that can be printed, cut at 300 characters."""
    return UNFIT.sub("?", " ".join(str(words).split()))[:300]


class Closed(PosixPath):
    """A resolved folder that links may not leave as long as its user does not allow it."""


class Open(PosixPath):
    """A resolved folder that links may leave, for its user allows it. A name that a file states stays in it all the same."""


def folder(path: Path) -> Path:
    """Return an existing folder, resolved. Raises DataError when there is none."""
    try:
        resolved = path.expanduser().resolve(strict=True)
    except (OSError, RuntimeError) as error:
        raise DataError(f"{path}: no such folder ({type(error).__name__})") from None
    if not resolved.is_dir():
        raise DataError(f"{path}: expected a folder")
    return resolved


def stray(name: str) -> bool:
    """Return whether an entry of a folder or an archive is by its name nothing that was published: hidden, a log."""
    folded = name.casefold()
    return name.startswith(".") or folded in STRAYS or folded.endswith(LOGS) or folded.startswith(EVENTS)


def _only_notes(folder: str) -> bool:
    """Return whether there is nothing but logs and notes in a folder and below it."""
    for count, (_, _, names) in enumerate(os.walk(folder)):
        if count > MAX_DEPTH or not all(stray(name) or name.casefold().endswith(NOTES) for name in names):
            return False
    return True


def within(root: Path, at: Path) -> Path:
    """Return a folder in `root`, resolved, as one that names may leave where they may leave `root`."""
    return type(root)(at.resolve())


def inside(root: Path, name: str) -> Path:
    """Return `root/name` when that stays inside `root`, symbolic links included. Raises DataError when it leaves it.

    Args:
        root: a resolved folder.
        name: a relative path, as a file from elsewhere states it.
    """
    if not name or "\0" in name or name.startswith(("/", "\\")) or re.match(r"^[A-Za-z]:", name):
        raise DataError(f"{root}: the name {name!r} is no relative path")
    try:
        place = Path(root / name).resolve()
    except (OSError, RuntimeError) as error:
        raise DataError(f"{root / name}: cannot be followed: {type(error).__name__}") from None
    stated = Path(os.path.normpath(root / name)) if isinstance(root, Open) else place
    if not stated.is_relative_to(root):
        raise DataError(f"{root}: the name {name!r} leaves the folder{_remedy(root)}")
    return place


def _remedy(root: Path) -> str:
    return "; --follow-links allows it" if isinstance(root, Closed) else ""


def entries(root: Path, at: Path | None = None) -> list[os.DirEntry[str]]:
    """Return what lies in a folder, by name; hidden entries and strays are passed over.

    Args:
        root: the resolved folder that nothing may leave.
        at: the folder to list, in `root`; `root` itself by default.
    Raises: DataError for a symbolic link that leaves `root`, and for more than MAX_ENTRIES entries.
    """
    return _scan(root, at or root)[0]


def below(root: Path, at: Path, endings: Collection[str]) -> tuple[list[tuple[str, os.DirEntry[str]]], int]:
    """Return the regular files of these endings in a folder and in all folders below it, and how many others there are.

    Folder by folder and by name in each, as torchvision's ImageFolder has them; the files' names are relative to `at`. Hidden
    entries and strays are among the others.

    Args:
        root: the resolved folder that nothing may leave.
        at: the folder to list, in `root`.
        endings: lower case, with the dot.
    Raises: DataError as `entries` does; for more than MAX_DEPTH folders in one another, as those have that lead in a circle.
    """
    files: list[tuple[str, os.DirEntry[str]]] = []
    others, folders = 0, [""]
    while folders:
        within = folders.pop()
        if within.count("/") > MAX_DEPTH:
            raise DataError(f"{at / within}: more than {MAX_DEPTH} folders in one another")
        listed, hidden = _scan(root, at / within if within else at)
        others += hidden
        for entry in listed:
            if entry.name[entry.name.rfind(".") :].lower() in endings and entry.is_file():
                files.append((within + entry.name, entry))
            elif entry.is_dir():
                folders.append(f"{within}{entry.name}/")
            else:
                others += 1
        if len(files) + len(folders) > MAX_ENTRIES:
            raise DataError(f"{at}: more than {MAX_ENTRIES} files")
    files.sort(key=lambda file: (file[0].rpartition("/")[0], file[1].name))
    return files, others


def _scan(root: Path, at: Path) -> tuple[list[os.DirEntry[str]], int]:
    """Return what lies in a folder, by name, and how many hidden entries and strays are passed over; see `entries`."""
    listed, hidden = [], 0
    try:
        with os.scandir(at) as listing:
            for entry in listing:
                if stray(entry.name) or (entry.name.casefold() in LOG_FOLDERS and entry.is_dir() and _only_notes(entry.path)):
                    hidden += 1
                    continue
                if UNFIT.search(entry.name):
                    raise DataError(f"{at}: the name {entry.name!a} in it has characters that no name should have")
                if entry.is_symlink() and not isinstance(root, Open) and not Path(entry.path).resolve().is_relative_to(root):
                    raise DataError(f"{entry.path}: a symbolic link that leaves {root}{_remedy(root)}")
                listed.append(entry)
                if len(listed) > MAX_ENTRIES:
                    raise DataError(f"{at}: more than {MAX_ENTRIES} entries")
    except (OSError, RuntimeError) as error:  # the latter for links that lead in a circle
        raise DataError(f"{at}: cannot be listed: {getattr(error, 'strerror', None) or type(error).__name__}") from None
    return sorted(listed, key=lambda entry: entry.name), hidden


def folders(root: Path, at: Path | None = None) -> list[Path]:
    """Return the folders in a folder, by name; see `entries`."""
    return [Path(entry.path) for entry in entries(root, at) if entry.is_dir()]


def files(root: Path, at: Path | None = None, endings: Collection[str] = ()) -> list[Path]:
    """Return the regular files in a folder, by name, of these endings (lower case, with the dot; none: any); see `entries`."""
    return [
        Path(entry.path)
        for entry in entries(root, at)
        if entry.is_file() and (not endings or os.path.splitext(entry.name)[1].lower() in endings)  # noqa: PTH122
    ]


def size(path: Path, limit: int) -> int:
    """Return a regular file's size in bytes. Raises DataError when it is absent, no regular file, empty or above `limit`."""
    try:
        status = path.stat()
    except OSError as error:
        raise DataError(f"{path}: {error.strerror.lower() if error.strerror else 'cannot be read'}") from None
    if not stat.S_ISREG(status.st_mode):
        raise DataError(f"{path}: not a regular file")
    if not status.st_size:
        raise DataError(f"{path}: empty")
    if status.st_size > limit:
        raise DataError(f"{path}: {status.st_size / 2**30:.1f} GiB, above the limit of {limit / 2**30:.1f} GiB")
    return status.st_size


#: Bytes that are asked of a file at once.
CHUNK = 1 << 20


def content(path: Path, limit: int) -> bytes:
    """Return a regular file's bytes; opening it waits for nobody, whatever else it turns out to be.

    Raises: FileNotFoundError where there is nothing; DataError, one line, for what is no such file, cannot be read or has more
    than `limit` bytes.
    """
    try:
        number = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        if not path.is_symlink():
            raise
        raise DataError(f"{path}: a link that leads nowhere") from None
    except OSError as error:
        socket = error.errno == errno.ENXIO
        raise DataError(f"{path}: {'not a regular file' if socket else cannot_be_read(error)}") from None
    try:
        status = os.fstat(number)
        if not stat.S_ISREG(status.st_mode):
            raise DataError(f"{path}: {'a folder' if stat.S_ISDIR(status.st_mode) else 'not a regular file'}")
        if status.st_size > limit:
            raise DataError(f"{path}: {status.st_size / 2**20:.0f} MiB, above the limit of {limit / 2**20:.0f} MiB")
        return b"".join(iter(lambda: os.read(number, CHUNK), b""))[:limit]  # it may have grown meanwhile
    except OSError as error:
        raise DataError(f"{path}: {cannot_be_read(error)}") from None
    finally:
        os.close(number)


def cannot_be_read(error: OSError) -> str:
    """Return in words that a file cannot be read, and why: `cannot be read: permission denied`."""
    return f"cannot be read: {(error.strerror or type(error).__name__).lower()}"


def stamps(path: Path) -> list[tuple[str, int, int]]:
    """Return (relative name, bytes, time of change in ns) of a file, or of every file in and below a folder, by name.

    The name of a file itself is `.`; where there is nothing, nothing is returned. Links are followed, each to a folder once.
    """
    try:
        status = path.stat()
    except OSError:
        return []
    if not stat.S_ISDIR(status.st_mode):
        return [(".", status.st_size, status.st_mtime_ns)]
    files: list[tuple[str, int, int]] = []
    folders, linked = [(str(path), "")], {(status.st_dev, status.st_ino)}
    while folders:
        folder, within = folders.pop()
        for entry, status in _statuses(folder):
            identity = (status.st_dev, status.st_ino)
            if stat.S_ISREG(status.st_mode):
                files.append((within + entry.name, status.st_size, status.st_mtime_ns))
            elif stat.S_ISDIR(status.st_mode) and not (entry.is_symlink() and identity in linked):
                folders.append((entry.path, f"{within}{entry.name}/"))
                linked |= {identity} if entry.is_symlink() else set()
    return sorted(files)


def _statuses(folder: str) -> Iterator[tuple[os.DirEntry[str], os.stat_result]]:
    """Yield what lies in a folder and can be looked at, a link as what it leads to."""
    with suppress(OSError), os.scandir(folder) as listing:
        for entry in listing:
            with suppress(OSError):
                yield entry, entry.stat()
