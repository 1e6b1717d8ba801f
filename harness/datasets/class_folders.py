"""Images in one folder a class, listed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from harness.core.errors import DataError
from harness.datasets.decoded import Listing
from harness.files import paths
from harness.files.pixels import EXTENSIONS

#: A file's name from its class folder on, its path as a string (a Path for each of a million files takes time and memory), bytes,
#: time of change in ns.
Found = tuple[str, str, int, int]


def by_class(title: str, root: Path, split: str, classes: Sequence[str], inner: str = "") -> Listing:
    """List the images in root/split/CLASS/ and below it, class by class and by name, as torchvision's ImageFolder does.

    Args:
        title: how errors call the split.
        root: the resolved folder that nothing may leave.
        split: the folder of the split, in `root`.
        classes: the folders' names, in the order of the class indices.
        inner: a folder in that of a class, taken where it is there.
    Raises: DataError that names an absent or empty class folder, or a symbolic link that leaves `root`.
    """
    part = paths.inside(root, split)
    beside = paths.entries(root, part)
    there = {entry.name for entry in beside if entry.is_dir()}
    missing = [name for name in classes if name not in there]
    if missing:
        raise DataError(f"{title}: {part} lacks {len(missing)} of {len(classes)} class folders, such as {missing[0]}")
    files = []
    passed = sum(entry.name[entry.name.rfind(".") :].lower() in EXTENSIONS for entry in beside if entry.name not in there)
    for index, name in enumerate(classes):
        place = part / name
        if inner and inner in {folder.name for folder in paths.folders(root, place)}:
            place = place / inner
        images, others = images_in(root, place)
        passed += others
        if not images:
            raise DataError(f"{title}: no images in {place} ({', '.join(sorted(EXTENSIONS))})")
        files += [(index, name, image) for image in images]
    return listing(title, root, files, passed)


def listing(title: str, root: Path, files: Sequence[tuple[int, str, Found]], passed: int = 0) -> Listing:
    """Return the listing of images given by (class index, class folder, file); two layouts of the same images give the same."""
    return Listing(
        title,
        root,
        [file for _, _, (_, file, _, _) in files],
        torch.tensor([index for index, _, _ in files], dtype=torch.int64),
        [(f"{folder}/{name}", size, changed) for _, folder, (name, _, size, changed) in files],
        passed,
    )


def images_in(root: Path, place: Path) -> tuple[list[Found], int]:
    """Return the images in a folder and below it, and how many files are none. Raises DataError for a link that leaves `root`."""
    images, others = paths.below(root, place, EXTENSIONS)
    files = []
    for name, entry in images:
        status = entry.stat()
        files.append((name, entry.path, status.st_size, status.st_mtime_ns))
    return files, others
