"""G-VBSM (Shao et al., CVPR 2024): images that match the statistics of several networks."""

from __future__ import annotations

from harness.distilled.readers import image_folders
from harness.distilled.reading import Reading
from harness.distilled.set import DistilledSet

#: Pixels below which G-VBSM keeps its images as PNG: CIFAR (32) and Tiny-ImageNet (64), not ImageNet-1K (224).
SMALL_BELOW = 128


def gvbsm(reading: Reading) -> DistilledSet:
    """G-VBSM: class folders new000/class000_id000 as PNG (CIFAR, Tiny-ImageNet) or JPEG; labels online by an ensemble.

    Args:
        reading: its path is the set's folder; a lower IPC is the first files of each class by name.
    Returns: uint8 images; the native loss is mse_ce.
    Raises: DataError that names the file or folder.
    """
    small = max(reading.card.shape[1:]) < SMALL_BELOW
    return image_folders.read(reading, format="gvbsm", native_loss="mse_ce", kind="PNG" if small else "JPEG")
