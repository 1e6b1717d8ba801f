"""The digits that ship inside scikit-learn: 1,797 images of 8x8 pixels, shown at 16 px.

They are read from its file, since scikit-learn takes longer to import than torch. `digits_split.json` holds the split that its
`train_test_split(range(1797), test_size=500, stratify=labels, random_state=0)` draws.
"""

from __future__ import annotations

import gzip
import json
import zlib
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from harness.core.errors import DataError
from harness.datasets.base import Dataset, statistics
from harness.datasets.presence import digits_file
from harness.datasets.split import Split

SPLIT = Path(__file__).with_name("digits_split.json")


def digits(data_dir: Path | None) -> Dataset:
    """Scikit-learn's 8x8 digits at 16 px, 1 channel; a fixed stratified split of 1,297 and 500 (needs no files)."""
    file = digits_file()
    if file is None:
        raise DataError("dataset digits: it comes with scikit-learn, whose digits.csv.gz is not here; pip install scikit-learn")
    raw, labels = _read(file)
    pixels = raw.view(-1, 1, 8, 8) * (255 / 16)
    larger = functional.interpolate(pixels, size=(16, 16), mode="bilinear", align_corners=False)
    images = larger.round().clamp(0, 255).to(torch.uint8)
    split = json.loads(SPLIT.read_text("utf-8"))
    train, test = torch.tensor(split["train"]), torch.tensor(split["test"])
    mean, std = statistics(images[train])
    return Dataset(
        "digits",
        Split(images[train], labels[train]),
        Split(images[test], labels[test]),
        tuple("0123456789"),
        mean,
        std,
        teacher_epochs=60,
        min_scale=0.5,
    )


def _read(file: Path) -> tuple[Tensor, Tensor]:
    """Return pixels [1797, 64] float32 in [0, 16] and labels [1797] int64 of the file: a line an image, its label last."""
    try:
        with gzip.open(file, "rt", encoding="ascii") as lines:
            values = torch.tensor([[float(value) for value in line.split(",")] for line in lines])
        pixels, labels = values[:, :-1], values[:, -1].long()
        grey = bool(((pixels >= 0) & (pixels <= 16)).all())
        if values.shape != (1797, 65) or not grey or {*labels.tolist()} != {*range(10)}:
            raise ValueError(f"{list(values.shape)} numbers{'' if grey else ', some outside 0..16'}")
    except (OSError, EOFError, ValueError, IndexError, zlib.error) as error:
        raise DataError(
            f"dataset digits: {file}: not the 1,797 lines of 64 pixels in 0..16 and a label that scikit-learn ships "
            f"({error}); install scikit-learn anew"
        ) from None
    return pixels, labels
