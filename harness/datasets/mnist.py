"""MNIST from IDX files, zero-padded from 28 to 32 px or as it is."""

from __future__ import annotations

from pathlib import Path

from torch.nn import functional

from harness.core.errors import BadOption, DataError
from harness.datasets.base import Dataset
from harness.datasets.cards import DIGITS, mnist_card
from harness.datasets.downloads import downloaded
from harness.datasets.idx import packed_or_plain, read_idx
from harness.datasets.presence import IDX_FILES, mnist_places
from harness.datasets.split import Split


def mnist(data_dir: Path | None, *, size: int = 32) -> Dataset:
    """MNIST, 60,000 and 10,000 images, 1 channel, zero-padded to 32 px (IDX files, or torchvision's download of 12 MB).

    Args:
        data_dir: where its files are looked for, in mnist/ and MNIST/raw/: Fashion-MNIST's are named alike.
        size: pixels a side: 32, or 28 as published, which DC, DSA and DM are distilled at.
    Raises: BadOption for another size; DataError when the files are absent or broken.
    """
    if size not in (28, 32):
        raise BadOption(f"dataset 'mnist': size must be 28 or 32, not {size}")
    folder = _folder(data_dir)
    around = ((size - 28) // 2,) * 4
    splits = {}
    for split, (images, labels) in IDX_FILES.items():
        pixels, classes = read_idx(packed_or_plain(folder, images), 3), read_idx(packed_or_plain(folder, labels), 1)
        splits[split] = Split(functional.pad(pixels[:, None], around), classes.long())
    card = mnist_card(size)
    return Dataset("mnist", splits["train"], splits["test"], DIGITS, card.mean, card.std, teacher_epochs=5, min_scale=0.5)


def _folder(data_dir: Path | None) -> Path:
    places = mnist_places(data_dir)
    sign = IDX_FILES["train"][0]
    found = next((place for place in places if packed_or_plain(place, sign).exists()), None)
    if found is not None:
        return found
    if data_dir is not None:
        raise DataError(f"mnist: no {sign}[.gz] in {' or '.join(map(str, places))}")
    return downloaded("mnist", "MNIST", "12 MB") / "MNIST" / "raw"
