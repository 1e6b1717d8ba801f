"""FKD (Shen and Xing, ECCV 2022), as SRe2L and G-VBSM store soft labels: one for each augmented image of each epoch."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import torch
from torch import Tensor
from torch.utils.data import RandomSampler

from harness.core.errors import BadOption, DataError
from harness.distilled import readers
from harness.distilled.order import number_of
from harness.distilled.readers import image_folders
from harness.distilled.reading import Reading
from harness.distilled.set import MAX_BYTES, DistilledSet
from harness.files import paths
from harness.files.tensors import load_tensors
from harness.training.replay import Replay

#: The seed of the sampler that the relabelling code shuffles with.
SAMPLER_SEED = 42
#: One batch of 1,024 images and 21,841 classes in float32 is 90 MB.
MAX_BATCH_BYTES = 1 << 30
#: Readers of images in class folders.
FOLDERS = ("sre2l", "cda", "gvbsm", "rded")


@dataclass(frozen=True)
class Stored:
    """What one file holds, checked: see `Replay` for units. `index` is None where the file does not store it."""

    crops: Tensor
    flips: Tensor
    partners: Tensor
    lam: float
    box: tuple[int, int, int, int]
    logits: Tensor
    index: Tensor | None


def fkd(reading: Reading, *, images: str, images_format: str = "sre2l", epochs: int = 0) -> DistilledSet:
    """FKD: stored soft labels, epoch_{e}/batch_{b}.tar, replayed with their crops, flips and mixes.

    Args:
        reading: its path is the folder of the epochs.
        images: the folder of the images that were labelled; a relative one is looked for from the labels' folder.
        images_format: the reader of these images.
        epochs: how many to take, from the first; 0 takes all.
    Returns: the images with a `replay`; the native loss is kl. The order of the images is the files' own where they store it
        (G-VBSM), else that of a RandomSampler seeded 42 over the sorted files, going on from epoch to epoch (SRe2L). Both count
        files as ImageFolder sorts them, whatever the order of the classes here. Logits stand in the teacher's order: that of the
        folders' numbers where these are numbers, else the dataset's own.
    Raises: DataError that names the file or folder.
    """
    root = paths.folder(reading.path)
    if epochs < 0:
        raise BadOption(f"reader 'fkd': epochs must be how many to take, or 0 for all, not {epochs}")
    distilled = readers.create(images_format)(replace(reading, path=_images(root, images)))
    folders = _numbered(root, paths.folders(root), r"epoch_(0|[1-9]\d*)", "epoch")[: epochs or None]
    if epochs > len(folders):
        raise DataError(f"{root}: {len(folders)} epochs, {epochs} are asked for")
    listed = [_numbered(folder, paths.files(root, folder), r"batch_(0|[1-9]\d*)\.tar", "batch") for folder in folders]
    size, total = distilled.shape[1:], hashlib.sha256()
    first = _stored(listed[0][0], distilled.classes, size)
    batch = len(first.flips)
    _check_room(folders, listed, distilled, batch)
    replay = _room(len(folders), len(distilled), -(-len(distilled) // batch), distilled.classes, batch)
    order, layout = _Order(len(distilled)), _layout(distilled, replace(reading, path=_images(root, images)), images_format)
    for epoch, files in enumerate(listed):
        shuffled = order.next()
        for step, file in enumerate(files):
            stored = _stored(file, distilled.classes, size)
            if (stored.index is None) != (first.index is None):
                raise DataError(f"{file}: only some of the files store the index of their images")
            _fill(replay, epoch, step, stored, shuffled, layout, file)
            total.update(f"{file.relative_to(root).as_posix()} {_sha256(file)}\n".encode())
    assumed = "stored" if first.index is not None else f"RandomSampler seeded {SAMPLER_SEED} over the sorted files"
    reading.say(f"{root.name}: {len(folders)} epochs in batches of {batch}; order of the images: {assumed}")
    facts = {
        "format": "fkd",
        "folder": root.name,
        "epochs": len(folders),
        "sha256": total.hexdigest(),
        "assumed": {"order": assumed},
        **({"order": distilled.provenance["order"]} if "order" in distilled.provenance else {}),
    }
    try:
        return DistilledSet(
            distilled.images,
            distilled.labels,
            dataset=distilled.dataset,
            method="fkd",
            classes=distilled.classes,
            factor=distilled.factor,
            native_loss="kl",
            replay=replay,
            provenance=facts | {"images": distilled.provenance, "ipc": distilled.ipc},
            known_dataset=False,
        )
    except DataError as error:
        raise DataError(f"{root}: {error}") from None


def _images(root: Path, images: str) -> Path:
    """Return the images' folder, which the user names: it need not lie in the labels' folder."""
    path = Path(images).expanduser()
    for place in (root / path, root.parent / path, path):
        if place.is_dir():
            return place.resolve()
    raise DataError(f"{root}: images = {images!r}: no such folder there, beside it or here")


def _numbered(root: Path, files: Sequence[Path], pattern: str, what: str) -> list[Path]:
    """Return folders or files in the order of the numbers in their names, from 0 without a gap."""
    numbers: dict[int, Path] = {}
    for path in files:
        match = re.fullmatch(pattern, path.name)
        if match is not None and len(match[1]) <= 9:
            numbers[int(match[1])] = path
    if not numbers:
        raise DataError(f"{root}: no {what}_0")
    for number in range(len(numbers)):
        if number not in numbers:
            raise DataError(f"{root}: {what}_{number} is missing; there are {len(numbers)}, up to {what}_{max(numbers)}")
    return [numbers[number] for number in range(len(numbers))]


@dataclass(frozen=True)
class _Layout:
    """Where what the files count stands in the set.

    Attributes:
        images: [N] int64, which image of the set is the i-th of the files as ImageFolder sorts them.
        columns: [C] int64, which of the teacher's logits is of the set's class c.
    """

    images: Tensor
    columns: Tensor


def _layout(distilled: DistilledSet, reading: Reading, images_format: str) -> _Layout:
    """Return where images and classes stand in a set that was read by one of the readers of class folders, or by another one."""
    layout = _Layout(torch.arange(len(distilled)), torch.arange(distilled.classes))
    if images_format not in FOLDERS:
        return layout
    folders = image_folders.find(reading)
    names = [files[0].relative_to(folders.root).parts[0] for files in folders.classes]
    by_name = sorted(range(len(names)), key=names.__getitem__)
    images = layout.images.view(len(names), folders.ipc)[by_name].flatten()
    numbers = [number for name in names if (number := number_of(name)) is not None]
    if len(numbers) < len(names):
        return replace(layout, images=images)
    ranks = {number: rank for rank, number in enumerate(sorted(numbers))}
    return _Layout(images, torch.tensor([ranks[number] for number in numbers]))


class _Order:
    """The order of N images, epoch by epoch, as the relabelling code's sampler gives it; its generator is not the loader's."""

    def __init__(self, images: int) -> None:
        generator = torch.Generator().manual_seed(SAMPLER_SEED)
        self.sampler = RandomSampler(range(images), generator=generator)

    def next(self) -> Tensor:
        return torch.tensor(list(self.sampler), dtype=torch.int64)


def _check_room(folders: Sequence[Path], listed: Sequence[Sequence[Path]], distilled: DistilledSet, batch: int) -> None:
    """Check, before memory is taken, that every epoch has as many files as it must, and each file bytes enough for its logits."""
    room = len(folders) * len(distilled) * (2 * distilled.classes + 40)
    if room > MAX_BYTES:
        place = folders[0].parent
        raise DataError(
            f"{place}: {room / 2**30:.0f} GiB of soft labels, above the limit of {MAX_BYTES >> 30} GiB; give epochs=…"
        )
    steps = -(-len(distilled) // batch)
    for folder, files in zip(folders, listed, strict=True):
        if len(files) != steps:
            raise DataError(f"{folder}: {len(files)} batches, {len(distilled)} images in batches of {batch} are {steps}")
        for step, file in enumerate(files):
            images = min(batch, len(distilled) - step * batch)
            if paths.size(file, MAX_BATCH_BYTES) < 2 * images * distilled.classes:
                raise DataError(f"{file}: too small for {images} images' soft labels of {distilled.classes} classes")


def _room(epochs: int, images: int, steps: int, classes: int, batch: int) -> Replay:
    return Replay(
        index=torch.empty(epochs, images, dtype=torch.int64),
        crops=torch.empty(epochs, images, 4),
        flips=torch.empty(epochs, images, dtype=torch.bool),
        partners=torch.empty(epochs, images, dtype=torch.int64),
        lam=torch.ones(epochs, steps),
        boxes=torch.full((epochs, steps, 4), -1, dtype=torch.int64),
        logits=torch.empty(epochs, images, classes, dtype=torch.float16),
        batch=batch,
    )


def _fill(replay: Replay, epoch: int, step: int, stored: Stored, shuffled: Tensor, layout: _Layout, file: Path) -> None:
    """Put one batch into its place."""
    start = step * replay.batch
    wanted = min(replay.batch, replay.index.shape[1] - start)
    if len(stored.flips) != wanted:
        raise DataError(f"{file}: {len(stored.flips)} images where the others make it {wanted}")
    here = slice(start, start + wanted)
    index = shuffled[here] if stored.index is None else stored.index
    _within(file, "index", index, 0, len(layout.images) - 1)
    replay.index[epoch, here] = layout.images[index]
    replay.crops[epoch, here] = stored.crops
    replay.flips[epoch, here] = stored.flips
    replay.partners[epoch, here] = stored.partners
    replay.lam[epoch, step] = stored.lam
    replay.boxes[epoch, step] = torch.tensor(stored.box)
    replay.logits[epoch, here] = stored.logits.to(torch.float16)[:, layout.columns]


def _stored(file: Path, classes: int, size: tuple[int, int]) -> Stored:
    """Return what a file holds. Raises DataError that names it when a part is not what it should be."""
    content = load_tensors(file, limit=MAX_BATCH_BYTES)
    if not isinstance(content, (list, tuple)) or len(content) not in (6, 7):
        raise DataError(f"{file}: expected a list of crops, flips, mix index, lam, box, logits and perhaps index")
    crops, flips, partners, lam, box, logits, *index = content
    count = len(flips) if isinstance(flips, Tensor) and flips.dim() == 1 else 0
    _check(file, "crops", crops, (count, 4), (torch.float32, torch.float64))
    _check(file, "flips", flips, (count,), (torch.bool,))
    _check(file, "logits", logits, (count, classes), (torch.float16, torch.float32))
    if partners is None:
        partners, lam, box = torch.arange(count), 1.0, None
    _check(file, "mix index", partners, (count,), (torch.int64,))
    _within(file, "mix index", partners, 0, count - 1)
    if index:
        _check(file, "index", index[0], (count,), (torch.int64, torch.int32))
    _finite(file, "crops", crops)
    _within(file, "crops", crops, 0, 1)
    if bool((crops[:, 2:] <= 0).any()) or bool((crops[:, :2] + crops[:, 2:] > 1 + 1e-5).any()):
        raise DataError(f"{file}: crops must be top, left, height and width within the image, as shares of its sides")
    corners = _box(file, box, size)
    return Stored(
        crops.float(),
        flips,
        partners,
        _share(file, lam, corners, size),
        corners,
        _finite(file, "logits", logits.to(torch.float16)),
        index[0].long() if index else None,
    )


def _check(file: Path, what: str, value: object, shape: tuple[int, ...], dtypes: Sequence[torch.dtype]) -> None:
    if not isinstance(value, Tensor) or tuple(value.shape) != shape or value.dtype not in dtypes or not value.numel():
        given = f"{value.dtype} {list(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
        named = " or ".join(str(dtype).removeprefix("torch.") for dtype in dtypes)
        raise DataError(f"{file}: {what} must be {named} {list(shape)}, not {given}")


def _finite(file: Path, what: str, value: Tensor) -> Tensor:
    if not bool(value.isfinite().all()):
        raise DataError(f"{file}: {what} must be finite in half precision; {int((~value.isfinite()).sum())} values are not")
    return value


def _within(file: Path, what: str, value: Tensor, low: int, high: int) -> None:
    if float(value.min()) < low or float(value.max()) > high:
        raise DataError(
            f"{file}: {what} must lie in {low}..{high}; it reaches from {float(value.min()):g} to {float(value.max()):g}"
        )


def _box(file: Path, box: object, size: tuple[int, int]) -> tuple[int, int, int, int]:
    """Return CutMix's box as top, left, bottom, right; -1 where there is none. The stored first and third run down the image."""
    if box is None:
        return -1, -1, -1, -1
    values = box.tolist() if isinstance(box, Tensor) and box.numel() == 4 else box
    if isinstance(values, (list, tuple)) and len(values) == 4 and all(isinstance(value, int) for value in values):
        top, left, bottom, right = (int(value) for value in values)
        if 0 <= top <= bottom <= size[0] and 0 <= left <= right <= size[1]:
            return top, left, bottom, right
    raise DataError(f"{file}: the box must be 4 whole numbers within {size[0]}x{size[1]} px, not {_shown(box)}")


def _share(file: Path, lam: object, box: tuple[int, int, int, int], size: tuple[int, int]) -> float:
    """Return what an image keeps of itself: all but the box under CutMix, else the stored lam."""
    single = isinstance(lam, Tensor) and lam.numel() == 1 and not lam.is_complex()
    value = float(cast("Tensor | float", lam)) if single or isinstance(lam, (int, float)) else float("nan")
    if not 0 <= value <= 1:
        raise DataError(f"{file}: lam must be a number in [0, 1], not {_shown(lam)}")
    return value if box[0] < 0 else 1 - (box[2] - box[0]) * (box[3] - box[1]) / (size[0] * size[1])


def _shown(value: object) -> str:
    return f"a tensor {list(value.shape)}" if isinstance(value, Tensor) else " ".join(str(value)[:80].split())


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
