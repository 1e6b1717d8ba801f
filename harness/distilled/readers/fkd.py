"""FKD (Shen and Xing, ECCV 2022), as SRe2L and G-VBSM store soft labels: one for each augmented image of each epoch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from harness.core.errors import BadOption, DataError
from harness.distilled.readers.stored import (
    MAX_BATCH_BYTES,
    SAMPLER_SEED,
    Labelled,
    Ledger,
    SamplerOrder,
    Stored,
    augmented,
    check,
    content,
    finite,
    numbered,
)
from harness.distilled.reading import Reading
from harness.distilled.set import MAX_BYTES, DistilledSet
from harness.files import paths
from harness.training.replay import Replay


def fkd(reading: Reading, *, images: str, images_format: str = "sre2l", epochs: int = 0) -> DistilledSet:
    """FKD: stored soft labels, epoch_{e}/batch_{b}.tar, replayed with their crops, flips and mixes.

    Args:
        reading: its path is the folder of the epochs.
        images: of what was labelled, a folder, a zip or tar of it, or hub:USER/NAME[/FILE]; a relative path is looked
            for from the labels' folder.
        images_format: the reader of these images.
        epochs: how many to take, from the first; 0 takes all.
    Returns: the images with a `replay`; the native loss is kl. The order of the images is the files' own where they store it
        (G-VBSM), else that of a RandomSampler seeded 42 over the sorted files, going on from epoch to epoch (SRe2L). Both count
        files as ImageFolder sorts them, whatever the order of the classes here. Logits stand in the teacher's order: that of the
        folders' numbers where these are numbers, else the dataset's own.
    Raises: DataError that names the file or folder.
    """
    if epochs < 0:
        raise BadOption(f"reader 'fkd': epochs must be how many to take, or 0 for all, not {epochs}")
    labelled = Labelled.of(reading, images, images_format)
    root, distilled = labelled.root, labelled.distilled
    folders = numbered(root, paths.folders(root), r"epoch_(0|[1-9]\d*)", "epoch")[: epochs or None]
    if epochs > len(folders):
        raise DataError(f"{root}: {len(folders)} epochs, {epochs} are asked for")
    listed = [numbered(folder, paths.files(root, folder), r"batch_(0|[1-9]\d*)\.tar", "batch") for folder in folders]
    ledger = Ledger(root)
    first = _stored(listed[0][0], distilled.classes, labelled.size)
    batch = len(first)
    _check_room(folders, listed, distilled, batch)
    replay = _room(len(folders), len(distilled), -(-len(distilled) // batch), distilled.classes, batch)
    order = SamplerOrder(len(distilled))
    for epoch, files in enumerate(listed):
        shuffled = order.next()
        for step, file in enumerate(files):
            stored = _stored(file, distilled.classes, labelled.size)
            if (stored.index is None) != (first.index is None):
                raise DataError(f"{file}: only some of the files store the index of their images")
            _fill(replay, epoch, step, stored, shuffled, labelled, file)
            ledger.enter(file)
    assumed = "stored" if first.index is not None else f"RandomSampler seeded {SAMPLER_SEED} over the sorted files"
    reading.say(f"{root.name}: {len(folders)} epochs in batches of {batch}; order of the images: {assumed}")
    return labelled.set("fkd", replay, {"epochs": len(folders), **ledger.facts, "assumed": {"order": assumed}})


def _check_room(folders: Sequence[Path], listed: Sequence[Sequence[Path]], distilled: DistilledSet, batch: int) -> None:
    """Check, before memory is taken, that every epoch has as many files as it must, and each file bytes enough for its logits."""
    room = len(folders) * len(distilled) * (2 * distilled.classes + 40)
    if room > MAX_BYTES:
        place = folders[0].parent
        raise DataError(
            f"{place}: {room / 2**30:.0f} GiB of soft labels, above the limit of {MAX_BYTES >> 30} GiB; give epochs=…"
        )
    steps = -(-len(distilled) // batch)
    for folder, files in zip(folders, listed, strict=True):
        if len(files) != steps:
            raise DataError(f"{folder}: {len(files)} batches, {len(distilled)} images in batches of {batch} are {steps}")
        for step, file in enumerate(files):
            images = min(batch, len(distilled) - step * batch)
            if paths.size(file, MAX_BATCH_BYTES) < 2 * images * distilled.classes:
                raise DataError(f"{file}: too small for {images} images' soft labels of {distilled.classes} classes")


def _room(epochs: int, images: int, steps: int, classes: int, batch: int) -> Replay:
    return Replay(
        index=torch.empty(epochs, images, dtype=torch.int64),
        crops=torch.empty(epochs, images, 4),
        flips=torch.empty(epochs, images, dtype=torch.bool),
        partners=torch.empty(epochs, images, dtype=torch.int64),
        lam=torch.ones(epochs, steps),
        boxes=torch.full((epochs, steps, 4), -1, dtype=torch.int64),
        logits=torch.empty(epochs, images, classes, dtype=torch.float16),
        batch=batch,
    )


def _fill(replay: Replay, epoch: int, step: int, stored: Stored, shuffled: Tensor, labelled: Labelled, file: Path) -> None:
    """Put one batch into its place."""
    start = step * replay.batch
    wanted = min(replay.batch, replay.index.shape[1] - start)
    if len(stored) != wanted:
        raise DataError(f"{file}: {len(stored)} images where the others make it {wanted}")
    here = slice(start, start + wanted)
    index = shuffled[here] if stored.index is None else stored.index
    replay.index[epoch, here] = labelled.index(file, index)
    replay.crops[epoch, here] = stored.crops
    replay.flips[epoch, here] = stored.flips
    replay.partners[epoch, here] = stored.partners
    replay.lam[epoch, step] = stored.lam
    replay.boxes[epoch, step] = torch.tensor(stored.box)
    replay.logits[epoch, here] = stored.values[:, labelled.layout.columns]


def _stored(file: Path, classes: int, size: tuple[int, int]) -> Stored:
    """Return what a file holds. Raises DataError that names it when a part is not what it should be."""
    parts = content(file)
    if not isinstance(parts, (list, tuple)) or len(parts) not in (6, 7):
        raise DataError(f"{file}: expected a list of crops, flips, mix index, lam, box, logits and perhaps index")
    stored, (logits, *index) = augmented(file, parts[:5], size), parts[5:]
    check(file, "logits", logits, (len(stored), classes), (torch.float16, torch.float32))
    if index:
        check(file, "index", index[0], (len(stored),), (torch.int64, torch.int32))
    return replace(
        stored,
        values=finite(file, "logits", logits.to(torch.float16)),
        index=index[0].long() if index else None,
    )
