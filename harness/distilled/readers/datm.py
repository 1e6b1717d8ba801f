"""DATM (Guo et al., ICLR 2024): whitened images and learned logits, class by class."""

from __future__ import annotations

from harness.core.errors import DataError
from harness.distilled.readers import matched, tensors
from harness.distilled.reading import Reading
from harness.distilled.set import DistilledSet
from harness.files import paths


def datm(
    reading: Reading, *, zca: bool = True, images: str = "images_best.pt", labels: str = "", lr: str = "lr_best.pt"
) -> DistilledSet:
    """DATM: images_best.pt (ZCA-whitened), labels_best.pt (logits), lr_best.pt; hard label = index // ipc.

    Args:
        reading: its path is the folder, the run's folder with Normal/ in it, or the images' file; the first k of each class are a
            lower IPC.
        zca: whether the images are whitened, as DATM's are on CIFAR and Tiny-ImageNet.
        images: the images' name in the folder. Those called images_zca_* are un-whitened pixels.
        labels: the labels' name; "" takes those saved with the images.
        lr: the file of the set's own learning rate, which goes into the provenance; "none" goes without.
    Returns: soft labels are logits, the native loss is soft_ce.
    Raises: DataError that names the file.
    """
    matching = matched.read(reading, zca, images, labels)
    soft = tensors.soft_labels(matching.labels, matching.label_files[0], len(matching.images), reading)
    hard = tensors.by_place(len(soft), matching.image_files[0], reading)
    rate_files = [] if lr in ("", "none") else [paths.inside(matching.image_files[0].parent, lr)]
    if rate_files and not rate_files[0].exists():
        raise DataError(f"{rate_files[0]}: no such file; datm(lr=none) goes without the set's own learning rate")
    rate = {"lr": tensors.read_number(rate_files[0])} if rate_files else {}
    return tensors.make(
        reading,
        matching.images,
        hard,
        soft,
        [*matching.files, *rate_files],
        method="datm",
        native_loss="soft_ce",
        facts={"format": "datm", **rate, **matching.facts, "labels": "logits; hard label = index // ipc"},
        normalised=matching.normalised,
        whitening=matching.whitening,
    )
