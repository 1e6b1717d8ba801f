"""What sets in class folders of images share (RDED, SRe2L, `folder`, …): which folder is which class, which files count."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from harness.core.errors import DataError
from harness.datasets.class_order import number, places
from harness.distilled.order import WORDNET, arrange, number_of
from harness.distilled.readers import encoded
from harness.distilled.reading import Reading
from harness.distilled.set import DistilledSet
from harness.files import decoding, paths
from harness.files.pixels import EXTENSIONS, Form

#: A file's name: the numbers of its class and of the image in it, class00012_id00003.jpg.
FILE = re.compile(r"class(\d{1,6})_id(\d{1,6})", re.IGNORECASE)
#: Folders above a set's own that may be gone down.
MAX_DEPTH = 6


#: What a folder of a set's images may be called beside folders of other splits.
TRAIN, SPLITS = "train", frozenset(("train", "val", "valid", "validation", "test"))


@dataclass(frozen=True)
class Found:
    """A set's folder and its files by class; in words, what makes the classes and in which order their images are."""

    root: Path
    classes: list[list[Path]]
    order: str
    images: str = "by name"

    @property
    def ipc(self) -> int:
        """Images of the first class, which of most sets are those of each."""
        return len(self.classes[0])

    @property
    def counts(self) -> list[int]:
        return [len(files) for files in self.classes]

    @property
    def files(self) -> list[Path]:
        return [file for files in self.classes for file in files]


def read(
    reading: Reading,
    *,
    format: str,
    native_loss: str,
    factor: int = 1,
    kind: str = "JPEG",
    method: str = "",
    free: bool = False,
    uneven: bool = False,
) -> DistilledSet:
    """Return the set of a folder of class folders: uint8 images, class by class, in the order of the files' names.

    Args:
        reading: its path is the set's folder, or one above it that leads to one only.
        format: the reader's name.
        factor: tiles along one side of a mosaic.
        kind: how its authors encode the images, JPEG or PNG; "" for either.
        method: how tables call it; the reader's name by default.
        free: whether files may have any names, and images another size, which are resized.
        uneven: whether classes may have different numbers of images.
    Raises: DataError, in one line, that names the file or folder.
    """
    folders = find(reading, free=free, uneven=uneven)
    if kind and (folders.files[0].suffix.lower() == ".png") != (kind == "PNG"):
        reading.say(f"{folders.root.name}: files such as {folders.files[0].name}, where the authors of {format} keep {kind}")
    files = [str(file) for file in folders.files]
    if free:
        decoded, resized = encoded.pixels(files, reading, folders.root)
    else:
        encoded.check_room(len(files), reading, folders.root)
        decoded = decoding.read(files, Form(reading.card.shape, 0), workers=reading.workers, hashed=True)
        resized = ""
    total = hashlib.sha256()
    for file, sha in zip(folders.files, decoded.digests, strict=True):
        total.update(f"{file.relative_to(folders.root).as_posix()} {sha}\n".encode())
    labels = torch.arange(reading.card.classes).repeat_interleave(torch.tensor(folders.counts))
    provenance: dict[str, Any] = {
        "format": format,
        "folder": folders.root.name,
        "files": len(folders.files),
        "sha256": total.hexdigest(),
        "bytes": {"images": sum(file.stat().st_size for file in folders.files)},
        "ipc": folders.ipc,
        "assumed": {"classes": folders.order, "pixels": "[0, 1]", **({"size": resized} if resized else {})},
        **({"order": reading.order.way} if reading.order is not None else {}),
    }
    return DistilledSet(
        decoded.images,
        labels,
        dataset=reading.card.name,
        method=method or format,
        classes=reading.card.classes,
        factor=factor,
        native_loss=native_loss,
        provenance=provenance,
        known_dataset=False,
    )


def find(reading: Reading, *, free: bool = False, uneven: bool = False) -> Found:
    """Return the files of the set that `reading` asks for. Raises DataError that names what is wrong, and where.

    Args:
        free, uneven: as `read` takes them.
    """
    top = paths.folder(reading.path)
    root = _descend(top, reading, free)
    names = [folder.name for folder in paths.folders(top, root)]
    arrangement = arrange(names, reading.card, reading.order, root, reading.say)
    ordered = [root / name for name in arrangement.folders]
    numbered = not free and all(number_of(name) is not None for name in names)
    listed = [_images(top, folder, number_of(folder.name) if numbered else None) for folder in ordered]
    classes = [files for files, _ in listed]
    if passed := sum(others for _, others in listed):
        reading.say(f"{root.name}: {passed} {'file' if passed == 1 else 'files'} passed over, no images of a class")
    counted = free and all(_are_counted(files) for files in classes)
    if counted:
        classes = [sorted(files, key=lambda file: (number(file.stem) or 0, file.stem)) for files in classes]
    first = [_number(file) for file in classes[0]]
    for folder, files in zip(ordered, classes, strict=True):
        if len(files) != len(first) and not uneven:
            hint = "; folder(uneven=true) takes them as they are" if free else ""
            raise DataError(
                f"{folder}: {len(files)} images where {ordered[0].name} has {len(first)}; all classes must have as many{hint}"
            )
        if numbered and [_number(file) for file in files] != first:
            raise DataError(f"{folder}: its images are not numbered as those of {ordered[0].name} are")
    return _chosen(Found(root, classes, arrangement.words, "by number" if counted else "by name"), reading)


def _chosen(found: Found, reading: Reading) -> Found:
    """Return the first images of each class, as many as are asked for."""
    least = min(found.counts)
    if reading.ipc is None:
        return found
    if not 1 <= reading.ipc <= least:
        raise DataError(f"{found.root}: {least} images a class, {reading.ipc} are asked for")
    if reading.ipc < max(found.counts):
        of = least if least == max(found.counts) else f"{least} to {max(found.counts)}"
        reading.say(f"{found.root.name}: the first {reading.ipc} of {of} images a class, {found.images}")
    return replace(found, classes=[files[: reading.ipc] for files in found.classes])


def _are_counted(files: Sequence[Path]) -> bool:
    """Return whether files are called by different whole numbers."""
    numbers = [number(file.stem) for file in files]
    return None not in numbers and len({*numbers}) == len(numbers)


def _number(file: Path) -> int:
    """Return the number of an image in its class, 0 where its name has none."""
    named = FILE.fullmatch(file.stem)
    return int(named[2]) if named is not None else 0


def _images(root: Path, folder: Path, label: int | None) -> tuple[list[Path], int]:
    """Return a class's images, those in folders below too, as ImageFolder orders them, and how many files are none."""
    images, others = paths.below(root, folder, EXTENSIONS)
    files = [Path(entry.path) for _, entry in images]
    if not files:
        content = [entry.name for entry in paths.entries(root, folder)]
        what = f"no images ({', '.join(sorted(EXTENSIONS))}), but {content[0]}" if content else "empty"
        raise DataError(f"{folder}: {what}")
    seen: dict[int, Path] = {}
    for file in files if label is not None else ():
        named = FILE.fullmatch(file.stem)
        if named is None:
            raise DataError(f"{file}: expected a name such as class{label:05d}_id00000{file.suffix}")
        if int(named[1]) != label:
            raise DataError(f"{file}: named after class {int(named[1])} in the folder of class {label}")
        if int(named[2]) in seen:
            raise DataError(f"{file}: image {int(named[2])} of class {label}, as {seen[int(named[2])].name} is")
        seen[int(named[2])] = file
    return files, others


# -- finding the set's own folder ------------------------------------------------------------------------------------------


def _descend(root: Path, reading: Reading, free: bool = False) -> Path:
    """Return the folder whose folders are classes: `root`, or the only one below it that fits dataset and IPC."""
    here = root
    for _ in range(MAX_DEPTH):
        below = paths.folders(root, here)
        if not below:
            raise DataError(f"{here}: " + ("empty" if not paths.entries(root, here) else "no class folders"))
        if _are_classes(root, below, reading, free):
            return here
        here = _choose(here, below, reading)
    raise DataError(f"{root}: no class folders within {MAX_DEPTH} folders; give the folder that holds them")


def _are_classes(root: Path, folders: Sequence[Path], reading: Reading, free: bool) -> bool:
    names = [folder.name for folder in folders]
    if {*names} <= SPLITS and TRAIN in names and reading.card.classes != len(names):
        return False
    if free and len(names) == reading.card.classes and not any(_ipc_in(name) or _dataset_in(name, "") for name in names):
        return True
    if any(number_of(name) is not None for name in names) or all(WORDNET.fullmatch(name) for name in names):
        return True
    if reading.card.names and None not in places(names, reading.card.names):
        return True
    return any(paths.files(root, folder, EXTENSIONS) for folder in folders[:3])


def _choose(here: Path, below: Sequence[Path], reading: Reading) -> Path:
    """Return the folder to go on with. Raises DataError with the choices when they do not tell."""
    if {folder.name for folder in below} <= SPLITS and (train := here / TRAIN) in below:
        reading.say(f"{here.name}: what is in its {TRAIN}/ is read")
        return train
    fitting = [folder for folder in below if not _contradicts(folder.name, reading)]
    for wanted in (_says_both, _says_ipc, _says_dataset, lambda name, reading: True):
        chosen = [folder for folder in fitting if wanted(folder.name, reading)]
        if len(chosen) == 1:
            return chosen[0]
        if chosen:
            break
    names = ", ".join(folder.name for folder in (fitting or below)[:8])
    asked = reading.card.name + (f" at IPC {reading.ipc}" if reading.ipc is not None else "")
    what = "several folders may be" if fitting else "no folder is"
    raise DataError(f"{here}: {what} the set of {asked}: {names}; give its own")


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


#: What publishers call the datasets in the names of folders.
DATASETS = {
    "cifar100": "cifar100",
    "cifar10": "cifar10",
    "tinyimagenet": "tinyimagenet",
    "imagenet1k": "imagenet1k",
    "imagenetnette": "imagenette",
    "imagenette": "imagenette",
    "imagenetwoof": "imagewoof",
    "imagewoof": "imagewoof",
    "imagenet": "imagenet1k",
    "imagenet21k": "imagenet21k",
    "fashionmnist": "fashionmnist",
    "digits": "digits",
}


def _dataset_in(name: str, asked: str) -> str:
    """Return the dataset that a name states: the longest word that fits, so that cifar100 is not read as cifar10; else ""."""
    meant = DATASETS | {_plain(asked): _plain(asked)}
    return meant.get(max((word for word in meant if word in _plain(name)), key=len, default=""), "")


def _ipc_in(name: str) -> int | None:
    """Return the IPC that a name states: ipc10, ipc_10, 10ipc; RDED's mipc300 is how many images compete."""
    stated = re.search(r"(?<![a-z])ipc[_-]?(\d{1,6})|(?<![\da-z])(\d{1,6})_?ipc(?![_-]?\d)", name.lower())
    return int(stated[1] or stated[2]) if stated else None


def _says_dataset(name: str, reading: Reading) -> bool:
    return _dataset_in(name, reading.card.name) == _plain(reading.card.name)


def _says_ipc(name: str, reading: Reading) -> bool:
    return reading.ipc is not None and _ipc_in(name) == reading.ipc


def _says_both(name: str, reading: Reading) -> bool:
    return _says_dataset(name, reading) and _says_ipc(name, reading)


def _contradicts(name: str, reading: Reading) -> bool:
    """Return whether a folder's name is that of another dataset, or of fewer images than are asked for."""
    dataset, ipc = _dataset_in(name, reading.card.name), _ipc_in(name)
    return bool(dataset and dataset != _plain(reading.card.name)) or (
        ipc is not None and reading.ipc is not None and ipc < reading.ipc
    )
