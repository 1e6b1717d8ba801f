"""Files written whole or not at all: under another name beside the one they shall have, on the disk before they are given it."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO


def write(path: Path, content: str | bytes) -> None:
    """Write a file; text as UTF-8. Raises OSError, and then `path` is what it was."""
    with writing(path) as stream:
        stream.write(content.encode() if isinstance(content, str) else content)


def update(path: Path, content: str | bytes) -> bool:
    """Write a file as `write` does, unless it holds these bytes already: then it is not touched. Returns whether it changed."""
    content = content.encode() if isinstance(content, str) else content
    if path.is_file() and path.read_bytes() == content:
        return False
    write(path, content)
    return True


@contextmanager
def writing(path: Path) -> Iterator[IO[bytes]]:
    """Give a stream, to be written, read and mapped under its `name`; what is in it becomes `path` when the block ends.

    A block that raises leaves `path` as it was, and nothing beside it. Raises OSError.
    """
    with _beside(path) as temporary, temporary.open("x+b") as stream:
        yield stream
        stream.flush()
        os.fsync(stream.fileno())
        stream.close()
        temporary.replace(path)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give the path of an empty file, for what writes by path; what it holds becomes `path` when the block ends, as of `writing`.

    Whatever wrote it, it has the mode of a file that this process makes: safetensors' would be readable by its owner alone.
    """
    with _beside(path) as temporary:
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
        raise FileExistsError(errno.EEXIST, "there is something else than a file", str(path))  # a device would be gone
    temporary = path.with_name(f".{path.name}.{os.urandom(4).hex()}.tmp")
    try:
        yield temporary
    except BaseException:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise
