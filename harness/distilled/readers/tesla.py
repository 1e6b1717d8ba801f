"""TESLA (Cui et al., ICML 2023): as MTT, with softmax probabilities for labels when it was made with teacher labels."""

from __future__ import annotations

from harness.core.errors import DataError
from harness.distilled.readers import matched, tensors
from harness.distilled.reading import Reading
from harness.distilled.set import DistilledSet


def tesla(reading: Reading, *, zca: bool = True, images: str = "images_best.pt", labels: str = "") -> DistilledSet:
    """TESLA: images_best.pt and labels_best.pt, hard or softmax probabilities; whitened as its configuration says.

    Args:
        reading: its path is the folder, or the images' file; the first k of each class are a lower IPC.
        zca: whether the images are whitened; else they are normalised by the dataset's mean and standard deviation.
        images: the images' name in the folder. Those called images_zca_* are un-whitened pixels.
        labels: the labels' name; "" takes those saved with the images.
    Returns: probabilities with the native loss soft_ce, or hard labels with ce.
    Raises: DataError that names the file.
    """
    matching = matched.read(reading, zca, images, labels)
    path, count = matching.label_files[0], len(matching.images)
    soft = None
    if matching.labels.dim() == 2 and matching.labels.shape[1] > 1:
        soft = tensors.soft_labels(matching.labels, path, count, reading)
        if tensors.kind_of(soft) != "probabilities":
            raise DataError(f"{path}: TESLA's soft labels are probabilities; these do not sum to 1, logits are read by 'datm'")
        hard = tensors.by_place_or_top(soft, path, reading)
    else:
        hard = tensors.hard_labels(matching.labels, path, count, reading)
    reading.say(f"{path.name}: {'softmax probabilities' if soft is not None else 'hard labels'}, {count} images")
    return tensors.make(
        reading,
        matching.images,
        hard,
        soft,
        matching.files,
        method="tesla",
        kind="probabilities",
        native_loss="ce" if soft is None else "soft_ce",
        facts={"format": "tesla", **matching.facts, "labels": "hard" if soft is None else "probabilities"},
        normalised=matching.normalised,
        whitening=matching.whitening,
    )
