"""RDED (Sun et al., CVPR 2024): crops of real images that a teacher finds easiest, in mosaics on ImageNet."""

from __future__ import annotations

from harness.distilled.readers import image_folders
from harness.distilled.reading import Reading
from harness.distilled.set import DistilledSet

#: Pixels from which RDED builds mosaics of 2 x 2; CIFAR (32) and Tiny-ImageNet (64) have whole images.
MOSAIC_FROM = 128


def rded(reading: Reading, *, factor: int = 0) -> DistilledSet:
    """RDED: class folders 00000/class00000_id00000.jpg; labels online by a teacher.

    Args:
        reading: its path is the set's folder; a lower IPC is the first files of each class by name.
        factor: tiles along one side of a mosaic; 0 takes RDED's rule, 2 for ImageNet's sizes and 1 for smaller images.
    Returns: uint8 images; the native loss is kl.
    Raises: DataError that names the file or folder.
    """
    if not factor:
        factor = 2 if min(reading.card.shape[1:]) >= MOSAIC_FROM else 1
        side = "x".join(map(str, reading.card.shape[1:]))
        reading.say(f"mosaic factor {factor}, RDED's for {side} px; give rded(factor=…) when the set has another")
    return image_folders.read(reading, format="rded", native_loss="kl", factor=factor)
