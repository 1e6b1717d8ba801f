"""Numpy's .npz files of images and labels."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

import numpy
import torch
from torch import Tensor

from harness.core.errors import DataError, suggest
from harness.distilled.readers import tensors
from harness.distilled.reading import Reading
from harness.distilled.set import DistilledSet
from harness.files import npz as files
from harness.files import paths
from harness.files.npz import Array, Arrays

#: What arrays are called, by what they are; in lower case, most telling first.
IMAGES = ("images", "image", "imgs", "img", "x", "x_train", "train_images", "x_syn", "data", "samples", "arr_0")
LABELS = ("labels", "label", "y", "y_train", "train_labels", "y_syn", "targets", "target", "classes", "class_id", "arr_1")
SOFT = ("soft_labels", "soft_label", "soft", "logits", "probabilities", "probs")


def npz(
    reading: Reading,
    *,
    images: str = "",
    labels: str = "",
    soft: str = "",
    normalised: bool = False,
    method: str = "npz",
    native_loss: str = "",
) -> DistilledSet:
    """An .npz of images [N, C, H, W], [N, H, W, C] or [N, H, W] and labels [N], [N, 1] or, soft ones, [N, C]; no pickle in it.

    Args:
        reading: its path is the file, or a folder with one; a lower IPC is the first images of each class.
        images, labels, soft: names of the arrays where they have no usual ones (images, x, data, arr_0; labels, y, targets,
            arr_1; soft_labels, logits). Without hard labels the class is the highest soft one.
        normalised: whether the images are normalised by the dataset's mean and deviation; else they are pixels, 8 bits or in
            [0, 1].
        method: how tables call it.
        native_loss: the loss its authors train with.
    Raises: DataError that names the file.
    """
    path = _file(reading)
    with files.opened(path) as arrays:
        names = _names(arrays, path, images, labels, soft)
        pixels = _pixels(arrays.read(names["images"]), path, reading, normalised)
        hard, soft_labels, kind = _labels(arrays, names, path, len(pixels), reading)
        stored = arrays.stored
    chosen, ipc = tensors.first_of_each(hard, path, reading)
    labelled = sum(stored[name].packed for what, name in names.items() if what != "images")
    packed = {"images": stored[names["images"]].packed, "labels": labelled}
    if chosen is not None:
        pixels, hard, soft_labels = pixels[chosen], hard[chosen], None if soft_labels is None else soft_labels[chosen]
    reading.say(f"{path.name}: {', '.join(f'{what} in {name}' for what, name in names.items())}")
    what = "normalised by the dataset's mean and deviation" if normalised else "pixels"
    try:
        return DistilledSet(
            pixels,
            hard,
            soft_labels,
            dataset=reading.card.name,
            method=method,
            classes=reading.card.classes,
            soft_kind=kind,
            normalised=normalised,
            native_loss=native_loss,
            provenance={
                "format": "npz",
                "files": {path.name: tensors.sha256(path)},
                **({"bytes": packed} if chosen is None else {}),
                "ipc": ipc,
                "assumed": {"arrays": names, "normalisation": what, "labels": "hard" if soft_labels is None else kind},
            },
            known_dataset=False,
        )
    except DataError as error:
        raise DataError(f"{path}: {error}") from None


def _file(reading: Reading) -> Path:
    if not reading.path.is_dir():
        return reading.path
    found = paths.files(paths.folder(reading.path), endings={".npz"})
    if len(found) != 1:
        names = ", ".join(file.name for file in found[:8]) or "none"
        raise DataError(f"{reading.path}: one .npz file is wanted, the folder has {len(found)} ({names}); name the file")
    return found[0]


def _names(arrays: Arrays, path: Path, images: str, labels: str, soft: str) -> dict[str, str]:
    """Return the names of the arrays of images and of labels, hard, soft or both. Raises DataError with those that there are."""
    names = {"images": _named(arrays, path, images, IMAGES, "images")}
    taken = {names["images"]}
    hard = _named(arrays, path, labels, LABELS, "labels", taken)
    names |= {"labels": hard} if hard else {}
    scores = _named(arrays, path, soft, SOFT, "soft", {*taken, hard})
    names |= {"soft": scores} if scores else {}
    if not names["images"] or len(names) < 2:
        present = ", ".join(f"{stored.name} {list(stored.shape)}" for stored in list(arrays.stored.values())[:8])
        missing = "labels" if names["images"] else "images"
        raise DataError(
            f"{path}: none of its arrays ({paths.line(present)[:150]}) is called as {missing} are; give npz({missing}=NAME)"
        )
    return names


def _named(arrays: Arrays, path: Path, stated: str, usual: Sequence[str], option: str, taken: Collection[str] = ()) -> str:
    if stated:
        if stated not in arrays.stored:
            raise DataError(f"{path}: {option} = {stated!r}: no such array; {suggest(stated, list(arrays.stored))}")
        return stated
    spelled = {name.casefold(): name for name in arrays.stored if name not in taken}
    return next((spelled[name] for name in usual if name in spelled), "")


def _pixels(array: Array, path: Path, reading: Reading, normalised: bool) -> Tensor:
    """Return images [N, C, H, W], uint8 or float32, of the card's shape."""
    card, shape = reading.card, array.shape
    channels, height, width = card.shape
    if shape[1:] == (height, width, channels) and shape[1:] != card.shape:
        array = numpy.ascontiguousarray(numpy.moveaxis(array, 3, 1))
        reading.say(f"{path.name}: images {list(shape)} are taken as [N, H, W, C]")
    elif shape[1:] == (height, width) and channels == 1:
        array = array[:, None]
    elif len(shape) != 4 or shape[1:] != card.shape:
        wanted = ", ".join(map(str, card.shape))
        raise DataError(f"{path}: images of {card.name} must be [N, {wanted}] or [N, H, W, C], these are {list(shape)}")
    if not len(array):
        raise DataError(f"{path}: no images")
    if array.dtype.kind in "ui" and array.dtype != numpy.uint8:
        if normalised or int(array.min()) < 0 or int(array.max()) > 255:
            raise DataError(f"{path}: images of {array.dtype} must be pixels from 0 to 255")
        array = array.astype(numpy.uint8)
    images = tensors.images_in(torch.from_numpy(array), path, reading, eight_bits=True)
    if images.dtype == torch.uint8 or normalised:
        return images
    try:
        return tensors.pixels(images, path, reading)
    except DataError as error:
        raise DataError(f"{error}; npz(normalised=true) takes them as normalised by the dataset's mean and deviation") from None


def _labels(
    arrays: Arrays, names: dict[str, str], path: Path, count: int, reading: Reading
) -> tuple[Tensor, Tensor | None, tensors.Kind]:
    """Return hard labels [N] and, where there are any, soft ones [N, C] and their kind."""
    read = {what: torch.from_numpy(_widened(arrays.read(name))) for what, name in names.items() if what != "images"}
    hard, soft = read.get("labels"), read.get("soft")
    if hard is not None and hard.dim() == 2 and hard.shape[1] > 1:
        if soft is not None:
            raise DataError(f"{path}: {names['labels']} and {names['soft']} are both soft labels, [N, C]; give npz(soft=NAME)")
        hard, soft = None, hard
    scores = None if soft is None else tensors.soft_labels(soft.float(), path, count, reading)
    if hard is not None:
        classes = tensors.hard_labels(hard, path, count, reading)
    elif scores is not None:
        classes = tensors.by_place_or_top(scores, path, reading)
    if scores is None:
        return classes, None, "logits"
    kind = tensors.kind_of(scores)
    one_hot = kind == "probabilities" and bool((scores.amax(1) == 1).all())
    reading.say(f"{path.name}: the labels [N, C] are {'one-hot, so hard ones' if one_hot else kind}, by their numbers")
    return (scores.argmax(1), None, kind) if one_hot else (classes, scores, kind)


def _widened(array: Array) -> Array:
    """Return whole numbers as int64, for torch has no arithmetic for some others; floats as they are."""
    return array.astype(numpy.int64) if array.dtype.kind in "ui" else array
