"""A distilled set, published: a folder of parquet files, card and Croissant metadata, read back before anybody else does."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from harness import datasets
from harness.core.errors import DataError, GiftbenchError
from harness.distilled import exporting, pushing
from harness.distilled.set import DistilledSet
from harness.distilled.set_card import About, Licence, card, croissant
from harness.files import atomic


def publish(
    distilled: DistilledSet, folder: Path, licence: str, *, title: str = "", place: str = "", private: bool = False
) -> list[str]:
    """Write a set to a new folder as README.md, croissant.json and data/*.parquet, and return what was written, in order.

    The folder is there whole or not at all: what was written is read back, and has the set's digest.

    Args:
        folder: where to; it may be there and empty.
        licence: that its publisher states.
        title: what the card calls it; its method, IPC and dataset by default.
        place: `hub:USER/NAME` to push it to, "" for nowhere.
        private: whether a repository that is made for it is seen by its owner alone.
    Raises: BadOption for a licence or a place that is none; DataError for a folder that is not empty, and for a set that no
        parquet file holds; WriteError; GiftbenchError when it cannot be pushed: then the folder is there all the same.
    """
    address = f"https://huggingface.co/datasets/{pushing.repository(place)}" if place else ""
    stated = Licence.of(licence)
    named = title or f"{distilled.method} of {distilled.dataset}, {distilled.ipc:g} images a class"
    about = About(" ".join(named.split()), stated, address, names=_names(distilled))
    with new_folder(folder) as inside:
        files = exporting.write(distilled, inside / "data", about.names)
        atomic.write(inside / "README.md", card(distilled, files, about))
        atomic.write(inside / "croissant.json", croissant(distilled, files, about))
        if exporting.read(inside).digest != distilled.digest:
            raise DataError(f"{folder}: what was written is not what was to be; is the disk whole?")
    written = [str(folder / "README.md"), str(folder / "croissant.json")]
    written += [str(folder / "data" / file.path.name) for file in files]
    return written + ([pushing.push(folder, place, private=private, message=about.title)] if place else [])


def _names(distilled: DistilledSet) -> tuple[str, ...]:
    """Return the names of the classes, where no file has to be read for them."""
    try:
        names = datasets.card(distilled.dataset).names if not distilled.dataset.startswith("folder") else ()
    except GiftbenchError:
        return ()
    return names if len(names) == distilled.classes else ()


@contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """Give a folder beside the one that shall be there, which takes its place when the block ends, and goes when it raises."""
    folder = folder.absolute()
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise DataError(f"{folder}: there is something in its place; give a new folder")
    atomic.make_folder(folder.parent)
    inside = folder.with_name(f".{folder.name}.{os.urandom(4).hex()}.tmp")
    try:
        with atomic.told(folder):
            inside.mkdir()
        yield inside
        with atomic.told(folder):
            if folder.exists():
                folder.rmdir()
            inside.rename(folder)
    finally:
        shutil.rmtree(inside, ignore_errors=True)
