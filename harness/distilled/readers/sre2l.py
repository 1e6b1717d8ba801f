"""SRe2L (Yin et al., NeurIPS 2023) and CDA (Yin and Shen, TMLR 2024): images recovered from a network's statistics."""

from __future__ import annotations

from harness.distilled.readers import image_folders
from harness.distilled.reading import Reading
from harness.distilled.set import DistilledSet


def sre2l(reading: Reading) -> DistilledSet:
    """SRe2L: class folders new000/class000_id000.jpg; labels online by a teacher.

    Args:
        reading: its path is the set's folder; a lower IPC is the first files of each class by name.
    Returns: uint8 images; the native loss is kl.
    Raises: DataError that names the file or folder.
    """
    return image_folders.read(reading, format="sre2l", native_loss="kl")


def cda(reading: Reading) -> DistilledSet:
    """CDA: as SRe2L; the class folders of ImageNet-21K have five digits.

    Args, Returns, Raises: as `sre2l`.
    """
    return image_folders.read(reading, format="cda", native_loss="kl")
