"""What the sets of trajectory matching (MTT, TESLA, DATM) share: images_*.pt, labels_*.pt, ZCA per their configuration."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from harness.distilled.readers import tensors
from harness.distilled.reading import Reading
from harness.files import paths


@dataclass(frozen=True)
class Matched:
    """A set's images as their file has them, its labels, and what the images are.

    Attributes:
        images: [N, C, H, W] float32, or uint8 pixels.
        labels: [N] or [N, classes], unchecked.
        image_files, label_files: where they were read.
        normalised, whitening: what the images are, as `DistilledSet` has it.
        facts: what was assumed of them, for the provenance.
    """

    images: Tensor
    labels: Tensor
    image_files: list[Path]
    label_files: list[Path]
    normalised: bool = True
    whitening: str = ""
    facts: dict[str, object] = field(default_factory=dict)

    @property
    def files(self) -> list[Path]:
        return [*self.image_files, *self.label_files]


def read(reading: Reading, zca: bool, images: str, labels: str) -> Matched:
    """Return images and labels of a folder, or of an images' file and the labels beside it.

    Args:
        zca: whether the images are whitened; else they are normalised by the dataset's mean and standard deviation.
        images, labels: names in the folder; "" takes the labels saved with the images.
    Raises: DataError that names the file.
    """
    root, image_files = tensors.files_of(reading, images)
    label_files = tensors.parts(root, labels or labels_name(root, image_files))
    pixels = tensors.read_images(image_files, reading)
    normalised, whitening = True, ""
    if pixels.dtype == torch.uint8:
        reading.say(f"{image_files[0].name}: 8-bit pixels, so neither whitened nor normalised")
        normalised, what = False, "pixels of 8 bits"
    elif image_files[0].name.startswith("images_zca_"):
        reading.say(
            f"warning: {image_files[0].name} holds un-whitened pixels in spite of its name; they are not the images its authors "
            "train on, which images_best.pt has"
        )
        pixels, normalised, what = tensors.pixels(pixels, image_files[0], reading), False, "pixels, un-whitened"
    elif zca:
        reading.say(f"{image_files[0].name}: taken as ZCA-whitened already; zca=false where its configuration has none")
        whitening, what = "zca", "zca"
    else:
        reading.say(f"{image_files[0].name}: taken as normalised by {reading.card.name}'s mean and standard deviation")
        what = "mean and standard deviation"
    found_labels = tensors.read_labels(label_files)
    facts: dict[str, object] = {"assumed": {"normalisation": what}}
    return Matched(pixels, found_labels, image_files, label_files, normalised, whitening, facts)


def labels_name(root: Path, images: list[Path]) -> str:
    """Return the name of the labels that go with an images' file: those saved with it, else the best ones."""
    beside = tensors.labels_beside(images[0])
    known = len(images) == 1 and beside != images[0].name and paths.inside(root, beside).exists()
    return beside if known else "labels_best.pt"
