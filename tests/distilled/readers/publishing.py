"""Class folders of images as their authors' code writes them, and a reader asked directly, without the importer around it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from harness.datasets.cards import Card
from harness.distilled import readers
from harness.distilled.reading import Reading
from harness.distilled.set import DistilledSet

COLOUR = Card("cifar10", (3, 32, 32), 10)
TINY = Card("toy", (3, 8, 8), 2)


def read(
    format: str, path: Path, card: Card, ipc: int | None = None, say: Callable[[str], None] = lambda line: None, **options: object
) -> DistilledSet:
    """Return what a reader makes of a path, decoded in this process."""
    made: DistilledSet = readers.create(format, **options)(Reading(path, card, ipc, 1, say))
    return made


def smooth(count: int, card: Card, seed: int = 0) -> Tensor:
    """Return uint8 images [count, C, H, W] in which neighbours are alike, so that a JPEG is near to what it was made of."""
    channels, height, width = card.shape
    coarse = torch.rand(count, channels, 2, 2, generator=torch.Generator().manual_seed(seed))
    fine = torch.nn.functional.interpolate(coarse, size=(height, width), mode="bilinear", align_corners=True)
    return (fine * 255).to(torch.uint8)


def picture(image: Tensor) -> Image.Image:
    """Return an image [C, H, W] as the authors make one: its values cut to 8 bits, channels last."""
    pixels = image.permute(1, 2, 0).numpy()
    return Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)


#: Names of the class folder and the file, by format.
NAMES: dict[str, Callable[[int, int], str]] = {
    "rded": lambda label, image: f"{label:05d}/class{label:05d}_id{image:05d}.jpg",
    "sre2l": lambda label, image: f"new{label:03d}/class{label:03d}_id{image:03d}.jpg",
    "cda": lambda label, image: f"new{label:05d}/class{label:05d}_id{image:03d}.jpg",
    "gvbsm": lambda label, image: f"new{label:03d}/class{label:03d}_id{image:03d}.png",
}


def publish_images(root: Path, format: str, card: Card, ipc: int) -> Path:
    """Write a set of class folders, and return its folder; image i of class c is `smooth(...)[c * ipc + i]`."""
    for place, image in enumerate(smooth(card.classes * ipc, card)):
        file = root / NAMES[format](place // ipc, place % ipc)
        file.parent.mkdir(parents=True, exist_ok=True)
        picture(image).save(file)
    return root


def decoded(file: Path, channels: int = 3) -> Tensor:
    """Return a file's pixels, [C, H, W], as Pillow alone gives them."""
    with Image.open(file) as opened:
        pixels = torch.from_numpy(np.array(opened.convert("RGB" if channels == 3 else "L")))
    return pixels.permute(2, 0, 1) if pixels.dim() == 3 else pixels[None]
