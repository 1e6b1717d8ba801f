"""Coresets: real images chosen by a teacher's features, class by class; no seed plays a part."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from harness.distilled.set import DistilledSet
from harness.distilled.source import Source

BATCH = 500


def herding(source: Source, *, normalise: bool = True) -> DistilledSet:
    """Herding (Welling, ICML 2009; iCaRL, CVPR 2017): real images whose mean feature follows their class's mean.

    For each class, with features f, their mean m and the images picked so far P: next is the image x not in P that brings
    the mean of P + {x} nearest to m in Euclidean distance, |m - (sum f(P) + f(x)) / (|P| + 1)|; of equals the first. So the
    first k of a class are its set at IPC k.

    Args:
        normalise: whether features are scaled to unit length first, as in iCaRL; m is the mean of the scaled ones and, as
            in its released code, is not scaled again. An ensemble's features are scaled as one vector.
    Returns: a DistilledSet in uint8, labelled by class.
    Raises: DataError when a class has too few images, when there is no teacher, or when it has no features.
    """

    def pick(features: Tensor) -> list[int]:
        return _herd(functional.normalize(features, dim=1) if normalise else features, source.ipc)

    return _coreset(source, "herding", pick, {"normalise": normalise}, "arXiv 1611.07725")


def k_center(source: Source) -> DistilledSet:
    """Greedy k-center (Sener and Savarese, ICLR 2018): real images such that none of their class is far from all of them.

    For each class: first the image whose feature is nearest to the class's mean, as the authors of dataset condensation do
    (github.com/VICO-UoE/DatasetCondensation, issue 21); then, again and again, the image farthest from its nearest picked
    one, in Euclidean distance; of equals the first. So the first k of a class are its set at IPC k.

    Returns: a DistilledSet in uint8, labelled by class.
    Raises: DataError when a class has too few images, when there is no teacher, or when it has no features.
    """
    return _coreset(source, "k-center", lambda features: _cover(features, source.ipc), {}, "arXiv 1708.00489")


def _coreset(
    source: Source, method: str, pick: Callable[[Tensor], list[int]], options: dict[str, object], origin: str
) -> DistilledSet:
    """Return the images that `pick` chooses, by row of the features [N, F] of each class's train images."""
    source.check_ipc()
    train, classes = source.dataset.train, len(source.dataset.classes)
    chosen = []
    for label in range(classes):
        members = (train.labels == label).nonzero()[:, 0]
        chosen.append(members[pick(_features(source, members))])  # one class's features at a time: they may be large
    index = torch.cat(chosen)
    return DistilledSet(
        train.images[index],
        train.labels[index],
        dataset=source.dataset.name,
        method=method,
        classes=classes,
        known_dataset=False,
        provenance={
            "ipc": source.ipc,
            **options,
            "dataset_digest": source.dataset.digest,
            "teacher": source.teacher.label,
            "teacher_digest": list(source.teacher.digests),
            "source": origin,
        },
    )


def _features(source: Source, members: Tensor) -> Tensor:
    """Return the teacher's features of these train images, [N, F] on the source's device."""
    teacher, images = source.teacher, source.dataset.train.images
    return torch.cat(
        [teacher.features(teacher.normalise(images[chunk].to(source.device))) for chunk in torch.split(members, BATCH)]
    )


def _herd(features: Tensor, count: int) -> list[int]:
    """Return the rows whose running mean follows the mean of all, in the order they are picked."""
    mean = features.mean(0)
    picked: list[int] = []
    while len(picked) < count:
        # |m - (s + f) / n| is least where f is nearest to n m - s.
        distances = _distances(features, mean * (len(picked) + 1) - features[picked].sum(0))
        distances[picked] = torch.inf
        picked.append(int(distances.argmin()))
    return picked


def _cover(features: Tensor, count: int) -> list[int]:
    """Return the row nearest to the mean, then each time the row farthest from those before it."""
    picked = [int(_distances(features, features.mean(0)).argmin())]
    nearest = torch.full_like(features[:, 0], torch.inf)
    while len(picked) < count:
        nearest = torch.minimum(nearest, _distances(features, features[picked[-1]]))
        nearest[picked] = -1  # below any distance: copies of a picked image are still to be had, itself is not
        picked.append(int(nearest.argmax()))
    return picked


def _distances(features: Tensor, point: Tensor) -> Tensor:
    """Return each row's Euclidean distance to a point [F]: differences, not products, so that equal rows are equally far."""
    return torch.cdist(features, point[None], compute_mode="donot_use_mm_for_euclid_dist")[:, 0]
