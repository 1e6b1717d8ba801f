"""RDED: the crops that a teacher recognises best, as they are or as mosaics."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from harness.augmentation import mosaic
from harness.core import seeds
from harness.core.errors import BadOption, DataError
from harness.distilled.set import DistilledSet
from harness.distilled.source import Source
from harness.teachers.teacher import Teacher


def rded(
    source: Source, *, factor: int = 1, min_scale: float | None = None, candidates: int = 300, crops: int = 5
) -> DistilledSet:
    """RDED (Sun et al., CVPR 2024): each class's most recognisable crops by a teacher, in mosaics of factor x factor.

    For each class: `candidates` random training images (all, when there are fewer); from each, `crops` random resized crops to
    size/factor with area share uniform in (min_scale, 1) and aspect 1; each scored by the teacher's cross-entropy to the true
    class, zero-padded to full size; the best crop of each image is kept; of these the ipc * factor^2 of lowest cross-entropy;
    tile k of image i has rank k * ipc + i.

    Args:
        factor: tiles along a side; 1 up to 64 px, 2 for ImageNet as published.
        min_scale: smallest area share of a crop, in (0, 1]; at 1 images are taken whole; None takes the dataset's own (0.08
            as published; 0.5 for digits and Fashion-MNIST, whose object is lost in smaller crops).
        candidates, crops: images per class and crops per image that compete.
    Returns: a DistilledSet in uint8, labelled by class; soft labels come from the teacher while a student trains.
    Raises: DataError when a class has too few images; BadOption for values outside their range.
    """
    dataset = source.dataset
    source.check_ipc()
    scale = dataset.min_scale if min_scale is None else min_scale
    height, width = dataset.shape[1:]
    if not isinstance(scale, (int, float)) or not 0 < scale <= 1:
        raise BadOption(f"rded: min_scale must lie above 0 and be at most 1, not {scale!r}")
    if factor < 1 or height % factor or width % factor:
        raise BadOption(f"rded: factor must divide {height}x{width} px; {factor} does not")
    if candidates < source.ipc * factor**2 or crops < 1:
        raise BadOption(f"rded: candidates must be at least ipc * factor^2 = {source.ipc * factor**2}, and crops at least 1")
    best = []
    for label in range(len(dataset.classes)):
        draws = seeds.generator(source.seed, f"rded/{label}")
        members = (dataset.train.labels == label).nonzero()[:, 0]
        if len(members) < source.ipc * factor**2:
            needed = f"ipc {source.ipc} at factor {factor} takes {source.ipc * factor**2}"
            raise DataError(f"rded: class {label} has {len(members)} training images; {needed}")
        members = members[torch.randperm(len(members), generator=draws)[:candidates]]
        tiles = _random_crops(dataset.train.images[members].repeat_interleave(crops, 0), scale, factor, draws)
        losses = _scores(source.teacher, tiles, label, (height, width), source.device).view(-1, crops)
        kept = tiles.view(-1, crops, *tiles.shape[1:])[torch.arange(len(members)), losses.argmin(1)]
        ranked = kept[losses.amin(1).argsort(stable=True)[: source.ipc * factor**2]]
        best.append(mosaic(ranked, factor))
    return DistilledSet(
        torch.cat(best),
        torch.arange(len(dataset.classes)).repeat_interleave(source.ipc),
        dataset=dataset.name,
        method="rded",
        classes=len(dataset.classes),
        factor=factor,
        native_loss="kl",
        known_dataset=False,
        provenance={
            "seed": source.seed,
            "ipc": source.ipc,
            "min_scale": scale,
            "candidates": candidates,
            "crops": crops,
            "dataset_digest": dataset.digest,
            "teacher": source.teacher.label,
            "teacher_digest": list(source.teacher.digests),
            "source": "arXiv 2312.03526",
        },
    )


def _random_crops(images: Tensor, min_scale: float, factor: int, draws: torch.Generator) -> Tensor:
    """Return one random square-aspect crop of each uint8 image, resized to size/factor, uint8."""
    from torchvision.transforms.v2.functional import resized_crop

    count, (height, width) = len(images), images.shape[2:]
    side = (min_scale + (1 - min_scale) * torch.rand(count, generator=draws)).sqrt()
    tall, wide = (side * height).round().clamp(min=1), (side * width).round().clamp(min=1)
    top = ((height - tall + 1) * torch.rand(count, generator=draws)).floor()
    left = ((width - wide + 1) * torch.rand(count, generator=draws)).floor()
    boxes = torch.stack([top, left, tall, wide], 1).long().tolist()
    size = [height // factor, width // factor]
    return torch.stack([resized_crop(image, *box, size=size, antialias=True) for image, box in zip(images, boxes, strict=True)])


def _scores(teacher: Teacher, tiles: Tensor, label: int, size: tuple[int, int], device: str) -> Tensor:
    """Return the teacher's cross-entropy of each tile, zero-padded in the centre to `size`, [N]."""
    top, left = (size[0] - tiles.shape[2]) // 2, (size[1] - tiles.shape[3]) // 2
    padding = (left, size[1] - tiles.shape[3] - left, top, size[0] - tiles.shape[2] - top)
    scores = []
    for chunk in torch.split(tiles, 500):
        # The padding is zero in the network's input, as in the published code: pad after normalisation.
        logits = teacher.logits(functional.pad(teacher.normalise(chunk.to(device)), padding))
        scores.append(functional.cross_entropy(logits, torch.full((len(chunk),), label, device=device), reduction="none"))
    return torch.cat(scores).cpu()
