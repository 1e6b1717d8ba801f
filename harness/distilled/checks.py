"""What is not sure of an imported set, checked against the data: normalisation, class order, kind of soft labels, images.

A published set's files do not say how its images are normalised or in which order its classes are. Here the numbers are asked.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional

from harness.core.errors import DataError
from harness.datasets.cards import Card
from harness.distilled.agreement import Agreement, agreement, by_chance
from harness.distilled.set import DistilledSet

if TYPE_CHECKING:
    from harness.datasets.base import Dataset
    from harness.datasets.decoded import LazySplit
    from harness.datasets.split import Split
    from harness.teachers.teacher import Teacher

Whiten = Callable[[Tensor], Tensor]

#: Images of the set and of the train split that are looked at, and bytes of float images held at a time.
MOST, CHUNK_BYTES = 2000, 64 << 20
#: Side to which larger images are averaged before they are compared with class means.
GRID = 32
#: Distance (see `_Look.distance`) above which a set is near to nothing, and by which another reading must be nearer.
FAR, NEARER = 3.0, 0.25
#: How the line begins that says that the classes are in another order.
OTHER_ORDER = "warning: another order of the classes"


def findings(
    distilled: DistilledSet, card: Card, dataset: Dataset | None, teacher: Teacher | None = None, whiten: Whiten | None = None
) -> list[str]:
    """Return what checking a set against its dataset shows, a plain line each; what looks wrong begins with "warning: ".

    Args:
        card: the dataset whose classes the set says it has.
        dataset: its images, None when they are not at hand.
        teacher: asked whether it knows the set's images by their labels.
        whiten: pixels [N, C, H, W] in, uint8 or in [0, 1], whitened images out; what a set's `whitening` names.
    """
    if distilled.mean and card.mean:
        distilled = distilled.changed(images=distilled.input(card.mean, card.std), mean=(), std=())
    lines = [*_images(distilled), *_soft_labels(distilled)]
    if dataset is None:
        lines += _plausible(distilled, card)
        lines.append(f"not checked, for the images of {card.name} are not at hand: normalisation and class order")
    else:
        real, said = _real(dataset)
        lines += said
        lines += _normalisation(distilled, dataset, real, whiten)
        lines += _class_order(distilled, dataset, real, whiten)
    return lines + ([] if teacher is None else _known_to(teacher, distilled))


# -- images ----------------------------------------------------------------------------------------------------------------


def _images(distilled: DistilledSet) -> list[str]:
    """Return how many images a class has, in which range their values lie, how many are flat or occur twice."""
    images, counts = distilled.images, distilled.labels.bincount(minlength=distilled.classes)
    low, high, most = int(counts.min()), int(counts.max()), float(images.max())
    each = f"{low}" if low == high else f"{low} to {high}"
    line = f"{len(images)} images, {each} a class, values from {float(images.min()):.4g} to {most:.4g}"
    lines = [line if low == high else f"warning: {line}; the classes are not of one size"]
    if not distilled.normalised and most <= (2 if images.dtype == torch.uint8 else 0.02):
        lines.append("warning: pixels this dark were perhaps divided by 255 twice, or are no pixels")
    flat = sum(int((part.amax((1, 2, 3)) == part.amin((1, 2, 3))).sum()) for part in _chunks(images))
    if flat:
        lines.append(f"warning: {flat} images are of one value all over")
    different = len({hashlib.blake2b(image.numpy().data, digest_size=16).digest() for image in images})
    if different + max(flat - 1, 0) < len(images):
        lines.append(f"warning: {len(images) - different} images occur more than once")
    return lines


def _chunks(images: Tensor) -> tuple[Tensor, ...]:
    """Return views of images, [n, C, H, W] each, that are small as floats."""
    return torch.split(images, max(1, CHUNK_BYTES // (4 * images[0].numel())))


def _spread(count: int, most: int) -> Tensor:
    """Return at most `most` of `count` places, evenly spread, sorted."""
    return torch.arange(count) if count <= most else (torch.arange(most) * count) // most


def _most(images: Tensor) -> int:
    """Return how many of these images may be held as floats."""
    return max(1, min(MOST, 2 * CHUNK_BYTES // (4 * images[0].numel())))


# -- soft labels -----------------------------------------------------------------------------------------------------------


def _soft_labels(distilled: DistilledSet) -> list[str]:
    """Return what kind of soft labels the numbers are, and how often they agree with the hard ones."""
    soft, lines = distilled.soft_labels, []
    if soft is None:
        return _replayed(distilled)
    soft = soft.float()
    seem = _seeming(soft)
    stated = distilled.soft_kind
    if seem == "one-hot":
        lines.append("warning: the soft labels are one-hot: they say no more than the hard ones")
    elif seem != stated:
        lines.append(f"warning: the soft labels are said to be {stated}, by their numbers they are {seem}")
    else:
        lines.append(f"soft labels: {stated}, from {float(soft.min()):.4g} to {float(soft.max()):.4g}")
    seen = agreement(distilled.labels, soft.argmax(1), distilled.classes)
    line = f"the highest soft label is the hard one for {seen.hits / seen.count:.1%} of the images"
    lines.append(line if 2 * seen.hits >= seen.count else f"{line}; chance is {1 / distilled.classes:.1%}")
    if not seen.proves and 2 * seen.hits < seen.count:
        lines[-1] = f"warning: {lines[-1]}"
    return lines + _permuted(seen, "the soft labels")


def _seeming(soft: Tensor) -> str:
    """Return what soft labels, [N, C], are by their numbers."""
    low, high = float(soft.min()), float(soft.max())
    if low >= -1e-6 and float((soft.sum(1) - 1).abs().max()) < 1e-2:
        return "one-hot" if bool((soft.amax(1) > 1 - 1e-6).all()) else "probabilities"
    if high <= 1e-6 and float(soft.logsumexp(1).abs().max()) < 1e-2:
        return "log-probabilities"
    return "logits"


def _replayed(distilled: DistilledSet) -> list[str]:
    """Return how often stored soft labels agree with the hard labels of the images that they are said to be of."""
    replay = distilled.replay
    if replay is None:
        return ["soft labels: none stored; a teacher gives them"]
    hits, chance = 0.0, 1 / distilled.classes
    looked = min(replay.epochs, 2)
    for row in range(looked):
        index, likeliest = replay.likeliest(row)
        hits += float((likeliest == distilled.labels[index]).float().mean()) / looked
    what = "epochs" if replay.counts is None else "batches"
    line = f"the highest stored soft label is the image's class in {hits:.1%} of the draws of {looked} {what}"
    return [line if hits > 5 * chance + 0.02 else f"warning: {line}, which is little more than chance: is it another order?"]


# -- normalisation ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Look:
    """Statistics of images: mean and deviation of each channel, [C], and the correlation of neighbouring pixels."""

    mean: Tensor
    std: Tensor
    neighbours: float

    @classmethod
    def of(cls, images: Tensor, factor: int = 1) -> _Look:
        """Look at float images, [N, C, H, W]; of mosaics only at one tile, so that seams do not count."""
        images = images[..., : images.shape[2] // factor, : images.shape[3] // factor]
        mean, std = images.mean((0, 2, 3)), images.std((0, 2, 3), correction=0).clamp_min(1e-6)
        away = (images - mean.view(1, -1, 1, 1)) / std.view(1, -1, 1, 1)
        return cls(mean, std, float(torch.stack([(one[..., 1:] * one[..., :-1]).mean() for one in away]).mean()))

    def distance(self, real: _Look) -> float:
        """Return how far this is from real images: means in deviations, deviations in factors of e, correlations."""
        means = float(((self.mean - real.mean).abs() / real.std).mean())
        return means + float((self.std / real.std).log().abs().mean()) + 2 * abs(self.neighbours - real.neighbours)

    def __str__(self) -> str:
        mean, std = (" ".join(f"{value:.2f}" for value in values) for values in (self.mean, self.std))
        return f"mean {mean}, deviation {std}, correlation of neighbouring pixels {self.neighbours:.2f}"


PIXELS, NORMALISED, WHITENED = "pixels in [0, 1]", "normalised by mean and deviation", "ZCA-whitened"


def _stated(distilled: DistilledSet) -> str:
    return WHITENED if distilled.whitening else NORMALISED if distilled.normalised else PIXELS


def _normalisation(distilled: DistilledSet, dataset: Dataset, real: tuple[Tensor, Tensor], whiten: Whiten | None) -> list[str]:
    """Return which reading of the real images those of the set are nearest to."""
    stated, theirs = _stated(distilled), real[0][_spread(len(real[0]), _most(real[0]))]
    own = distilled.images[_spread(len(distilled), _most(distilled.images))]
    look = _Look.of(_own(own), distilled.factor)
    readings = [PIXELS, NORMALISED] if whiten is None else [PIXELS, NORMALISED, WHITENED]
    looks = {reading: _Look.of(_as(reading, theirs, dataset, whiten)) for reading in readings}
    distances = {name: look.distance(each) for name, each in looks.items()}
    nearest = min(distances, key=lambda name: distances[name])
    line = f"the images ({look}) are nearest to {dataset.name} as {nearest} ({looks[nearest]})"
    if stated not in distances:
        return [line, f"not checked: whether they are {stated}, for there is no transform to compare with"]
    if nearest != stated and distances[stated] > distances[nearest] + NEARER:
        return [f"warning: said to be {stated}, but {line}"]
    if distances[stated] > FAR:
        return [f"warning: said to be {stated}, but {line}, and far from it"]
    return [line]


def _as(reading: str, images: Tensor, dataset: Dataset, whiten: Whiten | None) -> Tensor:
    """Return uint8 images in one reading, float32."""
    from harness.datasets.base import normalise

    if reading == WHITENED and whiten is not None:
        return whiten(images).float()
    if reading == NORMALISED:
        return normalise(images, dataset.mean, dataset.std).contiguous()
    return images.float() / 255


def _own(images: Tensor) -> Tensor:
    """Return a set's images as float32: pixels in [0, 1], or the network's input."""
    return images.float() / 255 if images.dtype == torch.uint8 else images.float()


def _real(dataset: Dataset) -> tuple[tuple[Tensor, Tensor], list[str]]:
    """Return images of the train split, of the test split where there is no train split; what is to be said of that."""
    try:
        return _stratified(dataset.train, len(dataset.classes)), []
    except DataError:  # one that decodes what it is asked for may be absent
        return _stratified(dataset.test, len(dataset.classes)), ["compared with the test split: the train split is not at hand"]


def _stratified(split: Split | LazySplit, classes: int) -> tuple[Tensor, Tensor]:
    """Return at most MOST images of a split, uint8, and their labels: as many of each class as that allows, the first of each."""
    order = split.labels.argsort(stable=True)
    counts = split.labels.bincount(minlength=classes)
    rank = torch.empty_like(order)
    rank[order] = torch.arange(len(order)) - (counts.cumsum(0) - counts)[split.labels[order]]
    places = (rank < max(1, MOST // classes)).nonzero()[:, 0]
    places = places[_spread(len(places), MOST)]
    return split.images[places], split.labels[places]


def _plausible(distilled: DistilledSet, card: Card) -> list[str]:
    """Return what ranges alone say of the normalisation."""
    if not distilled.normalised:
        return []
    low, high = float(distilled.images.min()), float(distilled.images.max())
    if low >= 0 and high <= 1:
        return [f"warning: said to be {_stated(distilled)}, yet all values lie in [0, 1] as pixels do"]
    if low >= 0 and high <= 255:
        return [f"warning: said to be {_stated(distilled)}, yet all values lie in [0, 255] as pixels do"]
    if distilled.whitening or not card.mean:
        return []
    black = min((0 - mean) / std for mean, std in zip(card.mean, card.std, strict=True))
    white = max((1 - mean) / std for mean, std in zip(card.mean, card.std, strict=True))
    line = f"values from {low:.3g} to {high:.3g}; those of {card.name}, normalised, lie in [{black:.3g}, {white:.3g}]"
    return [line if low > 5 * black and high < 5 * white else f"warning: {line}"]


# -- class order -----------------------------------------------------------------------------------------------------------


def _class_order(distilled: DistilledSet, dataset: Dataset, real: tuple[Tensor, Tensor], whiten: Whiten | None) -> list[str]:
    """Return how often the nearest class mean of the real images is that of the label."""
    stated, classes = _stated(distilled), len(dataset.classes)
    if stated == WHITENED and whiten is None:
        return ["not checked: the order of the classes, for there is no transform to whiten the real images with"]
    places = _spread(len(distilled), MOST)
    labels, few = distilled.labels[places], len(_chunks(distilled.images)[0])
    size = min(GRID, *distilled.shape[1:]) if stated != WHITENED else distilled.shape[2]
    theirs = torch.cat([_coarse(_as(stated, part, dataset, whiten), size) for part in _chunks(real[0])])
    own = torch.cat([_coarse(_own(distilled.images[some]), size, distilled.factor) for some in torch.split(places, few)])
    centre = theirs.mean(0)
    means = torch.zeros(classes, theirs.shape[1]).index_add_(0, real[1], theirs - centre)
    means = functional.normalize(means, dim=1)  # of the sum as of the mean
    nearest = ((own - centre) @ means.T).argmax(1)
    seen = agreement(labels, nearest, classes)
    line = (
        f"the nearest class mean of {dataset.name} is that of the label for {seen.hits} of {len(labels)} images; "
        f"chance is {seen.chance:.3g}"
    )
    permuted = _permuted(seen, f"the class means of {dataset.name}")
    if seen.hits > seen.enough:
        return [line, *permuted]
    if not permuted and seen.enough >= len(labels) / 2:
        return [f"{line}: too few images to tell the order of the classes"]
    return [f"warning: {line}", *permuted] if permuted else [f"warning: {line}: the classes may be in another order"]


def _coarse(images: Tensor, size: int, factor: int = 1) -> Tensor:
    """Return float images, of mosaics the first tile, averaged to `size` pixels a side, [N, features]."""
    images = images[..., : images.shape[2] // factor, : images.shape[3] // factor]
    return functional.adaptive_avg_pool2d(images, size).flatten(1) if images.shape[3] != size else images.flatten(1)


def _permuted(seen: Agreement, whose: str) -> list[str]:
    """Return a warning when the labels agree with what is `whose` far better after the classes are reordered."""
    if not seen.reordered:
        return []
    return [
        f"{OTHER_ORDER} would agree with {whose} on {seen.reordered} of {seen.count} images, this one on "
        f"{seen.hits}: were the class folders listed in another order?"
    ]


# -- teacher ---------------------------------------------------------------------------------------------------------------


def _known_to(teacher: Teacher, distilled: DistilledSet) -> list[str]:
    """Return how many of the set's images a teacher puts into their class."""
    if distilled.whitening:
        return [f"not checked: whether {teacher.label} knows the images, for these are whitened"]
    device = next(teacher.networks[0].parameters()).device
    places = _spread(len(distilled), MOST)
    hits = 0
    for some in torch.split(places, 128):
        part = _own(distilled.images[some]).to(device)
        logits = teacher.logits(part if distilled.normalised else teacher.normalise(part))
        hits += int((logits.argmax(1).cpu() == distilled.labels[some]).sum())
    expected, enough = by_chance(len(places), distilled.classes)
    line = f"{teacher.label} puts {hits} of {len(places)} images into the class of their label; chance is {expected:.3g}"
    if hits > enough:
        return [line]
    few = enough >= len(places) / 2
    return [f"{line}: too few to tell" if few else f"warning: {line}: another normalisation, or another order of the classes?"]
