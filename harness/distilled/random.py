"""Real images at random: the baseline that every distilled set must beat."""

from __future__ import annotations

import torch

from harness.core import seeds
from harness.distilled.set import DistilledSet
from harness.distilled.source import Source


def random(source: Source) -> DistilledSet:
    """Random real training images, the same number for each class; the first k of a class are its set at IPC k."""
    source.check_ipc()
    train = source.dataset.train
    chosen = []
    for label in range(len(source.dataset.classes)):
        members = (train.labels == label).nonzero()[:, 0]
        order = torch.randperm(len(members), generator=seeds.generator(source.seed, f"random/{label}"))
        chosen.append(members[order[: source.ipc]])
    index = torch.cat(chosen)
    return DistilledSet(
        train.images[index],
        train.labels[index],
        dataset=source.dataset.name,
        method="random",
        classes=len(source.dataset.classes),
        provenance={"seed": source.seed, "ipc": source.ipc, "dataset_digest": source.dataset.digest},
        known_dataset=False,
    )
