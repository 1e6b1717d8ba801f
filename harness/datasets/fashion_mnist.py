"""Fashion-MNIST from IDX files, zero-padded from 28 to 32 px or as it is."""

from __future__ import annotations

from pathlib import Path

from torch.nn import functional

from harness.core.errors import BadOption, DataError
from harness.datasets.base import Dataset, statistics
from harness.datasets.cards import FASHION
from harness.datasets.idx import packed_or_plain, read_idx
from harness.datasets.presence import DEBIAN, IDX_FILES
from harness.datasets.split import Split


def fashion_mnist(data_dir: Path | None, *, size: int = 32) -> Dataset:
    """Fashion-MNIST, 60,000 and 10,000 images, 1 channel, zero-padded to 32 px (IDX files, or torchvision's download).

    Args:
        data_dir: where its files are looked for.
        size: pixels a side: 32, or 28 as published, which DC, DSA and DM are distilled at.
    Raises: BadOption for another size; DataError when the files are absent or broken.
    """
    if size not in (28, 32):
        raise BadOption(f"dataset 'fashion-mnist': size must be 28 or 32, not {size}")
    around = ((size - 28) // 2,) * 4
    folder = _folder(data_dir)
    splits = {}
    for split, (images, labels) in IDX_FILES.items():
        pixels, classes = read_idx(packed_or_plain(folder, images), 3), read_idx(packed_or_plain(folder, labels), 1)
        splits[split] = Split(functional.pad(pixels[:, None], around), classes.long())
    mean, std = statistics(splits["train"].images)
    return Dataset("fashion-mnist", splits["train"], splits["test"], FASHION, mean, std, teacher_epochs=5, min_scale=0.5)


def _folder(data_dir: Path | None) -> Path:
    """Return the folder that holds the files: `data_dir` when given, else Debian's, else torchvision's download."""
    if data_dir is not None:
        for folder in (data_dir, data_dir / "fashion-mnist", data_dir / "FashionMNIST" / "raw"):
            if packed_or_plain(folder, IDX_FILES["train"][0]).exists():
                return folder
        raise DataError(
            f"fashion-mnist: no {IDX_FILES['train'][0]}[.gz] in {data_dir} (nor in its fashion-mnist or FashionMNIST/raw)"
        )
    if packed_or_plain(DEBIAN, IDX_FILES["train"][0]).exists():
        return DEBIAN
    from torchvision.datasets import FashionMNIST

    from harness.core.home import home

    try:
        FashionMNIST(str(home() / "data"), download=True)
    except Exception as error:  # no network, a refused connection, a wrong checksum: all end here
        raise DataError(
            f"fashion-mnist: no files and the download failed ({type(error).__name__}: {error}); "
            "give --data-dir, set GIFTBENCH_DATA, or install Debian's package dataset-fashion-mnist"
        ) from None
    return home() / "data" / "FashionMNIST" / "raw"
