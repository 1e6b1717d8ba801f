"""What readers of stored soft labels share: batches of augmentations and what the teacher said of them, checked and put in place.

All of them count images as torchvision's ImageFolder sorts their files, and classes as the teacher does.
"""

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

from harness.core.errors import DataError
from harness.distilled import places, readers
from harness.distilled.order import number_of
from harness.distilled.places import Place
from harness.distilled.readers import image_folders
from harness.distilled.reading import Reading
from harness.distilled.set import MAX_BYTES, DistilledSet
from harness.files import paths
from harness.files.hub import is_remote
from harness.files.tensors import load_tensors
from harness.training.replay import Replay, Rule

#: The seed of the sampler that relabelling codes shuffle with.
SAMPLER_SEED = 42
#: One batch of 1,024 images and 21,841 classes in float32 is 90 MB; an epoch of HALD's on ImageNet-1K at IPC 50, 100 MB.
MAX_BATCH_BYTES = 1 << 30
#: Readers of images in class folders.
FOLDERS = ("sre2l", "cda", "gvbsm", "rded", "folder")
#: By how much a crop's far edge may lie outside the image: sums of shares in single and in half precision.
ROUNDING = {torch.float64: 1e-5, torch.float32: 1e-5, torch.float16: 2e-3}


@dataclass(frozen=True)
class Stored:
    """One stored batch, checked: see `Replay` for units.

    `values` [B, K] float16 are of all classes where `topk`, [B, K] int16, is None; `index` is None where the file lacks it, and
    `operations` and `arguments`, [B, R], where no RandAugment is stored.
    """

    crops: Tensor
    flips: Tensor
    partners: Tensor
    lam: float
    box: tuple[int, int, int, int]
    values: Tensor
    topk: Tensor | None = None
    lowest: Tensor | None = None
    operations: Tensor | None = None
    arguments: Tensor | None = None
    index: Tensor | None = None

    @property
    def rounds(self) -> int:
        """How many of RandAugment's are stored of each image."""
        return 0 if self.operations is None else self.operations.shape[1]

    def __len__(self) -> int:
        return len(self.flips)


# -- the images that were labelled -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Layout:
    """Where what the files count stands in the set.

    Attributes:
        images: [N] int64, which image of the set is the i-th of the files as ImageFolder sorts them.
        columns: [C] int64, which of the teacher's logits is of the set's class c.
    """

    images: Tensor
    columns: Tensor


@dataclass(frozen=True)
class Labelled:
    """The folder of stored labels, the images that they are of, and where these stand in the set."""

    root: Path
    distilled: DistilledSet
    layout: Layout

    @classmethod
    def of(cls, reading: Reading, images: str, images_format: str) -> Labelled:
        """Return what the options of a reader name. Raises DataError."""
        root = paths.folder(reading.path)
        with places.unpacked(_images(reading, root, images), reading.say) as here:
            pictures = replace(reading, path=here.path)
            distilled = readers.create(images_format)(pictures)
            distilled.provenance |= here.facts
            return cls(root, distilled, _layout(distilled, pictures, images_format))

    @property
    def size(self) -> tuple[int, int]:
        return self.distilled.shape[1:]

    def index(self, file: Path, index: Tensor) -> Tensor:
        """Return which images of the set these are. Raises DataError for a number that none has."""
        within(file, "index", index, 0, len(self.layout.images) - 1)
        return self.layout.images[index]

    def set(self, method: str, replay: Replay, facts: dict[str, object], native_loss: str = "kl") -> DistilledSet:
        """Return the images with what is stored of them; `facts` are what its provenance states beside the images'."""
        distilled = self.distilled
        stated, of_labels = distilled.provenance.get("bytes"), facts.get("bytes")
        if isinstance(stated, dict) and isinstance(of_labels, dict):
            facts = facts | {"bytes": {**stated, **of_labels}}
        order = {"order": distilled.provenance["order"]} if "order" in distilled.provenance else {}
        try:
            return DistilledSet(
                distilled.images,
                distilled.labels,
                dataset=distilled.dataset,
                method=method,
                classes=distilled.classes,
                factor=distilled.factor,
                native_loss=native_loss,
                replay=replay,
                provenance={"format": method, "folder": self.root.name}
                | facts
                | order
                | {"images": distilled.provenance, "ipc": distilled.ipc},
                known_dataset=False,
            )
        except DataError as error:
            raise DataError(f"{self.root}: {error}") from None


def _images(reading: Reading, root: Path, images: str) -> Place:
    """Return where the images lie, which the user names: a folder, an archive of one, a file, a place on the Hub.

    They need not lie in the labels' folder: a relative path is looked for there, beside it, beside the labels' archive, and here.
    """
    path = Path(images).expanduser()
    if is_remote(path):
        return places.fetched(path, reading.say)
    beside = () if reading.origin is None else (reading.origin.parent,)
    for start in (root, root.parent, *beside, Path()):
        if (start / path).exists():
            return Place((start / path).resolve())
    raise DataError(f"{root}: images = {images!r}: no such folder or archive there, beside it or here")


def _layout(distilled: DistilledSet, reading: Reading, images_format: str) -> Layout:
    """Return where images and classes stand in a set that was read by one of the readers of class folders, or by another one."""
    reader, layout = readers.resolve(images_format), Layout(torch.arange(len(distilled)), torch.arange(distilled.classes))
    if reader.name not in FOLDERS:
        return layout
    free, uneven = reader.name == "folder", bool(reader.spec.options.get("uneven", False))
    folders = image_folders.find(reading, free=free, uneven=uneven)
    places = [file.relative_to(folders.root) for file in folders.files]
    counted = [(place.parts[0], place.parent.as_posix(), place.name) for place in places]
    images = torch.tensor(sorted(range(len(counted)), key=counted.__getitem__))
    names = [files[0].relative_to(folders.root).parts[0] for files in folders.classes]
    numbers = [number for name in names if (number := number_of(name)) is not None]
    if len(numbers) < len(names):
        return replace(layout, images=images)
    ranks = {number: rank for rank, number in enumerate(sorted(numbers))}
    return Layout(images, torch.tensor([ranks[number] for number in numbers]))


class SamplerOrder:
    """The order of N images, epoch by epoch, as the relabelling code's sampler gives it; its generator is not the loader's."""

    def __init__(self, images: int) -> None:
        generator = torch.Generator().manual_seed(SAMPLER_SEED)
        self.sampler = RandomSampler(range(images), generator=generator)

    def next(self) -> Tensor:
        return torch.tensor(list(self.sampler), dtype=torch.int64)


# -- files -----------------------------------------------------------------------------------------------------------------


def numbered(root: Path, files: Sequence[Path], pattern: str, what: str) -> list[Path]:
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


class Ledger:
    """The files that labels were read from: SHA-256 of each, and bytes of all."""

    def __init__(self, root: Path) -> None:
        self.root, self.bytes, self._total = root, 0, hashlib.sha256()

    def enter(self, file: Path) -> None:
        with file.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
        self.bytes += file.stat().st_size
        self._total.update(f"{file.relative_to(self.root).as_posix()} {digest}\n".encode())

    @property
    def facts(self) -> dict[str, object]:
        """What a set's provenance states of them."""
        return {"sha256": self._total.hexdigest(), "bytes": {"labels": self.bytes}}


def content(file: Path) -> object:
    """Return what a file of stored labels holds, as plain data. Raises DataError that names it."""
    return load_tensors(file, limit=MAX_BATCH_BYTES)


# -- one batch -------------------------------------------------------------------------------------------------------------


def augmented(file: Path | str, parts: Sequence[object], size: tuple[int, int], halves: bool = False) -> Stored:
    """Return crops, flips, mix index, lam and box of a batch, checked; its `values` are none yet.

    Args:
        file: the file, or in words the batch in it.
        parts: these five, as they are stored.
        size: height and width of the images.
        halves: whether crops may be in half precision and the mix index in 8 bits, as LPLD and HALD keep them.
    Raises: DataError that names the file when one is not what it should be.
    """
    crops, flips, partners, lam, box = parts
    count = len(flips) if isinstance(flips, Tensor) and flips.dim() == 1 else 0
    check(file, "crops", crops, (count, 4), (torch.float32, torch.float64, *([torch.float16] if halves else [])))
    check(file, "flips", flips, (count,), (torch.bool,))
    crops, flips = cast(Tensor, crops), cast(Tensor, flips)
    if partners is None:
        partners, lam, box = torch.arange(count), 1.0, None
    check(file, "mix index", partners, (count,), (torch.int64, *([torch.uint8] if halves else [])))
    partners = cast(Tensor, partners)
    if partners.dtype == torch.uint8 and count > 256:
        raise DataError(f"{file}: mix index in 8 bits cannot name the images of a batch of {count}")
    within(file, "mix index", partners, 0, count - 1)
    finite(file, "crops", crops)
    within(file, "crops", crops, 0, 1)
    far = crops[:, :2].float() + crops[:, 2:].float()
    if bool((crops[:, 2:] <= 0).any()) or bool((far > 1 + ROUNDING[crops.dtype]).any()):
        raise DataError(f"{file}: crops must be top, left, height and width within the image, as shares of its sides")
    corners = _box(file, box, size)
    return Stored(crops.float(), flips, partners.long(), _share(file, lam, corners, size), corners, torch.empty(0))


def check(file: Path | str, what: str, value: object, shape: tuple[int, ...], dtypes: Sequence[torch.dtype]) -> None:
    """Raise DataError unless a value is a tensor of this shape, which holds something, and of one of these types."""
    if not isinstance(value, Tensor) or tuple(value.shape) != shape or value.dtype not in dtypes or not value.numel():
        given = f"{value.dtype} {list(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
        named = " or ".join(str(dtype).removeprefix("torch.") for dtype in dtypes)
        raise DataError(f"{file}: {what} must be {named} {list(shape)}, not {given}")


def finite(file: Path | str, what: str, value: Tensor) -> Tensor:
    """Return a tensor whose values are all finite. Raises DataError for another."""
    if not bool(value.isfinite().all()):
        raise DataError(f"{file}: {what} must be finite in half precision; {int((~value.isfinite()).sum())} values are not")
    return value


def within(file: Path | str, what: str, value: Tensor, low: int, high: int) -> None:
    """Raise DataError unless all of a tensor's values lie in low..high."""
    if float(value.min()) < low or float(value.max()) > high:
        raise DataError(
            f"{file}: {what} must lie in {low}..{high}; it reaches from {float(value.min()):g} to {float(value.max()):g}"
        )


def _box(file: Path | str, box: object, size: tuple[int, int]) -> tuple[int, int, int, int]:
    """Return CutMix's box as top, left, bottom, right; -1 where there is none. The stored first and third run down the image."""
    if box is None:
        return -1, -1, -1, -1
    values = box.tolist() if isinstance(box, Tensor) and box.numel() == 4 else box
    if isinstance(values, (list, tuple)) and len(values) == 4:
        values = [value.item() if isinstance(value, Tensor) and value.numel() == 1 else value for value in values]
        if all(isinstance(value, int) for value in values):
            top, left, bottom, right = (int(value) for value in values)
            if 0 <= top <= bottom <= size[0] and 0 <= left <= right <= size[1]:
                return top, left, bottom, right
    raise DataError(f"{file}: the box must be 4 whole numbers within {size[0]}x{size[1]} px, not {_shown(box)}")


def _share(file: Path | str, lam: object, box: tuple[int, int, int, int], size: tuple[int, int]) -> float:
    """Return what an image keeps of itself: all but the box under CutMix, else the stored lam."""
    single = isinstance(lam, Tensor) and lam.numel() == 1 and not lam.is_complex()
    value = float(cast("Tensor | float", lam)) if single or isinstance(lam, (int, float)) else float("nan")
    if not 0 <= value <= 1:
        raise DataError(f"{file}: lam must be a number in [0, 1], not {_shown(lam)}")
    return value if box[0] < 0 else 1 - (box[2] - box[0]) * (box[3] - box[1]) / (size[0] * size[1])


def _shown(value: object) -> str:
    return f"a tensor {list(value.shape)}" if isinstance(value, Tensor) else " ".join(str(value)[:80].split())


# -- batches that epochs draw from -----------------------------------------------------------------------------------------


class Pool:
    """Room for batches that epochs draw from, filled one after the other.

    Args:
        batches: how many.
        first: one of them, none of which is larger.
        rule: how epochs draw from them.
        bytes: of the files that they come from: room is made for what these can hold.
    Raises: DataError, that names the labels' folder, where that is too much.
    """

    def __init__(self, labelled: Labelled, batches: int, first: Stored, rule: Rule, bytes: int) -> None:
        self.labelled, self.batch, self._rounds, self._filled = labelled, len(first), first.rounds, 0
        width = first.values.shape[1]
        room = batches * self.batch * 2 * width
        if room > MAX_BYTES:
            raise DataError(
                f"{labelled.root}: {room / 2**30:.0f} GiB of soft labels, above the limit of {MAX_BYTES >> 30} GiB; take fewer"
            )
        if room > 2 * bytes + (1 << 20):  # of two batches, one may be smaller
            raise DataError(f"{labelled.root}: {bytes} bytes of files cannot hold {batches} batches of {self.batch} images")
        shape = (batches, self.batch)
        self.replay = Replay(
            index=torch.zeros(shape, dtype=torch.int64),
            crops=torch.tensor([0.0, 0.0, 1.0, 1.0]).repeat(*shape, 1),
            flips=torch.zeros(shape, dtype=torch.bool),
            partners=torch.zeros(shape, dtype=torch.int64),
            lam=torch.ones(batches, 1),
            boxes=torch.full((batches, 1, 4), -1, dtype=torch.int64),
            logits=torch.zeros(*shape, width, dtype=torch.float16),
            batch=self.batch,
            topk=torch.arange(width).to(torch.int16).repeat(*shape, 1) if first.topk is not None else None,
            lowest=torch.zeros(shape, dtype=torch.float16) if first.lowest is not None else None,
            operations=torch.zeros(*shape, first.rounds, dtype=torch.uint8) if first.rounds else None,
            arguments=torch.zeros(*shape, first.rounds, dtype=torch.float16) if first.rounds else None,
            counts=torch.zeros(batches, dtype=torch.int64),
            rule=rule,
        )

    def add(self, file: Path, stored: Stored, index: Tensor) -> None:
        """Put the next batch into its place.

        Args:
            index: which images it is of, [B], as the files count them.
        """
        if len(stored) > self.batch or stored.values.shape[1] != self.replay.logits.shape[2]:
            raise DataError(
                f"{file}: {len(stored)} images' {stored.values.shape[1]} soft labels each, where the first batch has "
                f"{self.batch} and {self.replay.logits.shape[2]}"
            )
        if stored.rounds != self._rounds:
            raise DataError(f"{file}: {stored.rounds} rounds of RandAugment, where the first batch has {self._rounds}")
        if len(index) != len(stored):
            raise DataError(f"{file}: {len(stored)} images, and the order of the images names {len(index)} for it")
        replay, row, here = self.replay, self._filled, slice(0, len(stored))
        columns, classes = self.labelled.layout.columns, self.labelled.layout.columns.argsort()
        replay.index[row, here] = self.labelled.index(file, index)
        replay.crops[row, here] = stored.crops
        replay.flips[row, here] = stored.flips
        replay.partners[row, here] = stored.partners
        replay.lam[row, 0] = stored.lam
        replay.boxes[row, 0] = torch.tensor(stored.box)
        replay.logits[row, here] = stored.values if stored.topk is not None else stored.values[:, columns]
        if replay.topk is not None and stored.topk is not None:
            replay.topk[row, here] = classes[stored.topk.long()].to(torch.int16)
        if replay.lowest is not None and stored.lowest is not None:
            replay.lowest[row, here] = stored.lowest
        if replay.operations is not None and stored.operations is not None:
            replay.operations[row, here] = stored.operations
        if replay.arguments is not None and stored.arguments is not None:
            replay.arguments[row, here] = stored.arguments
        assert replay.counts is not None
        replay.counts[row] = len(stored)
        self._filled += 1
