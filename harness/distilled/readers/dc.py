"""DC, DSA and DM (Zhao et al.), as DC-BENCH publishes them: one file of images and hard labels, normalised."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from harness.core.errors import BadOption, DataError
from harness.datasets.cards import Card
from harness.distilled.readers import tensors
from harness.distilled.reading import Reading
from harness.distilled.set import DistilledSet
from harness.files import paths
from harness.files.tensors import load_tensors

#: Mean and standard deviation in these authors' code where they are not the ones that this project normalises by; what a dataset
#: is here with black pixels around it has 28 px there.
AUTHORS = {"cifar100": ((0.5071, 0.4866, 0.4409), (0.2673, 0.2564, 0.2762)), "fashion-mnist": ((0.2861,), (0.3530,))}
BARE = {"fashion-mnist": (1, 28, 28)}


def dc(reading: Reading, *, method: str = "dc", statistics: str = "authors") -> DistilledSet:
    """DC-BENCH's DC, DSA and DM: one .pt whose ["data"][-1] is (images, labels), normalised by mean and deviation.

    Args:
        reading: its path is the file, or a folder with one such file; the first k of each class are a lower IPC. Fashion-MNIST's
            sets are 28 px: black pixels are put around them where the dataset has them, too (fashion-mnist(size=28) has not).
        method: how tables call it: dc, dsa, dm.
        statistics: by whose mean and standard deviation the images are normalised: "authors" (CIFAR-100's differ from this
            project's; the images are brought to the latter) or "dataset".
    Returns: the native loss is ce.
    Raises: DataError that names the file.
    """
    if statistics not in ("authors", "dataset"):
        raise BadOption(f"reader 'dc': statistics must be 'authors' or 'dataset', not {statistics!r}")
    path = _file(reading)
    content = load_tensors(path)
    runs = content.get("data") if isinstance(content, dict) else None
    if not isinstance(runs, (list, tuple)) or not runs:
        raise DataError(f'{path}: expected {{"data": [[images, labels], …]}}, the last of which is the set')
    if not isinstance(runs[-1], (list, tuple)) or len(runs[-1]) != 2 or not all(isinstance(part, Tensor) for part in runs[-1]):
        raise DataError(f'{path}: the last of its "data" must be a pair of tensors, images and labels')
    bare = BARE.get(reading.card.name, reading.card.shape)
    shown = tuple(runs[-1][0].shape[1:]) == bare
    own = replace(reading, card=replace(reading.card, shape=bare)) if shown else reading
    images = tensors.images_in(runs[-1][0], path, own)
    hard = tensors.hard_labels(runs[-1][1], path, len(images), reading)
    what = "the dataset's mean and standard deviation"
    if statistics == "authors" and reading.card.name in AUTHORS and reading.card.mean and shown:
        images, what = _brought(images, reading.card), "the authors' mean and standard deviation, brought to the dataset's"
    reading.say(
        f"{path.name}: taken as normalised by {what}; {len(runs)} {'run' if len(runs) == 1 else 'runs'}, the last is read"
    )
    if images.shape[1:] != reading.card.shape:
        images, frame = _framed(images, reading.card), f"{bare[1]} px, black pixels around them to {reading.card.shape[1]}"
        reading.say(f"{path.name}: the images are {frame}, as the dataset's have")
        what += f"; {frame}"
    return tensors.make(
        reading,
        images,
        hard,
        None,
        [path],
        method=method,
        normalised=True,
        native_loss="ce",
        facts={"format": "dc", "assumed": {"normalisation": what}},
    )


def _file(reading: Reading) -> Path:
    """Return the file, or the only .pt of a folder."""
    if not reading.path.is_dir():
        return reading.path
    files = paths.files(paths.folder(reading.path), endings={".pt", ".pth"})
    if len(files) != 1:
        names = ", ".join(path.name for path in files[:8]) or "none"
        raise DataError(f"{reading.path}: one .pt file is wanted, the folder has {len(files)} ({names}); name the file")
    return files[0]


def _brought(images: Tensor, card: Card) -> Tensor:
    """Return images normalised by the authors' statistics as the dataset's would make them."""
    (mean, std), shape = AUTHORS[card.name], (1, -1, 1, 1)
    scale = torch.tensor(std) / torch.tensor(card.std)
    shift = (torch.tensor(mean) - torch.tensor(card.mean)) / torch.tensor(card.std)
    return images * scale.view(shape) + shift.view(shape)


def _framed(images: Tensor, card: Card) -> Tensor:
    """Return normalised images with black pixels around them, so that they have the card's shape."""
    down, right = card.shape[1] - images.shape[2], card.shape[2] - images.shape[3]
    around = (right // 2, right - right // 2, down // 2, down - down // 2)
    channels = [functional.pad(images[:, c], around, value=-card.mean[c] / card.std[c]) for c in range(card.shape[0])]
    return torch.stack(channels, 1)
