"""Any dataset laid out as train/CLASS/IMAGE and test/CLASS/IMAGE (or val/)."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from harness.datasets.base import Dataset, Split, statistics
from harness.errors import BadOption, DataError

EXTENSIONS = {".png", ".jpg", ".jpeg", ".bmp", ".webp", ".ppm", ".pgm", ".tif", ".tiff"}
MAX_PIXELS = 1 << 26


def folder(path: str, data_dir: Path | None, *, size: int = 0) -> Dataset:
    """A folder with train/ and test/ (or val/), one folder a class; every image is brought to `size` px (0: they agree already).

    `folder:PATH` is relative to --data-dir when one is given. Larger sizes are reached by resizing the shorter side and
    cropping the centre. Grey images give one channel, when all are grey.
    """
    if size < 0:
        raise BadOption(f"dataset folder:{path}: size must be pixels, or 0 to take the images as they are, not {size}")
    root = (data_dir / path if data_dir is not None else Path(path)).expanduser()
    train, test = root / "train", next((root / s for s in ("test", "val") if (root / s).is_dir()), root / "test")
    for part in (train, test):
        if not part.is_dir():
            raise DataError(
                f"dataset folder {root}: no {part.name}/ with one folder a class" + (" (nor val/)" if part is test else "")
            )
    classes = _classes(train)
    if _classes(test) != classes:
        odd = sorted(set(_classes(test)) ^ set(classes))
        raise DataError(f"dataset folder {root}: {train.name}/ and {test.name}/ differ in their classes: {', '.join(odd[:5])}")
    splits = [_read(part, classes, size) for part in (train, test)]
    if all(bool((s.images[:, :1] == s.images).all()) for s in splits):
        splits = [Split(s.images[:, :1].contiguous(), s.labels) for s in splits]
    if splits[0].images.shape[1:] != splits[1].images.shape[1:]:
        raise DataError(f"dataset folder {root}: train and test images differ in size; give folder:{path}(size=PIXELS)")
    mean, std = statistics(splits[0].images)
    return Dataset(f"folder:{root.name}", splits[0], splits[1], classes, mean, std)


def _classes(part: Path) -> tuple[str, ...]:
    names = tuple(sorted(p.name for p in part.iterdir() if p.is_dir()))
    if not names:
        raise DataError(f"dataset folder {part}: empty; expected one folder a class")
    return names


def _read(part: Path, classes: tuple[str, ...], size: int) -> Split:
    images: list[Tensor] = []
    labels: list[int] = []
    for index, name in enumerate(classes):
        files = sorted(f for f in (part / name).iterdir() if f.suffix.lower() in EXTENSIONS)
        if not files:
            raise DataError(f"dataset folder {part / name}: no images ({', '.join(sorted(EXTENSIONS))})")
        for file in files:
            image = _image(file, size)
            if images and image.shape != images[0].shape:
                raise DataError(
                    f"{file}: {image.shape[2]}x{image.shape[1]} px where the others differ; give folder:PATH(size=PIXELS)"
                )
            images.append(image)
            labels.append(index)
    return Split(torch.stack(images), torch.tensor(labels))


def _image(file: Path, size: int) -> Tensor:
    from PIL import Image
    from torchvision.transforms.v2 import functional

    try:
        with Image.open(file) as opened:
            if opened.width * opened.height > MAX_PIXELS:
                raise DataError(f"{file}: {opened.width}x{opened.height} px is above the limit of {MAX_PIXELS} pixels")
            if opened.mode in ("I", "F") or opened.mode.startswith("I;16"):
                raise DataError(f"{file}: pixels of more than 8 bits (mode {opened.mode}) would be cut off; convert it to 8 bits")
            image: Tensor = functional.pil_to_tensor(opened.convert("RGB"))
    except DataError:
        raise
    except Exception as error:  # a broken file may raise anything in Pillow: OSError, SyntaxError, ValueError, struct.error, …
        raise DataError(f"{file}: not a readable image: {error}") from None
    if size and image.shape[1:] != (size, size):
        image = functional.center_crop(functional.resize(image, [size], antialias=True), [size, size])
    return image
