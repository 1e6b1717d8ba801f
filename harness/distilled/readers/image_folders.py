"""What sets in class folders of images share (RDED, SRe2L, CDA, G-VBSM): which folder is which class, which files count."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from harness.core.errors import DataError
from harness.distilled.reading import Reading
from harness.distilled.set import MAX_BYTES, DistilledSet
from harness.files import decoding, paths
from harness.files.pixels import Form

ENDINGS = (".jpg", ".jpeg", ".png")
#: A class folder's number: 00012 (RDED, CDA on ImageNet-21K), new012 (SRe2L), class012.
NUMBERED = re.compile(r"(?:new|class)?_?(\d{1,6})")
WORDNET = re.compile(r"n\d{8}")
#: A file's name: the numbers of its class and of the image in it, class00012_id00003.jpg.
FILE = re.compile(r"class(\d{1,6})_id(\d{1,6})", re.IGNORECASE)
#: Folders above a set's own that may be gone down.
MAX_DEPTH = 6


@dataclass(frozen=True)
class Found:
    """A set's folder and its files, as many of each class; `numbered` unless it is sorted names that make the classes."""

    root: Path
    classes: list[list[Path]]
    numbered: bool

    @property
    def ipc(self) -> int:
        return len(self.classes[0])

    @property
    def files(self) -> list[Path]:
        return [file for files in self.classes for file in files]


def read(reading: Reading, *, format: str, native_loss: str, factor: int = 1, kind: str = "JPEG") -> DistilledSet:
    """Return the set of a folder of class folders: uint8 images, class by class, in the order of the files' names.

    Args:
        reading: its path is the set's folder, or one above it that leads to one only.
        format: the reader's name.
        factor: tiles along one side of a mosaic.
        kind: how its authors encode the images, JPEG or PNG.
    Raises: DataError, in one line, that names the file or folder.
    """
    folders = find(reading)
    size = len(folders.files) * math.prod(reading.card.shape)
    if size > MAX_BYTES:
        raise DataError(
            f"{folders.root}: {size / 2**30:.0f} GiB of pixels, above the limit of {MAX_BYTES >> 30} GiB; give an IPC"
        )
    if (folders.files[0].suffix.lower() == ".png") != (kind == "PNG"):
        reading.say(f"{folders.root.name}: files such as {folders.files[0].name}, where the authors of {format} keep {kind}")
    decoded = decoding.read(
        [str(file) for file in folders.files], Form(reading.card.shape, 0), workers=reading.workers, hashed=True
    )
    total = hashlib.sha256()
    for file, sha in zip(folders.files, decoded.digests, strict=True):
        total.update(f"{file.relative_to(folders.root).as_posix()} {sha}\n".encode())
    labels = torch.arange(reading.card.classes).repeat_interleave(folders.ipc)
    provenance: dict[str, Any] = {
        "format": format,
        "folder": folders.root.name,
        "files": len(folders.files),
        "sha256": total.hexdigest(),
        "ipc": folders.ipc,
        "assumed": {"classes": "the folders' numbers" if folders.numbered else "the folders' names, sorted", "pixels": "[0, 1]"},
    }
    return DistilledSet(
        decoded.images,
        labels,
        dataset=reading.card.name,
        method=format,
        classes=reading.card.classes,
        factor=factor,
        native_loss=native_loss,
        provenance=provenance,
    )


def find(reading: Reading) -> Found:
    """Return the files of the set that `reading` asks for. Raises DataError that names what is wrong, and where."""
    top = paths.folder(reading.path)
    root = _descend(top, reading)
    ordered, numbered = _in_order(root, paths.folders(top, root), reading)
    classes = [_images(top, folder, label if numbered else None) for label, folder in enumerate(ordered)]
    first = [_number(file) for file in classes[0]]
    for folder, files in zip(ordered, classes, strict=True):
        if len(files) != len(first):
            raise DataError(
                f"{folder}: {len(files)} images where {ordered[0].name} has {len(first)}; all classes must have as many"
            )
        if numbered and [_number(file) for file in files] != first:
            raise DataError(f"{folder}: its images are not numbered as those of {ordered[0].name} are")
    wanted = reading.ipc if reading.ipc is not None else len(first)
    if not 1 <= wanted <= len(first):
        raise DataError(f"{root}: {len(first)} images a class, {wanted} are asked for")
    if wanted < len(first):
        reading.say(f"{root.name}: the first {wanted} of {len(first)} images a class, by name")
    return Found(root, [files[:wanted] for files in classes], numbered)


def _number(file: Path) -> int:
    """Return the number of an image in its class, 0 where its name has none."""
    named = FILE.fullmatch(file.stem)
    return int(named[2]) if named is not None else 0


def _in_order(root: Path, folders: Sequence[Path], reading: Reading) -> tuple[list[Path], bool]:
    """Return the class folders by class, and whether their names are the classes' numbers."""
    card = reading.card
    numbers: dict[int, Path] = {}
    for folder in folders:
        match = NUMBERED.fullmatch(folder.name)
        if match is not None:
            label = int(match[1])
            if label in numbers:
                raise DataError(f"{root}: {numbers[label].name} and {folder.name} are both class {label}")
            numbers[label] = folder
    if numbers and len(numbers) < len(folders):
        odd = next(folder for folder in folders if NUMBERED.fullmatch(folder.name) is None)
        raise DataError(f"{odd}: no class folder, beside others that are numbered such as {next(iter(numbers.values())).name}")
    if not numbers:
        if len(folders) != card.classes:
            raise DataError(f"{root}: {len(folders)} class folders, {card.name} has {card.classes} classes")
        reading.say(f"{root.name}: the folders are no numbers, so the classes are their names, sorted, from {folders[0].name}")
        return list(folders), False
    if missing := sorted({*range(card.classes)} - numbers.keys()):
        raise DataError(f"{root}: no folder of class {missing[0]}; {len(numbers)} class folders, {card.name} has {card.classes}")
    if extra := sorted(numbers.keys() - {*range(card.classes)}):
        raise DataError(f"{numbers[extra[0]]}: a class too many; {card.name} has {card.classes}, numbered from 0")
    return [numbers[label] for label in range(card.classes)], True


def _images(root: Path, folder: Path, label: int | None) -> list[Path]:
    """Return a class's images by name."""
    files = paths.files(root, folder, ENDINGS)
    images = {file.name for file in files}
    others = [entry.name for entry in paths.entries(root, folder) if entry.name not in images]
    if not files:
        raise DataError(f"{folder}: " + (f"no images ({', '.join(ENDINGS)}), but {others[0]}" if others else "empty"))
    if others:
        raise DataError(f"{folder / others[0]}: no image ({', '.join(ENDINGS)}), in a folder of images")
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
    return files


# -- finding the set's own folder ------------------------------------------------------------------------------------------


def _descend(root: Path, reading: Reading) -> Path:
    """Return the folder whose folders are classes: `root`, or the only one below it that fits dataset and IPC."""
    here = root
    for _ in range(MAX_DEPTH):
        below = paths.folders(root, here)
        if not below:
            raise DataError(f"{here}: " + ("empty" if not paths.entries(root, here) else "no class folders"))
        if _are_classes(root, below, reading):
            return here
        here = _choose(here, below, reading)
    raise DataError(f"{root}: no class folders within {MAX_DEPTH} folders; give the folder that holds them")


def _are_classes(root: Path, folders: Sequence[Path], reading: Reading) -> bool:
    numbered = sum(NUMBERED.fullmatch(folder.name) is not None for folder in folders)
    if numbered or all(WORDNET.fullmatch(folder.name) for folder in folders):
        return True
    return any(paths.files(root, folder, ENDINGS) for folder in folders[:3])


def _choose(here: Path, below: Sequence[Path], reading: Reading) -> Path:
    """Return the folder to go on with. Raises DataError with the choices when they do not tell."""
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
    """Return the IPC that a name states: ipc10, ipc_10; RDED's mipc300 is how many images compete."""
    stated = re.search(r"(?<![a-z])ipc[_-]?(\d+)", name.lower())
    return int(stated[1]) if stated else None


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
