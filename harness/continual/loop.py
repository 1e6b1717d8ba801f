"""This project's hot loop inside Avalanche's: data on the device, a whole batch at a time, no host sync in a step."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import cycle
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn

from harness import optimizers
from harness.augmentation import Mix
from harness.augmentation.mixing import Paired
from harness.augmentation.words import STORED
from harness.continual import checkpoints, strategies
from harness.continual.captured import Replaying
from harness.continual.parts import Parts
from harness.continual.stored import StoredBatches
from harness.continual.stream import Experience, Indexed, places, refuse_stages
from harness.core import seeds
from harness.core.errors import DataError
from harness.core.spec import Spec
from harness.losses.targets import Targets
from harness.training.batches import Alteration, Batch, batch_sizes
from harness.training.checkpoints import State
from harness.training.devices import arithmetic
from harness.training.evaluation import Tests, hits
from harness.training.loop import Objective, finite_weights, is_checked
from harness.training.overlap import Graphs
from harness.training.values import Material, Recipe


class Seen:
    """The classes met so far: cuts logits and soft labels down to them, so that nothing else reaches the loss.

    Args:
        seen: the classes, in any order.
        classes: how many there are in all.
        sliced: False leaves logits and soft labels whole.
        absent: whether soft labels give some classes no share. Where none of the classes met has any, all have the same.
    """

    def __init__(
        self, seen: Sequence[int], classes: int, device: str | torch.device, sliced: bool = True, absent: bool = False
    ) -> None:
        self.absent = absent
        self.columns = torch.tensor(sorted(seen), device=device)
        self.whole = not sliced or len(seen) == classes
        self.place = torch.zeros(classes, dtype=torch.int64, device=device)
        self.place[self.columns] = torch.arange(len(seen), device=device)

    def logits(self, logits: Tensor) -> Tensor:
        """Return the columns of the classes met, [B, S], in ascending order of class."""
        return logits if self.whole else logits.index_select(1, self.columns)

    def targets(self, targets: Targets) -> Targets:
        """Return targets over the classes met; probabilities are normalised again."""
        if self.whole:
            return targets
        soft = None if targets.soft is None else self.logits(targets.soft)
        if soft is not None and self.absent:
            empty = torch.full_like(soft, 0.0 if targets.kind == "probabilities" else -torch.inf)
            soft = torch.where((soft == empty).all(1, keepdim=True), torch.ones_like(soft), soft)
        if soft is not None and targets.kind == "probabilities":
            soft = soft / soft.sum(dim=1, keepdim=True).clamp_min(1e-12)
        hard = None if targets.hard is None else self.place.index_select(0, targets.hard)
        return replace(targets, hard=hard, soft=soft)

    def batch(self, batch: Batch) -> Batch:
        """Return a batch whose labels are over the classes met."""
        targets = self.targets(Targets(batch.labels, batch.soft, batch.kind))
        mix = batch.mix
        if isinstance(mix, Paired) and not self.whole:
            mix = replace(mix, others=self.place.index_select(0, mix.others))
        return replace(batch, labels=targets.labels(), soft=targets.soft, mix=mix)


class OnlySeen(nn.Module):
    """A student that answers with one of the classes met so far: the logits of all others are the lowest that there is."""

    def __init__(self, student: nn.Module, seen: Seen) -> None:
        super().__init__()
        self.student = student
        self.unseen: Tensor
        unseen = torch.ones_like(seen.place, dtype=torch.bool)
        unseen[seen.columns] = False
        self.register_buffer("unseen", unseen, persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.student(images)
        return logits.float().masked_fill(self.unseen, torch.finfo(torch.float32).min)


class Batches:
    """Batches [images, labels, (soft labels,) task] drawn on the device, one permutation an epoch.

    `parts` are (places in the material, batch size) of each dataset that a batch is made of; the first one decides how many
    batches there are, the others start over as often as need be. That is how Avalanche's replay loader composes its batches.
    """

    def __init__(self, material: Material, parts: Sequence[tuple[Tensor, int]], order: torch.Generator) -> None:
        self.material, self.parts, self.order = material, parts, order
        self.sizes = [batch_sizes(len(index), size) for index, size in parts]

    def __len__(self) -> int:
        return len(self.sizes[0])

    @property
    def lengths(self) -> list[int]:
        """How many images each batch of an epoch has."""
        others = [cycle(sizes) for sizes in self.sizes[1:]]
        return [first + sum(map(next, others)) for first in self.sizes[0]]

    def __iter__(self) -> Iterator[list[Tensor]]:
        return map(self._batch, self.indices())

    def indices(self) -> Iterator[Tensor]:
        """Yield which images the batches of an epoch are of, [B] int64 on the device."""
        drawn = [self._indices(part) for part in range(len(self.parts))]
        for first in drawn[0]:
            rest = []
            for part in range(1, len(self.parts)):
                index = next(drawn[part], None)
                if index is None:
                    drawn[part] = self._indices(part)
                    index = next(drawn[part])
                rest.append(index)
            yield torch.cat([first, *rest]) if rest else first

    def _indices(self, part: int) -> Iterator[Tensor]:
        index = self.parts[part][0]
        device = self.material.images.device
        shuffled = index[torch.randperm(len(index), generator=self.order)].to(device, non_blocking=True)
        return iter(torch.split(shuffled, self.sizes[part]))

    def _batch(self, index: Tensor) -> list[Tensor]:
        images, labels, soft = self.material.at(index)
        return [images, labels, *([] if soft is None else [soft]), torch.zeros_like(labels)]


class ResidentLoop:
    """Mixed into an Avalanche strategy: batches from `Batches`, any loss, optimizer, schedule, augmentation and precision.

    Avalanche's own training loop and every plugin's hooks stay as they are. A dataloader that a plugin puts in place is taken
    over when it is one of Avalanche's; any other is used as it is.
    """

    def prepare(
        self,
        material: Material,
        recipe: Recipe,
        loss: Callable[[Tensor, Targets], Tensor],
        teacher: Callable[[Tensor], Tensor] | None,
        classes: int,
        seed: int,
        sliced: bool,
    ) -> None:
        """Set what the loop works with; call it once, before training. `seed` is the trial's.

        Raises: DataError for a recipe that replays what the material does not have, and for one of stages, parts or a mean.
        """
        if material.replay is None and STORED in (recipe.augmentation, recipe.mixing):
            raise DataError(f'augmentation = "{STORED}" replays what comes with a distilled set, and this one has nothing stored')
        refuse_stages(not recipe.plain)
        self.material, self.recipe = material, recipe
        self.classes, self.seed, self.sliced = classes, seed, sliced
        self.groups: list[list[int]] = []
        self.steps = 0
        self.diverged = False
        #: Ends of the steps so far, where these are kept, and of those that are gone through again without training.
        self.ends: list[State] | None = None
        self.again: list[State] = []
        self.train_epochs = recipe.epochs
        self.train_mb_size = recipe.batch_size
        self._alteration = None if material.replay is not None else Alteration(recipe, material)
        teacher = None if material.replay is not None else teacher
        self._objective = Objective([loss], teacher, material.images.device, recipe.precision)

    # What Avalanche's templates keep, said here for type checkers: this class is mixed into them at run time.
    adapted_dataset: Indexed
    experience: Experience
    model: nn.Module
    mbatch: list[Tensor]
    mb_output: Tensor
    _mix: Mix | Paired | None = None
    #: Where captured steps are kept; how those of the stream were made; why some were not captured (`captured.Replaying`).
    graphs: Graphs | None = None
    lane: int | None = None
    #: What tells which images its student gets right.
    tests: Tests = staticmethod(hits)
    trained: str = "alone"
    uncaptured: Mapping[int, str] = MappingProxyType({})

    def train(self, *experiences: object, **options: object) -> object:
        """Train on experiences, as Avalanche does, in the recipe's precision."""
        with arithmetic(self.material.images.device, self.recipe.precision):
            return super().train(*experiences, **options)  # type: ignore[misc]

    def epochs(self, experience: object) -> Iterator[None]:
        """Train on an experience in one piece; strategies that are captured yield after each epoch."""
        self.train(experience, eval_streams=[])
        yield

    # -- before a step of the stream -----------------------------------------------------------------------------------------

    def _before_training_exp(self, **kwargs: object) -> None:
        device = self.material.images.device
        self.groups.append(sorted(self.experience.classes_in_this_experience))
        absent = self.material.replay is not None and self.material.replay.rule.rules_out
        self.seen = Seen([c for group in self.groups for c in group], self.classes, device, self.sliced, absent)
        self.derived = step_seed(self.seed, len(self.groups))
        seeds.begin(self.derived, "dropout")
        self._order = seeds.generator(self.derived, "order")
        self._draws = seeds.generator(self.derived, "augmentation", device)
        self._epoch = 0
        self._objective.total.zero_()
        for memory in self._objective.criterion.memories:
            memory.clear()
        super()._before_training_exp(**kwargs)  # type: ignore[misc]
        self._take_over()

    def _train_exp(self, *experience: object, **options: object) -> None:
        """Train on a step of the stream, or take its end from the one that was kept; hooks follow that see the same."""
        number = len(self.groups) - 1
        if number < len(self.again):
            self._glance()
            checkpoints.put_back(self, self.again[number])
        else:
            super()._train_exp(*experience, **options)  # type: ignore[misc]
        if self.ends is not None:
            self.ends.append(checkpoints.end_of(self))

    def _glance(self) -> None:
        """Let plugins learn of a step that is not trained on what they learn of its first batch: nothing, as a rule."""

    def make_train_dataloader(self, **_: object) -> None:
        self.dataloader: Any = self._batches([(self.adapted_dataset, self.train_mb_size)])

    def _batches(self, parts: Sequence[tuple[Indexed, int]]) -> Batches | StoredBatches:
        kind = Batches if self.material.replay is None else StoredBatches
        return kind(self.material, [(places(data), size) for data, size in parts], self._order)

    def _take_over(self) -> None:
        """Replace a loader that a plugin has made of Avalanche's datasets."""
        from avalanche.benchmarks.utils.data_loader import MultiDatasetDataLoader

        loader = self.dataloader
        if isinstance(loader, MultiDatasetDataLoader):
            parts = list(zip(loader.datasets, loader.batch_sizes, strict=True))
            parts.insert(0, parts.pop(max(loader.termination_dataset, 0)))
            self.dataloader = self._batches(parts)

    def check_model_and_optimizer(self, **_: object) -> None:
        self.model = self.model_adaptation()  # type: ignore[attr-defined]
        self.make_optimizer()

    def make_optimizer(self, **_: object) -> None:
        self.optimizer = optimizers.create(self.recipe.optimizer, self.model)
        self._schedule = optimizers.create_schedule(self.recipe.schedule, self.optimizer, self.recipe.epochs)

    # -- within a step of the stream -----------------------------------------------------------------------------------------

    def _unpack_minibatch(self) -> None:
        super()._unpack_minibatch()  # type: ignore[misc]
        if self._alteration is None:
            self._mix = Paired(self.mbatch[3], self.mbatch[4])
            return
        step = self._alteration.step(self.mbatch[0], self.mbatch[1], None, "logits", [self._draws])
        self.mbatch[0], self._mix = step.images, step.batches[0].mix

    def forward(self) -> Tensor:
        with self._objective.cast():
            logits: Tensor = super().forward()  # type: ignore[misc]
        return logits.float()

    def criterion(self) -> Tensor:
        images, labels = self.mbatch[0], self.mbatch[1]
        asked = self._objective.teacher is not None  # about the images as they are: stored soft labels are not looked at
        stored = self.material.soft is not None or self.material.replay is not None
        soft = self.mbatch[2] if stored and not asked else None
        batch = self.seen.batch(self._labelled(images, labels, soft))
        taught = self._objective.taught(images)
        taught = None if taught is None else self.seen.logits(taught)
        return self._objective([self.seen.logits(self.mb_output)], [batch], self._epoch / self.recipe.epochs, taught)

    def _labelled(self, images: Tensor, labels: Tensor, soft: Tensor | None) -> Batch:
        replay = self.material.replay
        if replay is None:
            return Batch(images, labels, soft, self.material.soft_kind, self._mix)
        rule = replay.rule
        return Batch(images, labels, soft, rule.kind, self._mix, final=True, temperature=rule.temperature)

    def _after_training_epoch(self, **kwargs: object) -> None:
        self._schedule.step()
        self._epoch += 1
        batches = len(self.dataloader)
        self.steps += batches
        if is_checked(self._epoch, self.recipe.epochs, batches):
            last = self._epoch == self.recipe.epochs
            sound = self._objective.total.isfinite()
            finite = bool(sound & finite_weights(self.model) if last else sound)
            self.diverged |= not finite
            if not finite and self._epoch < self.recipe.epochs:
                self.stop_training()  # type: ignore[attr-defined]
        super()._after_training_epoch(**kwargs)  # type: ignore[misc]


def step_seed(seed: int, step: int) -> int:
    """Return the seed of a step of the stream, 1 the first; order and augmentation are derived from it."""
    return seeds.derive(seed, f"step/{step}")


class OwnLoss(ResidentLoop):
    """The resident loop of a strategy that trains by a loss of its own: whether that is finite is seen to."""

    loss: Tensor

    def _before_backward(self, **kwargs: object) -> None:
        self._objective.total.add_(self.loss.detach())
        super()._before_backward(**kwargs)  # type: ignore[misc]


class Herded(OwnLoss):
    """The resident loop of iCaRL: its own criterion, and batches of the step's images and of the exemplars it has herded."""

    def _after_train_dataset_adaptation(self, **_: object) -> None:
        """Keep Avalanche's iCaRL from putting copies of its exemplars beside the step's images: batches are of the material."""

    def make_train_dataloader(self, **_: object) -> None:
        brought = places(self.experience.dataset)
        exemplars = [p for plugin in self.plugins for p in getattr(plugin, "x_memory", ())]  # type: ignore[attr-defined]
        labels = [y for plugin in self.plugins for y in getattr(plugin, "y_memory", ())]  # type: ignore[attr-defined]
        kept = [self._places(images, own[0]) for images, own in zip(exemplars, labels, strict=True) if own]
        self.dataloader = Batches(self.material, [(torch.cat([brought, *kept]), self.train_mb_size)], self._order)

    @torch.no_grad()
    def _glance(self) -> None:
        """Show the first batch: its plugin finds out the sizes of images and features by it."""
        self.mbatch = next(iter(self.dataloader))
        self._unpack_minibatch()
        self._before_forward()  # type: ignore[attr-defined]

    def _places(self, images: Tensor, label: int) -> Tensor:
        """Return where in the material exemplars of a class lie: those that are equal to an image of it."""
        own = (self.material.labels == label).nonzero()[:, 0]
        candidates = self.material.batch(own).flatten(1)
        match = [(candidates == image.to(candidates.device).flatten()).all(1).nonzero()[0, 0] for image in images]
        return own[torch.stack(match)].cpu()

    def criterion(self) -> Tensor:
        logits = self.mb_output
        self._objective.total.add_((0 * logits.detach()).sum())  # not finite where one of them is not
        own: Any = self._criterion  # type: ignore[attr-defined]
        if own.old_logits is not None:  # of a network that a step before may have left diverged; the loss wants shares
            own.old_logits = own.old_logits.nan_to_num()
        value: Tensor = own(logits.nan_to_num(), self.mbatch[1])
        return value


@dataclass(frozen=True)
class Room:
    """What a strategy is told of its stream, in images: of those that fit into memory, of the first step, and of a batch."""

    memory: int
    first: int
    batch: int


def create(spec: Spec, student: nn.Module, room: Room, device: str, shape: tuple[int, int, int]) -> ResidentLoop:
    """Return a strategy of Avalanche with the resident loop; call its `prepare` next.

    Args:
        spec: what `harness.continual.strategies.resolve` returns.
        student: on the device.
        shape: (channels, height, width) of the images in pixels.
    Raises: BoardError for a student that cannot be taken apart where the strategy wants that.
    """
    kind, strategy = strategies.load(spec.name), strategies.strategy(spec.name)
    options: dict[str, Any] = {strategy.memory: room.memory} if strategy.memory else {}
    options |= spec.options
    if strategy.replayed:
        usual = inspect.signature(kind).parameters[strategy.replayed].default or room.batch
        options.setdefault(strategy.replayed, min(usual, room.first, options[strategy.memory]))
    if spec.name not in strategies.USUAL:  # others may flatten gradients with view(), which channels-last order forbids
        student = student.to(memory_format=torch.contiguous_format)
    given = _network(strategy, student, shape)
    # The loop makes its own optimizer; this one only satisfies the constructor. Plugins that evaluate the criterion by
    # themselves (EWC's importances, AGEM's reference gradients, MIR) get cross-entropy with the hard labels.
    given["optimizer"] = torch.optim.SGD(student.parameters(), lr=0.1)
    if strategy.student != "parts":
        given["criterion"] = nn.CrossEntropyLoss()
    if not hasattr(kind, "train"):  # a plugin
        model = {"model": given["model"]} if "model" in inspect.signature(kind).parameters else {}
        kind, options = strategies.load("Naive"), {"plugins": [kind(**model, **options)]}
    elif spec.name == "CWRStar":
        options["cwr_layer_name"] = None  # the last one that is fully connected
    return _resident(kind, strategy)(**given, device=device, evaluator=None, **options)


def _network(strategy: strategies.Strategy, student: nn.Module, shape: tuple[int, int, int]) -> dict[str, Any]:
    """Return the student as a strategy's constructor takes it."""
    from avalanche.models import NCMClassifier, TrainEvalModel
    from avalanche.models.utils import FeatureExtractorModel

    if strategy.student == "whole":
        return {"model": student}
    parts = Parts(student, shape)
    features, classifier = parts.feature_extractor, parts.classifier
    if strategy.student == "features":
        return {"model": FeatureExtractorModel(features, classifier)}
    if strategy.student == "means":
        means = NCMClassifier()
        means.max_class = classifier.out_features - 1  # so that there is a column for classes not met yet
        return {"model": TrainEvalModel(features, classifier, means)}
    # The exemplars are taken from the material, where they are augmented with all others.
    return {"feature_extractor": features, "classifier": classifier, "buffer_transform": None, "fixed_memory": True}


@cache
def _resident(kind: type, strategy: strategies.Strategy) -> Callable[..., ResidentLoop]:
    loop = Herded if strategy.student == "parts" else OwnLoss if strategy.own_loss else ResidentLoop
    loops = (Replaying, loop) if strategy.plain else (loop,)
    resident: Callable[..., ResidentLoop] = type(f"Resident{kind.__name__}", (*loops, kind), {})
    return resident
