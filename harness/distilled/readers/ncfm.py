"""NCFM (Wang et al., CVPR 2025): one file of images, each of which is several small ones, and hard labels."""

from __future__ import annotations

import math
import re
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from harness.core.errors import BadOption, DataError
from harness.distilled.readers import encoded, tensors
from harness.distilled.reading import Reading
from harness.distilled.set import DistilledSet
from harness.files import paths
from harness.files.tensors import load_tensors

MAX_FACTOR = 8
#: Pixels that NCFM puts at the right and the lower side of images that the factor does not divide.
BORDER = 0.5


def ncfm(reading: Reading, *, factor: int = 2, method: str = "ncfm") -> DistilledSet:
    """NCFM: data_{iter}.pt = [images, targets]; pixels, each image a mosaic of factor x factor, decoded as NCFM decodes.

    Args:
        reading: its path is the file, or a folder with such files, of which that of the last iteration is read; a lower IPC is
            the first images of each class as they are stored.
        factor: tiles along one side of a mosaic, as its configuration has it; 1 for images that are whole. Each tile is
            brought to full size, bilinear, and is an image of its own: with factor 2 one stored image is four to train on.
        method: how tables call it.
    Returns: pixels in [0, 1], class by class; the IPC is that of the stored images, the native loss is ce.
    Raises: DataError that names the file.
    """
    if not 1 <= factor <= MAX_FACTOR:
        raise BadOption(f"reader 'ncfm': factor must be 1 to {MAX_FACTOR}, not {factor}")
    path = _file(reading)
    content = load_tensors(path)
    if not isinstance(content, (list, tuple)) or len(content) != 2:
        raise DataError(f"{path}: expected [images, targets], as NCFM saves its sets")
    images = tensors.images_in(content[0], path, reading)
    if not isinstance(content[1], Tensor):
        raise DataError(f"{path}: the targets must be one tensor, not a {type(content[1]).__name__}")
    hard = tensors.hard_labels(content[1], path, len(images), reading)
    each = {"images": content[0][0].nbytes, "labels": content[1][0].nbytes}
    chosen, ipc = tensors.first_of_each(hard, path, reading)
    if chosen is not None:
        images, hard = images[chosen], hard[chosen]
    encoded.check_room(4 * factor**2 * len(images), reading, path)
    low, high = float(images.min()), float(images.max())
    if low < 0 or high > 1:
        reading.say(f"{path.name}: values from {low:.4g} to {high:.4g} are clamped to [0, 1], as NCFM does")
    reading.say(
        f"{path.name}: taken as mosaics of {factor} x {factor}, so {factor**2} images to train on each; ncfm(factor=…) for others"
        if factor > 1
        else f"{path.name}: taken as whole images"
    )
    count = len(images)
    images, hard = decoded(images.clamp(0, 1), hard, factor)
    try:
        return DistilledSet(
            images,
            hard,
            dataset=reading.card.name,
            method=method,
            classes=reading.card.classes,
            native_loss="ce",
            provenance={
                "format": "ncfm",
                "files": {path.name: tensors.sha256(path)},
                "bytes": {name: size * count for name, size in each.items()},
                "decoded": factor**2,
                "ipc": ipc,
                "assumed": {"mosaic": f"{factor} x {factor}", "pixels": "[0, 1]"},
            },
            known_dataset=False,
        )
    except DataError as error:
        raise DataError(f"{path}: {error}") from None


def decoded(images: Tensor, labels: Tensor, factor: int) -> tuple[Tensor, Tensor]:
    """Return the tiles of mosaics at the mosaics' own size, class by class: of each class all first tiles, all second ones, ….

    Args:
        images: [N, C, H, W]; sides that the factor does not divide are continued in grey.
        labels: [N].
    Returns: images [N * factor^2, C, H, W] and their labels.
    """
    if factor == 1:
        order = labels.argsort(stable=True)
        return images[order].contiguous(), labels[order]
    size = images.shape[2:]
    beyond = factor - size[1] % factor if size[1] % factor else 0
    tile = math.ceil(size[1] / factor)
    images = functional.pad(images, (0, beyond, 0, beyond), value=BORDER)
    tiles = [
        functional.interpolate(
            images[:, :, row * tile : (row + 1) * tile, column * tile : (column + 1) * tile], size=size, mode="bilinear"
        )
        for row in range(factor)
        for column in range(factor)
    ]
    labels = labels.repeat(factor**2)
    order = labels.argsort(stable=True)
    return torch.cat(tiles)[order].clamp(0, 1), labels[order]


def _file(reading: Reading) -> Path:
    """Return the file: the path itself, the only .pt of a folder, or of data_{iter}.pt the last."""
    if not reading.path.is_dir():
        return reading.path
    files = paths.files(paths.folder(reading.path), endings={".pt", ".pth"})
    numbered = {int(form[1]): file for file in files if (form := re.fullmatch(r"data_(\d{1,9})", file.stem))}
    if len(files) > 1 and len(numbered) == len(files):
        last = numbered[max(numbered)]
        reading.say(f"{reading.path.name}: of {len(files)} iterations the last is read, {last.name}")
        return last
    if len(files) != 1:
        names = ", ".join(path.name for path in files[:8]) or "none"
        raise DataError(f"{reading.path}: one data_ITERATION.pt is wanted, the folder has {len(files)} files ({names}); name it")
    return files[0]
