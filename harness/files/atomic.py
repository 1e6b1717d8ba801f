"""Files written whole or not at all: under another name beside the one they shall have, on the disk before they are given it."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from harness.core.errors import WriteError
from harness.core.home import home

#: What a user can do about it, by what the system says.
REMEDIES = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT), "free some space, and the same command goes on"),
    **dict.fromkeys((errno.EACCES, errno.EPERM, errno.EROFS), "its folder must be writable"),
    **dict.fromkeys((errno.ENOTDIR, errno.EEXIST), "a file has the place of a folder"),
}


@contextmanager
def told(path: Path) -> Iterator[None]:
    """Turn an OSError of writing `path` into a WriteError: one line that says which file, why, and what can be done."""
    try:
        yield
    except WriteError:
        raise
    except OSError as error:
        remedy = REMEDIES.get(error.errno or 0, "")
        other = "GIFTBENCH_HOME names another cache folder" if path.is_relative_to(home()) else ""
        words = "; ".join(part for part in (remedy, other) if part)
        reason = (error.strerror or str(error) or type(error).__name__).lower()
        failure = WriteError(f"{path}: cannot be written: {reason}" + (f"; {words}" if words else ""))
        failure.errno = error.errno
        raise failure from error


def make_folder(folder: Path) -> None:
    """Make a folder, and those above it, where there is none. Raises WriteError."""
    with told(folder):
        folder.mkdir(parents=True, exist_ok=True)


def write(path: Path, content: str | bytes) -> None:
    """Write a file; text as UTF-8. Raises WriteError, and then `path` is what it was."""
    with writing(path) as stream:
        stream.write(content.encode() if isinstance(content, str) else content)


def update(path: Path, content: str | bytes) -> bool:
    """Write a file as `write` does, unless it holds these bytes already: then it is not touched. Returns whether it changed."""
    content = content.encode() if isinstance(content, str) else content
    with suppress(OSError):  # what cannot be read holds something else, as far as anybody knows
        if path.is_file() and path.read_bytes() == content:
            return False
    write(path, content)
    return True


@contextmanager
def writing(path: Path) -> Iterator[IO[bytes]]:
    """Give a stream, to be written, read and mapped under its `name`; what is in it becomes `path` when the block ends.

    A block that raises leaves `path` as it was, and nothing beside it. Raises WriteError, for an OSError of the block too.
    """
    with told(path), _beside(path) as temporary, temporary.open("x+b") as stream:
        yield stream
        stream.flush()
        os.fsync(stream.fileno())
        stream.close()
        temporary.replace(path)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give the path of an empty file, for what writes by path; what it holds becomes `path` when the block ends, as of `writing`.

    Whatever wrote it, it has the mode of a file that this process makes: safetensors' would be readable by its owner alone.
    Raises WriteError as `writing` does.
    """
    with told(path), _beside(path) as temporary:
        with temporary.open("xb") as stream:
            mode = os.fstat(stream.fileno()).st_mode & 0o777
        yield temporary
        with temporary.open("r+b") as stream:
            os.fsync(stream.fileno())
        temporary.chmod(mode)
        temporary.replace(path)


@contextmanager
def _beside(path: Path) -> Iterator[Path]:
    """Give a name in `path`'s folder that nobody else uses, hidden; when the block raises, its file is removed."""
    if path.exists() and not path.is_file():
        raise WriteError(f"{path}: cannot be written: there is something else than a file in its place")  # a device would be gone
    temporary = path.with_name(f".{path.name}.{os.urandom(4).hex()}.tmp")
    try:
        yield temporary
    except BaseException:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise
