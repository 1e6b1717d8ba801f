"""What each step of a student's training is made of: images as the student sees them, and the labels that go with them.

Batches are shuffled, augmented and mixed by a recipe (`Shuffled`), or are those that came with the distilled set (`Replayed`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from harness import seeds
from harness.augmentation import Crops, Mix, augmentation, mirrored, mixing, resized, stored
from harness.errors import DataError
from harness.losses.targets import Kind, Targets
from harness.pipelines import STORED

if TYPE_CHECKING:
    from harness.training import Material, Recipe

Loss = Callable[[Tensor, Targets], Tensor]


@dataclass(frozen=True)
class Batch:
    """One step: `images` [B, C, H, W], `labels` [B], `soft` [B, C] or None, and how the images were mixed, or None.

    `final` says that the soft labels are those of the images as they are here, mixed or not; others belong to the images before.
    """

    images: Tensor
    labels: Tensor
    soft: Tensor | None = None
    kind: Kind = "logits"
    mix: Mix | None = None
    final: bool = False

    def targets(self, progress: float, taught: Tensor | None) -> tuple[Targets, Targets | None]:
        """Return the targets of the images and of their partners, which are None when nothing is mixed.

        Args:
            progress: share of the training already done.
            taught: what the teacher says of the images, [B, C] logits, or None.
        """
        final = self.final or taught is not None
        soft, kind = (taught, "logits") if taught is not None else (self.soft, self.kind)
        own = Targets(self.labels, soft, kind, progress)
        return own, None if self.mix is None else partners(own, self.mix, final)


class MixedLoss:
    """A loss of images that may be mixed: the sum of what it says of the two targets, each by its share.

    Where the two differ in their hard labels alone and the loss does not look at these, it is called once a step: whether it
    does is found out at the first mixed batch, the only one that waits for the device.
    """

    def __init__(self, loss: Loss) -> None:
        self.loss = loss
        self._looks: bool | None = None

    def __call__(self, logits: Tensor, own: Targets, partner: Targets | None, mix: Mix | None) -> Tensor:
        """Return the loss of logits [B, C], a scalar."""
        if partner is None or mix is None:
            return self.loss(logits, own)
        if own.soft is not None and own.soft is partner.soft:
            if self._looks is None:
                self._looks = looks_at_hard_labels(self.loss, logits.detach(), own)
            if not self._looks:
                return self.loss(logits, own)
        share = mix.share
        return share * self.loss(logits, own) + (1 - share) * self.loss(logits, partner)


def partners(own: Targets, mix: Mix, final: bool) -> Targets:
    """Return the targets of the images' partners; with `final` soft labels, which tell of both, they share those."""
    hard = None if own.hard is None else own.hard.index_select(0, mix.partner)
    soft = own.soft if final or own.soft is None else own.soft.index_select(0, mix.partner)
    return Targets(hard, soft, own.kind, own.progress)


def looks_at_hard_labels(loss: Loss, logits: Tensor, targets: Targets) -> bool:
    """Tell whether a loss changes with the hard labels, at the beginning, in the middle or at the end of a training."""
    if targets.hard is None:
        return False
    others = (targets.hard + 1) % logits.shape[1]
    if logits.shape[1] == 1:  # there is no other label to try
        return True
    given = [(targets.hard, progress) for progress in (0.0, 0.5, 1.0)] + [(others, progress) for progress in (0.0, 0.5, 1.0)]
    with torch.no_grad():
        found = torch.stack([loss(logits, Targets(hard, targets.soft, targets.kind, progress)) for hard, progress in given])
    return not torch.equal(found[:3], found[3:])


class Shuffled:
    """Every image once an epoch in a new order, augmented and mixed as the recipe says; all draws follow from `seed`."""

    def __init__(self, material: Material, recipe: Recipe, seed: int) -> None:
        if STORED in (recipe.augmentation, recipe.mixing):
            raise DataError(f'augmentation = "{STORED}" replays what comes with a distilled set, and this one has nothing stored')
        device = material.images.device
        self.material = material
        self.sizes = batch_sizes(len(material.labels), recipe.batch_size)
        self._order = seeds.generator(seed, "order")
        self._draws = seeds.generator(seed, "augmentation", device)
        self._augment = augmentation(recipe.augmentation, material.factor)
        self._mixing = mixing(recipe.mixing)

    def epoch(self, number: int) -> Iterator[Batch]:
        """Yield the batches of an epoch, 1 the first."""
        material = self.material
        device = material.images.device
        order = torch.randperm(len(material.labels), generator=self._order).to(device, non_blocking=True)
        for index in torch.split(order, self.sizes):
            images = self._augment(material.batch(index), generator=self._draws)
            mix = None
            if self._mixing is not None:
                mix = self._mixing.draw(len(index), *images.shape[2:], device=device, generator=self._draws)
                images = mix.apply(images)
            soft = None if material.soft is None else material.soft.index_select(0, index)
            yield Batch(images, material.labels.index_select(0, index), soft, material.soft_kind, mix)


class Replayed:
    """The stored augmentations of a distilled set, one stored epoch after the other, and again from the first (FKD).

    They may be larger than the device's memory, so that an epoch moves there when it is its turn.
    """

    def __init__(self, material: Material) -> None:
        assert material.replay is not None
        self.material, self.replay = material, material.replay
        count = self.replay.index.shape[1]
        if count != len(material.labels):
            raise DataError(f"the stored augmentations are of {count} images, and there are {len(material.labels)}")
        steps = self.replay.lam.shape[1]
        self.sizes = [self.replay.batch] * (steps - 1) + [count - self.replay.batch * (steps - 1)]

    def epoch(self, number: int) -> Iterator[Batch]:
        """Yield the batches of an epoch, 1 the first."""
        material, replay, turn = self.material, self.replay, (number - 1) % self.replay.epochs
        height, width = material.images.shape[2:]
        crops = Crops.of_shares(replay.crops[turn], height, width)
        places = torch.stack([crops.top, crops.left, crops.height, crops.width])
        index, places, flips, partner, lam, boxes, logits = (
            part.to(material.images.device, non_blocking=True)
            for part in (
                replay.index[turn],
                places,
                replay.flips[turn],
                replay.partners[turn],
                replay.lam[turn],
                replay.boxes[turn],
                replay.logits[turn],
            )
        )
        steps = zip(
            torch.split(index, self.sizes),
            torch.split(places, self.sizes, dim=1),
            torch.split(flips, self.sizes),
            torch.split(partner, self.sizes),
            torch.split(logits, self.sizes),
            strict=True,
        )
        for step, (at, crop, flip, other, soft) in enumerate(steps):
            mix = stored(other, lam[step], boxes[step], height, width)
            images = mix.apply(mirrored(resized(material.batch(at), Crops(*crop)), flip))
            yield Batch(images, material.labels.index_select(0, at), soft.float(), "logits", mix, final=True)


def batch_sizes(count: int, batch_size: int) -> list[int]:
    """Return the sizes of an epoch's batches; a last batch of one joins the one before it (batch norm needs two values)."""
    sizes = [batch_size] * (count // batch_size) + ([count % batch_size] if count % batch_size else [])
    if len(sizes) > 1 and sizes[-1] == 1:
        sizes[-2:] = [sizes[-2] + 1]
    return sizes
