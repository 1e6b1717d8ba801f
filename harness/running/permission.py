"""Which of a board's plugin files may run here: the user's own, and those that were allowed once, by digest.

A board from elsewhere is data until the user says otherwise. A file may run that

- the command line names (`--plugin FILE`), which allows it from then on,
- was allowed by `--allow-plugins` of a command on the board,
- lies in or below the folder that `giftbench run` was called from, where a person works: the call allows it from then on. That is
  not so of the file system's root and of the home folder, below which lies what comes from elsewhere,
- lies in a folder that GIFTBENCH_OWN names (several with the separator of PATH), or where giftbench itself runs from: its
  checkout, with the boards that ship, or the folder of installed packages.

What was allowed is noted in the cache by the digest of the file and of what it imports beside itself: other bytes are asked about
again. Symbolic links and `..` are followed before a file's place is looked at.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from harness.core import shipped, sources
from harness.core.errors import WriteError
from harness.core.home import home
from harness.files import atomic


def digest(file: Path) -> str:
    """Return the SHA-256 over a plugin file and those that it imports beside itself, as their text says; nothing of it runs."""
    return sources.of_file(file).digest


def allowed(file: Path) -> bool:
    """Whether a plugin file may run."""
    return is_own(file) or _note(file).is_file()


def is_own(file: Path) -> bool:
    """Whether a file lies in one of the user's own folders, or where giftbench runs from."""
    named = [Path(folder).expanduser() for folder in os.environ.get("GIFTBENCH_OWN", "").split(os.pathsep) if folder]
    place = file.resolve()
    return any(place.is_relative_to(folder.resolve()) for folder in (shipped.ROOT, *named))


def is_at_work(file: Path) -> bool:
    """Whether a file lies in or below the working folder, unless that is a folder which everything lies below."""
    folder = Path.cwd().resolve()
    return folder not in (Path(folder.anchor), Path.home().resolve()) and file.resolve().is_relative_to(folder)


def allow(file: Path) -> None:
    """Note that a plugin file may run, as it is now. A cache that cannot be written forgets it."""
    note = _note(file)
    if is_own(file) or note.is_file():
        return
    with suppress(WriteError):
        atomic.make_folder(note.parent)
        atomic.write(note, f"{file.resolve()}\n".encode(errors="surrogateescape"))


def refusal(file: Path) -> str:
    """Return what to say of a plugin file that may not run."""
    return (
        f"{file} (sha256 {digest(file)[:12]}) is code of the board's that was not allowed to run here; read it, then give "
        "--allow-plugins once, run it from its own folder, or name yours in GIFTBENCH_OWN"
    )


def _note(file: Path) -> Path:
    return home() / "allowed" / digest(file)
