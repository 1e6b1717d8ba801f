"""What `giftbench new` does: a template filled in with a name, written beside nothing of that name."""

from __future__ import annotations

import importlib.util
import keyword
import re
from pathlib import Path

from harness.cli.templates import KINDS
from harness.core.errors import GiftbenchError, UnknownName, WriteError, suggest
from harness.files import atomic


def scaffold(kind: str, name: str, folder: Path = Path()) -> tuple[Path, Path]:
    """Write `NAME.py` and `test_NAME.py` into a folder, dashes becoming underscores, and return their paths.

    Args:
        kind: one of `KINDS`.
        name: what boards shall call it: lower-case letters, digits, - and _, a letter first; not taken yet.
        folder: an existing folder.
    Raises: UnknownName for another kind; GiftbenchError for a name that cannot be used, or a file that is there.
    """
    if kind not in KINDS:
        raise UnknownName(f"no template for a new {kind!r}; {suggest(kind, KINDS)}")
    plural, plugin, test = KINDS[kind]
    stem = name.replace("-", "_")
    _check_name(kind, plural, name)
    if not folder.is_dir():
        raise GiftbenchError(f"--folder: no folder {folder}")
    paths = folder / f"{stem}.py", folder / f"test_{stem}.py"
    for path in paths:
        if path.exists():
            raise GiftbenchError(f"{path} is there already; choose another name or another --folder")
    if importlib.util.find_spec(stem) is not None:
        raise GiftbenchError(f"{stem}.py would hide the Python module {stem!r}; choose another name")
    words = {"name": name, "stem": stem, "title": "".join(word.capitalize() for word in stem.split("_"))}
    atomic.write(paths[0], plugin.format(**words))
    try:
        atomic.write(paths[1], test.format(**words))
    except WriteError:
        paths[0].unlink(missing_ok=True)  # a plugin comes with its test, or not at all
        raise
    return paths


def _check_name(kind: str, plural: str, name: str) -> None:
    from harness.cli.registries import registry

    if not re.fullmatch(r"[a-z][a-z0-9_-]*", name) or keyword.iskeyword(name):
        rule = "lower-case letters, digits, - and _, a letter first, and no word of Python's own"
        raise GiftbenchError(f"{_a(kind)} cannot be called {name!r}; use {rule}")
    if name in registry(plural):
        origin = registry(plural).describe(name).origin
        raise GiftbenchError(f"there is {_a(kind)} {name!r} already, from {origin}; choose another name")


def _a(kind: str) -> str:
    return f"{'an' if kind[0] in 'aeiou' else 'a'} {kind}"
