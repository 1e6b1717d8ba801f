"""What the readers of torch-saved sets share: images and labels that are checked before they are trusted."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from harness.core.errors import DataError
from harness.distilled.agreement import agreement
from harness.distilled.reading import Reading
from harness.distilled.set import FLOATS, ROUNDING, DistilledSet
from harness.files import paths
from harness.files.tensors import MAX_BYTES, load_tensors

Kind = Literal["logits", "probabilities"]
#: DC-BENCH keeps Tiny-ImageNet at IPC 50 in parts: images_best_0.pt, images_best_1.pt, …
MAX_PARTS = 100
#: Where the code of trajectory matching (FTD, DATM) puts a run's sets below its folder.
BELOW = "Normal"


def files_of(reading: Reading, default: str) -> tuple[Path, list[Path]]:
    """Return the folder of a set and the file, or the parts of it, that holds its images.

    Args:
        reading: its path is the folder, or the folder of the run that made it (which has it in Normal/), or the images' file.
        default: the images' name when the path is a folder.
    Raises: DataError when there is no such file.
    """
    if not reading.path.is_dir():
        return paths.folder(reading.path.parent), [reading.path]
    root = paths.folder(reading.path)
    if not _parts(root, default) and (below := paths.inside(root, BELOW)).is_dir():
        reading.say(f"{root.name}: the folder of a run; what is in its {BELOW}/ is read")
        root = below
    return root, parts(root, default)


def parts(root: Path, name: str) -> list[Path]:
    """Return [root/name], or its parts name_0, name_1 and so on when there is no such file. Raises DataError for neither."""
    files = _parts(root, name)
    if not files:
        present = ", ".join(path.name for path in paths.files(root)[:8])
        raise DataError(f"{paths.inside(root, name)}: no such file; the folder holds {present or 'no files'}")
    return files


def _parts(root: Path, name: str) -> list[Path]:
    """Return what `parts` returns, or nothing."""
    whole = paths.inside(root, name)
    if whole.exists():
        return [whole]
    stem, dot, ending = name.rpartition(".")
    files: list[Path] = []
    while len(files) < MAX_PARTS and (part := paths.inside(root, f"{stem}_{len(files)}{dot}{ending}")).exists():
        files.append(part)
    return files


def labels_beside(images: Path) -> str:
    """Return the name of the labels saved with an images' file: labels_X.pt beside images_X.pt and images_zca_X.pt."""
    return re.sub(r"^images(_zca)?", "labels", images.name)


def read_images(files: Sequence[Path], reading: Reading) -> Tensor:
    """Return images, [N, C, H, W] float32 or 8-bit pixels, of the card's shape. Raises DataError that names the file."""
    parts_of = [images_in(load_tensors(path), path, reading, eight_bits=True) for path in files]
    if len({part.dtype for part in parts_of}) > 1:
        raise DataError(f"{files[0]}: some of its parts hold 8-bit pixels, and some hold floats")
    return torch.cat(parts_of)


def images_in(content: object, path: Path, reading: Reading, eight_bits: bool = False) -> Tensor:
    """Return what a file holds as images, [N, C, H, W] float32, when it is that and of the card's shape.

    Args:
        eight_bits: whether 8-bit pixels are taken, and given as they are.
    """
    card, images = reading.card, content
    if not isinstance(images, Tensor):
        raise DataError(f"{path}: the images must be one tensor, not a {type(images).__name__}")
    if images.dim() != 4 or not len(images) or tuple(images.shape[1:]) != tuple(card.shape):
        wanted = ", ".join(map(str, card.shape))
        raise DataError(f"{path}: images of {card.name} must be [N, {wanted}], these are {list(images.shape)}")
    if images.dtype == torch.uint8 and eight_bits:
        return images
    if images.dtype not in FLOATS:
        raise DataError(f"{path}: the images must be floats, not {images.dtype}")
    images = images.float()
    if bad := sum([int((~chunk.isfinite()).sum()) for chunk in torch.split(images, 1000)]):
        raise DataError(f"{path}: the images must be finite; {bad} values are not")
    return images


def read_labels(files: Sequence[Path]) -> Tensor:
    """Return the labels of a file, or of its parts. Raises DataError that names the file."""
    parts_of: list[Tensor] = []
    for path in files:
        labels = load_tensors(path)
        if not isinstance(labels, Tensor) or not labels.dim():
            raise DataError(f"{path}: the labels must be one tensor [N] or [N, classes], not a {type(labels).__name__}")
        if parts_of and (labels.shape[1:] != parts_of[0].shape[1:] or labels.dtype != parts_of[0].dtype):
            raise DataError(f"{path}: {labels.dtype} {list(labels.shape)} does not go on from {files[0].name}")
        parts_of.append(labels)
    return torch.cat(parts_of)


def hard_labels(labels: Tensor, path: Path, images: int, reading: Reading) -> Tensor:
    """Return class indices, [N] int64, one for each image, of integers or of floats that are whole numbers, [N] or [N, 1].

    Raises: DataError that names the file.
    """
    if labels.dim() == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.dim() == 1 and labels.is_floating_point() and bool((labels == labels.round()).all()):
        labels = labels.clamp(-(2**31), 2**31).to(torch.int64)
    if labels.dim() != 1 or labels.dtype == torch.bool or labels.is_floating_point() or labels.is_complex():
        soft = "; soft labels are read by 'datm' (logits) and 'tesla' (probabilities)" if labels.dim() == 2 else ""
        raise DataError(f"{path}: hard labels must be integers [N], not {labels.dtype} {list(labels.shape)}{soft}")
    if len(labels) != images:
        raise DataError(f"{path}: {len(labels)} labels for {images} images")
    labels = labels.to(torch.int64)
    if int(labels.min()) < 0 or int(labels.max()) >= reading.card.classes:
        raise DataError(
            f"{path}: labels must lie in 0..{reading.card.classes - 1} ({reading.card.name}); "
            f"these reach from {int(labels.min())} to {int(labels.max())}"
        )
    return labels


def soft_labels(labels: Tensor, path: Path, images: int, reading: Reading) -> Tensor:
    """Return soft labels, [N, classes] float32, one row for each image. Raises DataError that names the file."""
    classes = reading.card.classes
    if labels.dim() != 2 or labels.dtype not in FLOATS:
        raise DataError(f"{path}: soft labels must be floats [N, {classes}], not {labels.dtype} {list(labels.shape)}")
    if len(labels) != images:
        raise DataError(f"{path}: {len(labels)} labels for {images} images")
    if labels.shape[1] != classes:
        raise DataError(f"{path}: {labels.shape[1]} columns of soft labels; {reading.card.name} has {classes} classes")
    labels = labels.float()
    if not bool(labels.isfinite().all()):
        raise DataError(f"{path}: the soft labels must be finite; {int((~labels.isfinite()).sum())} values are not")
    return labels


def kind_of(soft: Tensor) -> Kind:
    """Return whether soft labels, [N, C], are by their numbers probabilities (at least 0, rows sum to 1) or else logits."""
    sums = soft.sum(1)
    return "probabilities" if float(soft.min()) >= 0 and float((sums - 1).abs().max()) < 1e-2 else "logits"


def by_place(count: int, path: Path, reading: Reading) -> Tensor:
    """Return the classes, [N], of images that lie class by class: index // images a class. Raises DataError if they cannot."""
    classes = reading.card.classes
    if count % classes:
        raise DataError(f"{path}: {count} images are no whole number for each of the {classes} classes of {reading.card.name}")
    return torch.arange(count) // (count // classes)


def by_place_or_top(soft: Tensor, path: Path, reading: Reading) -> Tensor:
    """Return the classes, [N], of images with soft labels: by place where these prove that order, else their highest entry.

    Half of them need not agree: a teacher that is right for 49 % of 100 classes proves an order that chance agrees with in 1 %.
    """
    top = soft.argmax(1)
    if len(soft) % reading.card.classes == 0:
        placed = by_place(len(soft), path, reading)
        if agreement(placed, top, reading.card.classes).proves:
            return placed
    reading.say(f"{path.name}: hard labels are the highest soft label; the images do not lie class by class")
    return top


def first_of_each(hard: Tensor, path: Path, reading: Reading, uneven: bool = False, hint: str = "") -> tuple[Tensor | None, int]:
    """Return which images are the first `reading.ipc` of their class, [n] places (None: all), and how many a class that is.

    Args:
        uneven: whether classes may have different numbers of images; how many a class are then those of the smallest.
        hint: how the user says so, for the error.
    Raises: DataError when the classes have not the same number of images, or fewer than are asked for.
    """
    counts = hard.bincount(minlength=reading.card.classes)
    ipc, most = int(counts.min()), int(counts.max())
    if ipc != most and not (uneven and ipc):
        fewest = int(counts.argmin())
        raise DataError(
            f"{path}: every class of {reading.card.name} must have the same number of images; "
            f"class {fewest} has {ipc}, class {int(counts.argmax())} has {most}{hint if ipc else ''}"
        )
    wanted = reading.ipc
    if wanted is None or wanted == most:
        return None, ipc
    if not 1 <= wanted <= ipc:
        raise DataError(f"{path}: {wanted} images a class are asked for, it has {ipc}")
    order = hard.argsort(stable=True)
    rank = torch.empty_like(order)
    rank[order] = torch.arange(len(order)) - (counts.cumsum(0) - counts)[hard[order]]
    return (rank < wanted).nonzero()[:, 0], wanted


def pixels(images: Tensor, path: Path, reading: Reading) -> Tensor:
    """Return float images as pixels in [0, 1], clipped, which is said, by rounding errors. Raises DataError for no pixels."""
    low, high = float(images.min()), float(images.max())
    if low < -ROUNDING or high > 1 + ROUNDING:
        raise DataError(
            f"{path}: pixels must lie in [0, 1], these in [{low:.4g}, {high:.4g}]; they are no pixels, or not clipped"
        )
    if low < 0 or high > 1:
        reading.say(f"{path.name}: pixels in [{low:.9g}, {high:.9g}], a rounding error outside [0, 1], are clipped")
    return images.clamp(0, 1)


def sha256(path: Path) -> str:
    """Return a file's SHA-256 in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_number(path: Path) -> float:
    """Return the positive number that a file holds. Raises DataError that names the file."""
    content = load_tensors(path, limit=min(MAX_BYTES, 1 << 20))
    value = content.flatten() if isinstance(content, Tensor) and not content.is_complex() else torch.tensor([])
    number = float(value[0]) if len(value) == 1 else content if isinstance(content, (int, float)) else -1.0
    if not 0 < number < float("inf"):
        raise DataError(f"{path}: a learning rate must be one number above 0")
    return float(number)


def make(
    reading: Reading,
    images: Tensor,
    hard: Tensor,
    soft: Tensor | None,
    files: Sequence[Path],
    *,
    method: str,
    kind: Kind = "logits",
    normalised: bool = False,
    whitening: str = "",
    native_loss: str = "",
    facts: Mapping[str, object],
) -> DistilledSet:
    """Return the set of what was read: the publisher's first `reading.ipc` of each class.

    Args:
        images: [N, C, H, W] floats.
        hard: [N] classes.
        soft: [N, classes] or None.
        files: what it was read from, the images first; their names and digests go into the provenance.
        kind: of the soft labels.
        facts: what else the provenance keeps.
        normalised, whitening, native_loss: as `DistilledSet` takes them.
    Raises: DataError that names the images' file.
    """
    chosen, ipc = first_of_each(hard, files[0], reading)
    if chosen is not None:
        images, hard, soft = images[chosen], hard[chosen], None if soft is None else soft[chosen]
    provenance = {**facts, "files": {path.name: sha256(path) for path in files}, "ipc": ipc}
    try:
        return DistilledSet(
            images,
            hard,
            soft,
            dataset=reading.card.name,
            method=method,
            classes=reading.card.classes,
            soft_kind=kind,
            normalised=normalised,
            whitening=whitening,
            native_loss=native_loss,
            provenance=provenance,
            known_dataset=False,
        )
    except DataError as error:
        raise DataError(f"{files[0]}: {error}") from None
