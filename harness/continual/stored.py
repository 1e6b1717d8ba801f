"""Stored augmentations along a stream of classes: those that are of images at hand, and of partners at hand.

A stored label tells of an image and of the partner that it was mixed with. Where one of the two is of a class that has not come
yet, or is no longer in memory, the augmented image cannot be made, and what is stored of it is left out. The others make the
batches of a step: as many an epoch as there are images at hand, in an order drawn anew each time all have been seen.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from harness.augmentation import Crops, mirrored, resized
from harness.augmentation.mixing import own_share
from harness.core.errors import DataError
from harness.training.batches import batch_sizes
from harness.training.replay import Replay, rand_augmented, soft_labels
from harness.training.values import Material


@dataclass(frozen=True)
class Views:
    """Augmented images, [V, …], that may be of many stored batches: which image, crop [V, 4] and flip, the same of its partner,
    lam [V], box [V, 4] and what is stored of the label, as `Replay` has them, and perhaps rounds of RandAugment of both."""

    image: Tensor
    crop: Tensor
    flip: Tensor
    partner: Tensor
    partner_crop: Tensor
    partner_flip: Tensor
    lam: Tensor
    box: Tensor
    logits: Tensor
    topk: Tensor | None
    lowest: Tensor | None
    operations: Tensor | None
    arguments: Tensor | None
    partner_operations: Tensor | None
    partner_arguments: Tensor | None

    def split(self, sizes: Sequence[int], device: torch.device) -> Iterator[Views]:
        """Yield so many at a time, on a device."""
        moved = [getattr(self, f.name) for f in fields(self)]
        parts = [None if part is None else torch.split(part.to(device, non_blocking=True), list(sizes)) for part in moved]
        for step in range(len(sizes)):
            yield Views(*(None if part is None else part[step] for part in parts))  # type: ignore[arg-type]


class StoredBatches:
    """Batches [images, labels, soft labels, partners' labels, own shares, task] of stored augmentations.

    Args:
        material: with a replay.
        parts: (places in the material, batch size) of each dataset that a batch is made of; the first one decides how many
            batches there are, the others go on as often as need be. Partners may be of any of them.
        order: what the order is drawn from.
    Raises: DataError where nothing is stored of a part and of partners at hand.
    """

    def __init__(self, material: Material, parts: Sequence[tuple[Tensor, int]], order: torch.Generator) -> None:
        assert material.replay is not None
        self.material, self.replay, self.order = material, material.replay, order
        self.counts = [len(index) for index, _ in parts]
        self.sizes = [batch_sizes(len(index), size) for index, size in parts]
        at_hand = torch.zeros(len(material.labels), dtype=torch.bool)
        for index, _ in parts:
            at_hand[index] = True
        self._image, self._partner = _images(self.replay)
        usable = at_hand[self._partner] | ~_mixed(self.replay)
        self.views: list[Tensor] = []
        for index, _ in parts:
            own = torch.zeros_like(at_hand)
            own[index] = True
            self.views.append((own[self._image] & usable & _filled(self.replay)).nonzero()[:, 0])
            if not len(self.views[-1]):
                raise DataError(
                    f"nothing is stored of the {len(index)} images at hand that was mixed with one of the {int(at_hand.sum())} "
                    'at hand; more images a class are needed, or labels = "hard"'
                )
        self._left = [view[:0] for view in self.views]

    def __len__(self) -> int:
        return len(self.sizes[0])

    def __iter__(self) -> Iterator[list[Tensor]]:
        drawn = [self._epoch(part) for part in range(len(self.sizes))]
        for first in drawn[0]:
            batch = [first]
            for part in range(1, len(self.sizes)):
                views = next(drawn[part], None)
                if views is None:
                    drawn[part] = self._epoch(part)
                    views = next(drawn[part])
                batch.append(views)
            yield self._batch(batch)

    def _epoch(self, part: int) -> Iterator[Views]:
        """Yield what is drawn of a part in an epoch: as many views as it has images."""
        count, left = self.counts[part], self._left[part]
        while len(left) < count:
            views = self.views[part]
            left = torch.cat([left, views[torch.randperm(len(views), generator=self.order)]])
        self._left[part] = left[count:]
        return self._at(left[:count]).split(self.sizes[part], self.material.images.device)

    def _at(self, places: Tensor) -> Views:
        """Return what is stored at these places, numbered through all batches, on the host."""
        replay, width = self.replay, self.replay.index.shape[1]
        epoch, place = places // width, places % width
        start = place // replay.batch * replay.batch
        other = start + replay.partners[epoch, place]
        step = place // replay.batch
        return Views(
            image=self._image[places],
            crop=replay.crops[epoch, place],
            flip=replay.flips[epoch, place],
            partner=self._partner[places],
            partner_crop=replay.crops[epoch, other],
            partner_flip=replay.flips[epoch, other],
            lam=replay.lam[epoch, step],
            box=replay.boxes[epoch, step],
            logits=replay.logits[epoch, place],
            topk=_at(replay.topk, epoch, place),
            lowest=_at(replay.lowest, epoch, place),
            operations=_at(replay.operations, epoch, place),
            arguments=_at(replay.arguments, epoch, place),
            partner_operations=_at(replay.operations, epoch, other),
            partner_arguments=_at(replay.arguments, epoch, other),
        )

    def _batch(self, views: Sequence[Views]) -> list[Tensor]:
        """Return a batch of views of several parts; nothing in it waits for the device."""
        images, labels, soft, others, shares = (torch.cat(part) for part in zip(*map(self._made, views), strict=True))
        return [images, labels, soft, others, shares, torch.zeros_like(labels)]

    def _made(self, views: Views) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Return images, labels, soft labels, partners' labels and own shares of views."""
        material, rule = self.material, self.replay.rule
        height, width = material.images.shape[2:]

        def cut(image: Tensor, shares: Tensor, flips: Tensor, operations: Tensor | None, arguments: Tensor | None) -> Tensor:
            crops, images = Crops.of_shares(shares, height, width, truncated=rule.edges == "truncated"), material.batch(image)
            if operations is not None and arguments is not None:
                images = rand_augmented(images, operations, arguments, material.statistics, rule.resample)
            return mirrored(resized(images, crops), flips)

        own = own_share(views.lam, views.box, height, width)
        image = cut(views.image, views.crop, views.flip, views.operations, views.arguments)
        partner = cut(views.partner, views.partner_crop, views.partner_flip, views.partner_operations, views.partner_arguments)
        mixed = torch.lerp(partner, image, own[:, None].to(image.dtype)).contiguous(memory_format=torch.channels_last)
        labels, others = (material.labels.index_select(0, index) for index in (views.image, views.partner))
        return mixed, labels, soft_labels(views.logits, views.topk, views.lowest, rule), others, own.mean((1, 2))


def _at(stored: Tensor | None, epoch: Tensor, place: Tensor) -> Tensor | None:
    return None if stored is None else stored[epoch, place]


def _images(replay: Replay) -> tuple[Tensor, Tensor]:
    """Return which image stands at each place of all batches, [E * N], and which is its partner."""
    places = torch.arange(replay.index.shape[1])
    partner = replay.index.gather(1, places // replay.batch * replay.batch + replay.partners)
    return replay.index.flatten(), partner.flatten()


def _mixed(replay: Replay) -> Tensor:
    """Return which places' images hold a part of their partner, [E * N] bool."""
    steps = torch.arange(replay.index.shape[1]) // replay.batch
    return (replay.lam < 1)[:, steps].flatten()


def _filled(replay: Replay) -> Tensor:
    """Return which places are filled, [E * N] bool."""
    epochs, width = replay.index.shape
    if replay.counts is None:
        return torch.ones(epochs * width, dtype=torch.bool)
    return (torch.arange(width) < replay.counts[:, None]).flatten()
