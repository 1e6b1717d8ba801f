"""Splits of encoded images: a test split decoded once and kept on disk, a train split that decodes what is asked for."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import PIL
import torch
from torch import Tensor

from harness.core.digests import digest_json
from harness.core.errors import DataError
from harness.core.home import home
from harness.datasets.split import Split
from harness.files import atomic, claims, decoding
from harness.files.pixels import Form, Item

#: Raised whenever the same files would be decoded to other pixels.
VERSION = 1
#: Pixels, in bytes, that may be decoded at once.
MAX_BYTES = 16 << 30


@dataclass(frozen=True)
class Listing:
    """Encoded images of a split, none of them read yet.

    Attributes:
        title: how errors call the split, as in "imagenet-1k: train".
        root: the folder that the names in `stamps` start from.
        items: where each image lies, in the split's order.
        labels: their class indices, [N] int64.
        stamps: (relative name, bytes, time of change in ns) of each file that holds them, in order.
        passed: how many files among them were passed over, for they are no images of the split.
    """

    title: str
    root: Path
    items: Sequence[Item]
    labels: Tensor
    stamps: Sequence[tuple[str, int, int]] = field(repr=False)
    passed: int = 0

    @property
    def notes(self) -> tuple[str, ...]:
        """What is to be said of how the files were listed, a line each."""
        files = "1 file" if self.passed == 1 else f"{self.passed} files"
        return (f"{self.title}: {files} passed over, no images of a class",) if self.passed else ()

    @property
    def content(self) -> str:
        """A hash of the listing: names, sizes and labels, not times."""
        return digest_json([[[name, size] for name, size, _ in self.stamps], self.labels.tolist()])

    def key(self, form: Form) -> str:
        """Return a hash of the files as they are now and of what they are decoded to, and by which Pillow."""
        form_facts = [VERSION, PIL.__version__, [*form.shape], form.resize]
        return digest_json([form_facts, str(self.root.resolve()), list(self.items), list(self.stamps)])[:32]


def decoded_split(listing: Listing, form: Form, *, workers: int = 0) -> Split:
    """Return a split whose pixels lie in the cache, mapped into memory; decoded when nobody has done so yet.

    Its digest rests on the bytes of the encoded images, their labels and the form.

    Raises: DataError that names the first image that cannot be used; or when the pixels are above MAX_BYTES.
    """
    images, hashes = _kept(listing, form, workers)
    return Split(images, listing.labels, digest_json([VERSION, hashes, listing.labels.tolist(), [*form.shape], form.resize]))


class LazySplit:
    """A split that knows its labels and the shape of its images, and decodes only what is asked for.

    Args:
        find: lists the files; called at most once, on first need.
        form: what every image is decoded to.
        absent: why there is no such split here and what would be right, in one line; "" when there is one. Whoever needs the
            images or labels of an absent split gets a DataError of this line.
    """

    def __init__(self, find: Callable[[], Listing], form: Form, absent: str = "", workers: int = 0) -> None:
        self._find, self._form, self._absent, self._workers = find, form, absent, workers

    @cached_property
    def listing(self) -> Listing:
        """The files. Raises DataError when the split is absent or not laid out as it should be."""
        if self._absent:
            raise DataError(self._absent)
        return self._find()

    @property
    def shape(self) -> tuple[int, int, int]:
        """(channels, height, width) of the images."""
        return self._form.shape

    @property
    def labels(self) -> Tensor:
        """Class indices, [N] int64."""
        return self.listing.labels

    @cached_property
    def images(self) -> LazyImages:
        """The images, [N, C, H, W] uint8 once they are indexed."""
        return LazyImages(self.listing, self._form, self._workers)

    @property
    def notes(self) -> tuple[str, ...]:
        """What is to be said of how it was listed; of an absent split nothing."""
        return () if self._absent else self.listing.notes

    @cached_property
    def content(self) -> str:
        """What the digest of a dataset takes of this split: its names, sizes and labels; that it is absent, when it is."""
        return "absent" if self._absent else digest_json([self.listing.content, [*self._form.shape], self._form.resize])

    def __len__(self) -> int:
        return len(self.listing.items)


class LazyImages:
    """Images [N, C, H, W] that are decoded as they are indexed, by a tensor of indices, a slice or a number.

    `images[:]` decodes all of them into the cache, once; what is indexed afterwards is taken from there.
    """

    dtype = torch.uint8

    def __init__(self, listing: Listing, form: Form, workers: int = 0) -> None:
        self._listing, self._form, self._workers = listing, form, workers
        self._whole: Tensor | None = None

    @property
    def shape(self) -> torch.Size:
        return torch.Size((len(self._listing.items), *self._form.shape))

    def dim(self) -> int:
        """Four."""
        return 4

    def __len__(self) -> int:
        return len(self._listing.items)

    def __getitem__(self, key: Tensor | slice | int) -> Tensor:
        """Return images as a tensor would. Raises DataError for an unreadable one, and above MAX_BYTES of pixels."""
        if isinstance(key, slice) and key == slice(None):
            if self._whole is None:
                self._whole = _kept(self._listing, self._form, self._workers)[0]
            return self._whole
        if self._whole is not None:
            return self._whole[key]
        places = torch.arange(len(self))[key]
        chosen, back = torch.unique(places, return_inverse=True)
        _check_size(self._listing.title, places.numel(), self._form)
        if not len(chosen):
            return torch.empty((*places.shape, *self._form.shape), dtype=torch.uint8)
        items = [self._listing.items[i] for i in chosen.tolist()]
        pixels = decoding.read(items, self._form, workers=self._workers).images
        return pixels if torch.equal(chosen, places) else pixels[back]


def _check_size(title: str, count: int, form: Form) -> None:
    channels, height, width = form.shape
    size = count * channels * height * width
    if size > MAX_BYTES:
        raise DataError(
            f"{title}: {count} images of {width}x{height} px are {size / 2**30:.0f} GiB of pixels, above the limit of "
            f"{MAX_BYTES / 2**30:.0f} GiB; give a teacher's checkpoint (--teacher), so that none is trained, or a smaller size"
        )


def _kept(listing: Listing, form: Form, workers: int) -> tuple[Tensor, list[str]]:
    """Return a listing's pixels, mapped from the cache, and the SHA-256 of each encoded image; decode them when need be."""
    _check_size(listing.title, len(listing.items), form)
    folder = home() / "decoded" / listing.key(form)
    shape = (len(listing.items), *form.shape)
    hashes = _hashes(folder, shape)
    if hashes is not None:
        return decoding.mapped(folder / "pixels", shape), hashes
    atomic.make_folder(folder)
    with claims.lock(folder):  # another process may decode the same split
        hashes = _hashes(folder, shape)
        if hashes is not None:
            return decoding.mapped(folder / "pixels", shape), hashes
        with atomic.told(folder / "about.json"):
            (folder / "about.json").unlink(missing_ok=True)
        decoded = decoding.read(listing.items, form, workers=workers, out=folder / "pixels", hashed=True)
        atomic.write(folder / "about.json", json.dumps({"of": listing.title, "shape": shape, "sha256": decoded.digests}))
    return decoded.images, decoded.digests


def _hashes(folder: Path, shape: tuple[int, ...]) -> list[str] | None:
    """Return what the cache knows of the encoded images; None when it is absent or damaged."""
    try:
        about = json.loads((folder / "about.json").read_text("utf-8"))
        size = (folder / "pixels").stat().st_size
        with (folder / "pixels").open("rb"):  # another user's may not be readable
            pass
    except (OSError, ValueError):
        return None
    whole = isinstance(about, dict) and about.get("shape") == list(shape) and size == torch.Size(shape).numel()
    hashes = about.get("sha256") if whole else None
    return hashes if isinstance(hashes, list) and len(hashes) == shape[0] else None
