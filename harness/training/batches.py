"""What each step of a student's training is made of: images as the student sees them, and the labels that go with them.

Batches are shuffled, augmented and mixed by a recipe (`Shuffled`), or are those that came with the distilled set (`Replayed`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor
from torch.func import vmap

from harness.augmentation import Crops, Mix, augmentation, mirrored, resized, stored
from harness.augmentation.mixing import Paired, mixing
from harness.augmentation.words import STORED
from harness.core.errors import DataError
from harness.core.seeds import derive
from harness.losses.classic import full_precision
from harness.losses.looks import probe
from harness.losses.targets import Kind, Loss, Memory, Targets
from harness.training.replay import rand_augmented, soft_labels

if TYPE_CHECKING:
    from harness.training.values import Material, Recipe


@dataclass(frozen=True)
class Batch:
    """One step: `images` [B, C, H, W], `labels` [B], `soft` [B, C] or None, and how the images were mixed, or None.

    `final` says that the soft labels are those of the images as they are here, mixed or not; others belong to the images before.
    """

    images: Tensor
    labels: Tensor
    soft: Tensor | None = None
    kind: Kind = "logits"
    mix: Mix | Paired | None = None
    final: bool = False
    temperature: float = 1.0

    def targets(self, progress: float, taught: Tensor | None, memory: Memory | None = None) -> tuple[Targets, Targets | None]:
        """Return the targets of the images and of their partners, which are None when nothing is mixed.

        Args:
            progress: share of the training already done.
            taught: what the teacher says of the images, [B, C] logits, or None.
            memory: of the training's loss.
        """
        final = self.final or taught is not None
        if taught is None:
            own = Targets(self.labels, self.soft, self.kind, progress, self.temperature, memory)
        else:
            own = Targets(self.labels, taught, "logits", progress, memory=memory)
        return own, None if self.mix is None else partners(own, self.mix, final)


class Criterion:
    """The losses of trainings made together.

    A loss that several neighbours share (the same object) is called once for all of them by `torch.func.vmap`, or, where that
    has no rule for what it does or the images are mixed, once for each.

    Args:
        losses: one a training.
    """

    def __init__(self, losses: Sequence[Loss]) -> None:
        #: What the loss of each training has kept of its batches.
        self.memories: list[Memory] = [{} for _ in losses]
        neighbours = [list(members) for _, members in groupby(range(len(losses)), key=lambda index: id(losses[index]))]
        ranges = [range(members[0], members[-1] + 1) for members in neighbours]
        self._groups = [Shared(losses[members[0]], members, self.memories[members.start : members.stop]) for members in ranges]

    def __call__(self, logits: Sequence[Tensor], batches: Sequence[Batch], progress: float, taught: Tensor | None) -> Tensor:
        """Return the loss of each training, [S].

        Args:
            logits: of each training, [B, C]; a tensor [S, B, C] when there are several.
            progress: share of the training already done.
            taught: the teacher's logits on the images of all trainings, [S * B, C], or None.
        """
        parts = [None] * len(batches) if taught is None else torch.split(taught, len(batches[0].labels))
        values = [group(logits, batches, progress, parts) for group in self._groups]
        return values[0] if len(values) == 1 else torch.cat(values)


class Shared:
    """One loss of the trainings in `members`, called for all at once where that can be: not where it remembers what was."""

    def __init__(self, loss: Loss, members: range, memories: Sequence[Memory]) -> None:
        self.loss, self.members, self.memories = MixedLoss(loss), members, memories
        self._vectorised = len(members) > 1

    def __call__(
        self, logits: Sequence[Tensor], batches: Sequence[Batch], progress: float, taught: Sequence[Tensor | None]
    ) -> Tensor:
        """Return the loss of each of the members, [M]; the arguments are those of all trainings."""
        calls = [
            (logits[index], *batches[index].targets(progress, taught[index], memory), batches[index].mix)
            for index, memory in zip(self.members, self.memories, strict=True)
        ]
        if self._vectorised and calls[0][3] is None:
            try:
                at_once = self._at_once(cast(Tensor, logits), [own for _, own, _, _ in calls])
            except Exception:  # whatever this loss does that vmap has no rule for; a fault of its own shows again below
                at_once = None
            if at_once is not None:
                return at_once
            self._vectorised = False
        values = [self.loss(full_precision(z), own, partner, mix) for z, own, partner, mix in calls]
        return values[0][None] if len(values) == 1 else torch.stack(values)

    def _at_once(self, logits: Tensor, targets: Sequence[Targets]) -> Tensor | None:
        """Return the loss of each of the members, [M], by one call; None where it keeps something, which is each one's own."""
        kept: Memory = {}
        first, mine = targets[0], logits[self.members.start : self.members.stop]
        hard = None if first.hard is None else torch.stack([own.labels() for own in targets])
        soft = None if first.soft is None else torch.stack([own.soft for own in targets if own.soft is not None])

        def value(z: Tensor, hard: Tensor | None, soft: Tensor | None) -> Tensor:
            return self.loss.loss(full_precision(z), replace(first, hard=hard, soft=soft, memory=kept))

        in_dims = (0, None if hard is None else 0, None if soft is None else 0)
        values: Tensor = vmap(value, in_dims)(mine, hard, soft)
        return None if kept else values


class MixedLoss:
    """A loss of images that may be mixed: the sum of what it says of the two targets, each by its share.

    Where each image has a share of its own, it is the mean of what the loss says of one image at a time. Where the two differ in
    their hard labels alone and the loss does not look at these, it is called once a step: whether it does is found out at the
    first mixed batch, the only one that waits for the device.
    """

    def __init__(self, loss: Loss) -> None:
        self.loss = loss
        self._looks_at_hard: bool | None = None
        self._vectorised = True

    def __call__(self, logits: Tensor, own: Targets, partner: Targets | None, mix: Mix | Paired | None) -> Tensor:
        """Return the loss of logits [B, C], a scalar."""
        if partner is None or mix is None:
            return self.loss(logits, own)
        if own.soft is not None and own.soft is partner.soft:
            if self._looks_at_hard is None:
                self._looks_at_hard = own.hard is not None and probe(self.loss, logits, own).hard
            if not self._looks_at_hard:
                return self.loss(logits, own)
        share = mix.share
        if share.dim():
            return (share * self._each(logits, own) + (1 - share) * self._each(logits, partner)).mean()
        return share * self.loss(logits, own) + (1 - share) * self.loss(logits, partner)

    def _each(self, logits: Tensor, targets: Targets) -> Tensor:
        """Return what the loss says of each image alone, [B]; of these it is not to keep anything."""

        def value(z: Tensor, hard: Tensor | None, soft: Tensor | None) -> Tensor:
            own_hard, own_soft = (None if part is None else part[None] for part in (hard, soft))
            return self.loss(z[None], replace(targets, hard=own_hard, soft=own_soft, memory=None))

        hard, soft = targets.hard, targets.soft
        if self._vectorised:
            try:
                values: Tensor = vmap(value, (0, None if hard is None else 0, None if soft is None else 0))(logits, hard, soft)
                return values
            except Exception:  # whatever this loss does that vmap has no rule for; a fault of its own shows again below
                self._vectorised = False
        rows = [[None] * len(logits) if part is None else part for part in (hard, soft)]
        return torch.stack([value(*row) for row in zip(logits, *rows, strict=True)])


def partners(own: Targets, mix: Mix | Paired, final: bool) -> Targets:
    """Return the targets of the images' partners; with `final` soft labels, which tell of both, they share those."""
    hard = None if own.hard is None else mix.partners(own.hard)
    soft = own.soft if final or own.soft is None or isinstance(mix, Paired) else own.soft.index_select(0, mix.partner)
    return replace(own, hard=hard, soft=soft)


#: What an epoch gives a step: the images of each training, [S, B] int64, or the batch itself where batches are stored.
Given = Tensor | Batch


@dataclass(frozen=True)
class Step:
    """One step of S trainings made together: what each is given, and all images, [S * B, C, H, W], one's after the other's.

    `taught` is what the teacher says of the images, [S * B, K] logits, or None.
    """

    images: Tensor
    batches: Sequence[Batch]
    taught: Tensor | None = None

    def of(self, places: Sequence[int]) -> Step:
        """Return the step of trainings each of which is given what stands at one of the places, perhaps the same as another."""
        count = len(self.batches)
        images, taught = self.images.chunk(count), None if self.taught is None else self.taught.chunk(count)
        return Step(
            torch.cat([images[place] for place in places]),
            [self.batches[place] for place in places],
            None if taught is None else torch.cat([taught[place] for place in places]),
        )


@dataclass(frozen=True)
class Part(Batch):
    """Some neighbours of a batch, those from `start` to `stop`; their partners may be among the others."""

    whole: Batch | None = None
    start: int = 0
    stop: int = 0

    def targets(self, progress: float, taught: Tensor | None, memory: Memory | None = None) -> tuple[Targets, Targets | None]:
        """Return the targets of these images and of their partners; `taught` is said of these images alone."""
        assert self.whole is not None
        own, partner = (self._cut(targets) for targets in self.whole.targets(progress, None, memory))
        assert own is not None
        if taught is not None:
            own = replace(own, soft=taught, kind="logits", temperature=1.0)
        if partner is not None and (taught is not None or self.whole.final):
            partner = replace(own, hard=partner.hard)  # one tensor of soft labels, which tells of both
        return own, partner

    def _cut(self, targets: Targets | None) -> Targets | None:
        if targets is None:
            return None
        hard, soft = (None if part is None else part[self.start : self.stop] for part in (targets.hard, targets.soft))
        return replace(targets, hard=hard, soft=soft)


def parts(step: Step, taught: Tensor | None, size: int) -> Iterator[tuple[Step, Tensor | None]]:
    """Yield the parts of a step that pass through the students one after the other, and what the teacher says of their images.

    Args:
        taught: of the step's images, [S * B, C], or None.
        size: images of a part, of each training; a last part of one joins the one before it, as batches do.
    """
    count = len(step.batches[0].labels)
    stop = 0
    for width in batch_sizes(count, size):
        start, stop = stop, stop + width
        cut = slice(start, stop)
        batches = [
            Part(
                batch.images[cut],
                batch.labels[cut],
                None,
                batch.kind,
                batch.mix,
                batch.final,
                whole=batch,
                start=start,
                stop=stop,
            )
            for batch in step.batches
        ]
        images = batches[0].images if len(batches) == 1 else torch.cat([batch.images for batch in batches])
        logits = None if taught is None else taught.view(len(batches), count, -1)[:, start:stop].flatten(0, 1)
        yield Step(images, batches), logits


class Alteration:
    """What a recipe does to images before a student sees them: it augments them, then mixes them."""

    def __init__(self, recipe: Recipe, material: Material) -> None:
        self._augment = augmentation(recipe.augmentation, material.factor, cutout=recipe.cutout, statistics=material.statistics)
        self._mixing = mixing(recipe.mixing)

    def step(self, images: Tensor, labels: Tensor, soft: Tensor | None, kind: Kind, streams: Sequence[torch.Generator]) -> Step:
        """Return the step of S trainings on images that are given to one after the other, as many to each.

        Nothing in it waits for the device, or depends on what its tensors hold.

        Args:
            images: normalised, [S * B, C, H, W].
            labels, soft: of the images, [S * B] and [S * B, C] or None.
            streams: what each training draws from.
        """
        size = len(labels) // len(streams)
        images = self._augment(images, generator=streams if len(streams) > 1 else streams[0])
        parts: Sequence[Tensor] = torch.split(images, size)
        mixes: list[Mix | None] = [None] * len(parts)
        if self._mixing is not None:
            drawn = [self._mixing.draw(size, *images.shape[2:], device=images.device, generator=stream) for stream in streams]
            parts = [mix.apply(part) for mix, part in zip(drawn, parts, strict=True)]
            images, mixes = parts[0] if len(parts) == 1 else torch.cat(parts), [*drawn]
        softs: Sequence[Tensor | None] = [None] * len(parts) if soft is None else torch.split(soft, size)
        batches = [
            Batch(part, hard, taught, kind, mix)
            for part, hard, taught, mix in zip(parts, torch.split(labels, size), softs, mixes, strict=True)
        ]
        return Step(images, batches)


class Shuffled:
    """Every image once an epoch in a new order, augmented and mixed as the recipe says; all draws follow from a training's seed.

    Args:
        seeds: of the trainings that are made together.
    """

    def __init__(self, material: Material, recipe: Recipe, seeds: Sequence[int]) -> None:
        if STORED in (recipe.augmentation, recipe.mixing):
            raise DataError(f'augmentation = "{STORED}" replays what comes with a distilled set, and this one has nothing stored')
        self.material = material
        self.device = material.images.device
        self.sizes = batch_sizes(len(material.labels), recipe.batch_size)
        self.orders = [torch.Generator() for _ in seeds]
        self.streams = [torch.Generator(self.device) for _ in seeds]
        self.restart(seeds)
        self.alteration = Alteration(recipe, material)

    def restart(self, seeds: Sequence[int]) -> None:
        """Begin all random streams anew, as trainings of these seeds do."""
        for streams, role in ((self.orders, "order"), (self.streams, "augmentation")):
            for stream, seed in zip(streams, seeds, strict=True):
                stream.manual_seed(derive(seed, role))

    def epoch(self, number: int) -> Iterator[Tensor]:
        """Yield what `step` makes each step of an epoch of (1 the first): which images each training is given, [S, B] int64."""
        count = len(self.material.labels)
        order = torch.stack([torch.randperm(count, generator=stream) for stream in self.orders])
        yield from torch.split(order.to(self.device, non_blocking=True), self.sizes, dim=1)

    def step(self, index: Tensor) -> Step:
        """Return the step of the images at `index`: nothing in it waits for the device, or depends on what its tensors hold."""
        return self.alteration.step(*self.material.at(index.flatten()), self.material.soft_kind, self.streams)


class Replayed:
    """The augmentations that are stored with a distilled set, in the order that their rule says.

    They may be larger than the device's memory, so that an epoch moves there when it is its turn.

    Args:
        seed: the training's, by which batches are drawn where the rule draws them.
    """

    def __init__(self, material: Material, seed: int) -> None:
        assert material.replay is not None
        self.material, self.replay, self.seed = material, material.replay, seed
        count, images = self.replay.index.shape[1], len(material.labels)
        if self.replay.counts is None and count != images:
            raise DataError(f"the stored augmentations are of {count} images, and there are {images}")
        self.sizes = self.replay.sizes

    def step(self, batch: Batch) -> Step:
        """Return the step of a batch."""
        return Step(batch.images, [batch])

    def epoch(self, number: int) -> Iterator[Batch]:
        """Yield the batches of an epoch, 1 the first."""
        material, rule = self.material, self.replay.rule
        device, (height, width) = material.images.device, material.images.shape[2:]
        stored_here = self.replay.passage(number, self.seed)
        crops = Crops.of_shares(stored_here.crops, height, width, truncated=rule.edges == "truncated")
        places = torch.stack([crops.top, crops.left, crops.height, crops.width]).to(device, non_blocking=True)
        passage, start = stored_here.to(device), 0
        for step, size in enumerate(passage.sizes):
            here = slice(start, start + size)
            start += size
            at = passage.index[here]
            mix = stored(passage.partners[here], passage.lam[step], passage.boxes[step], height, width)
            whole = material.batch(at)
            if passage.operations is not None and passage.arguments is not None:
                operations, arguments = passage.operations[here], passage.arguments[here]
                whole = rand_augmented(whole, operations, arguments, material.statistics, rule.resample)
            images = mix.apply(mirrored(resized(whole, Crops(*places[:, here])), passage.flips[here]))
            topk, lowest = (None if part is None else part[here] for part in (passage.topk, passage.lowest))
            soft = soft_labels(passage.logits[here], topk, lowest, rule)
            labels = material.labels.index_select(0, at)
            yield Batch(images, labels, soft, rule.kind, mix, final=True, temperature=rule.temperature)


def batch_sizes(count: int, batch_size: int) -> list[int]:
    """Return the sizes of an epoch's batches; a last batch of one joins the one before it (batch norm needs two values)."""
    sizes = [batch_size] * (count // batch_size) + ([count % batch_size] if count % batch_size else [])
    if len(sizes) > 1 and sizes[-1] == 1:
        sizes[-2:] = [sizes[-2] + 1]
    return sizes
