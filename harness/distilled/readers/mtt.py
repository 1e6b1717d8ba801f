"""MTT (Cazenavette et al., CVPR 2022): images and hard labels, whitened per configuration."""

from __future__ import annotations

from harness.distilled.readers import matched, tensors
from harness.distilled.reading import Reading
from harness.distilled.set import DistilledSet


def mtt(reading: Reading, *, zca: bool = True, images: str = "images_best.pt", labels: str = "") -> DistilledSet:
    """MTT: images_best.pt and labels_best.pt (hard), ZCA-whitened or not as its configuration says.

    Args:
        reading: its path is the folder, the run's folder with Normal/ in it, or the images' file; the first k of each class are a
            lower IPC.
        zca: whether the images are whitened; else they are normalised by the dataset's mean and standard deviation.
        images: the images' name in the folder. Those called images_zca_* are un-whitened pixels.
        labels: the labels' name; "" takes those saved with the images.
    Returns: the native loss is ce.
    Raises: DataError that names the file.
    """
    matching = matched.read(reading, zca, images, labels)
    hard = tensors.hard_labels(matching.labels, matching.label_files[0], len(matching.images), reading)
    return tensors.make(
        reading,
        matching.images,
        hard,
        None,
        matching.files,
        method="mtt",
        native_loss="ce",
        facts={"format": "mtt", **matching.facts},
        normalised=matching.normalised,
        whitening=matching.whitening,
    )
