"""Stored soft labels that belong to one augmentation each: what was done to every image, and what the teacher then said.

FKD stores epoch after epoch; LPLD and LPQLD store fewer batches, from which every epoch of a training draws, and perhaps the
largest logits alone; HALD stores probabilities. A `Rule` says how what is stored becomes the steps of a training.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from harness.augmentation.rand_augment import OPERATIONS, RandAugment, Rounds, Statistics
from harness.augmentation.words import rand_augment
from harness.core import seeds
from harness.core.errors import DataError
from harness.losses.targets import Kind

Order = Literal["stored", "sampled", "drawn", "permuted"]
Edges = Literal["rounded", "truncated"]
Fill = Literal["", "mr", "ms", "mrs"]
Resample = Literal["bilinear", "bicubic"]
#: The seed of the first permutation of all batches; each that follows has the next one (HALD).
PERMUTED_SEED = 42
#: What arguments of RandAugment's operations may be: degrees, bits, a threshold, what is added, a factor, a share of the side.
ARGUMENTS = {
    "rotate": (-180.0, 180.0),
    "posterize": (0.0, 8.0),
    "solarize": (0.0, 256.0),
    "solarize-add": (0.0, 255.0),
    **dict.fromkeys(("color", "contrast", "brightness", "sharpness"), (0.0, 10.0)),
    **dict.fromkeys(("shear-x", "shear-y", "translate-x", "translate-y"), (-1.0, 1.0)),
}
#: What is stored of places only where a rule or an augmentation speaks of it.
OPTIONAL = ("topk", "lowest", "operations", "arguments")


@dataclass(frozen=True)
class Rule:
    """How stored labels become the steps of a training; by default as FKD's do.

    Attributes:
        order: which batches an epoch takes. `stored`: those of one stored epoch, then of the next. Of all that are stored,
            `steps` an epoch: different ones drawn by the trial's seed (`sampled`, LPQLD); each drawn by itself, where the last
            of a stored epoch gives way to the one before it (`drawn`, LPLD); the next ones of a permutation, drawn anew with
            the next seed once it has been gone through (`permuted`, HALD).
        steps: batches an epoch, unless `stored`.
        edges: the four edges of a crop are `rounded` to pixels, as Pillow does it, or top, left, height and width `truncated`.
        kind, temperature: what the numbers are: the teacher's logits, or probabilities, softmax(logits / temperature).
        fill: what those classes have whose numbers are not stored: `mr` none of the teacher's confidence at any temperature,
            `ms` probability 0, `mrs` the lowest logit of the image; "" where all are stored.
        classes: how many there are in all, where not all are stored; else 0.
        resample: how pixels are taken that a stored RandAugment moves.
    """

    order: Order = "stored"
    steps: int = 0
    edges: Edges = "rounded"
    kind: Kind = "logits"
    temperature: float = 1.0
    fill: Fill = ""
    classes: int = 0
    resample: Resample = "bilinear"

    def __post_init__(self) -> None:
        words = ((self.order, Order), (self.edges, Edges), (self.kind, Kind), (self.fill, Fill), (self.resample, Resample))
        good = all(isinstance(word, str) and word in get_args(allowed) for word, allowed in words)
        number = isinstance(self.temperature, (int, float)) and 0 < self.temperature < float("inf")
        counts = type(self.steps) is int and type(self.classes) is int
        counts = counts and (self.steps < 1) == (self.order == "stored") and (self.classes < 1) == (not self.fill)
        if not good or not number or not counts:
            raise DataError(f"no rule for stored labels: {str(asdict(self))[:200]}")

    @property
    def facts(self) -> dict[str, object]:
        """What is not as FKD has it, as JSON."""
        usual = asdict(Rule())
        return {name: value for name, value in asdict(self).items() if value != usual[name]}

    @property
    def rules_out(self) -> bool:
        """Whether labels leave classes without any share, so that they have no logits."""
        return self.fill in ("mr", "ms")


@dataclass(frozen=True)
class Passage:
    """P places of the S batches that an epoch is made of, one after the other: tensors of a `Replay`, [P, …], `lam` and `boxes`
    [S, …], and how many places each batch has."""

    index: Tensor
    crops: Tensor
    flips: Tensor
    partners: Tensor
    lam: Tensor
    boxes: Tensor
    logits: Tensor
    topk: Tensor | None
    lowest: Tensor | None
    operations: Tensor | None
    arguments: Tensor | None
    sizes: Sequence[int]

    def to(self, device: torch.device) -> Passage:
        """Return the same with its tensors on a device."""
        parts = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "sizes"}
        moved = {name: part.to(device, non_blocking=True) for name, part in parts.items() if part is not None}
        return replace(self, **moved)


def soft_labels(values: Tensor, topk: Tensor | None, lowest: Tensor | None, rule: Rule) -> Tensor:
    """Return what is stored of B images over all classes, [B, C] float32, in the kind that the rule says.

    Args:
        values, topk, lowest: [B, K], [B, K] and [B]: parts of `Replay`'s `logits`, `topk` and `lowest`.
    """
    values = values.float()
    if topk is None:
        return values
    if lowest is not None:
        full = lowest.float()[:, None].repeat(1, rule.classes)
    else:
        full = values.new_full((len(values), rule.classes), -torch.inf if rule.kind == "logits" else 0.0)
    return full.scatter_(1, topk.long(), values)


def amiss(operations: Tensor, arguments: Tensor) -> str:
    """Return what is wrong with rounds of RandAugment, [..., R]: an operation that there is not, or an argument out of its range.

    Returns: words; "" where nothing is.
    """
    if int(operations.max()) >= len(OPERATIONS):
        return f"operations of RandAugment must lie in 0..{len(OPERATIONS) - 1}"
    if not bool(arguments.isfinite().all()):
        return "arguments of RandAugment must be finite"
    for place, name in enumerate(OPERATIONS):
        low, high = ARGUMENTS.get(name, (0.0, 0.0))
        given = arguments[operations == place]
        if given.numel() and (float(given.min()) < low or float(given.max()) > high):
            return f"argument of {name!r} in RandAugment must lie in {low:g}..{high:g}"
    return ""


def rand_augmented(
    images: Tensor, operations: Tensor, arguments: Tensor, statistics: Statistics | None, resample: Resample
) -> Tensor:
    """Return normalised images, [B, C, H, W], after stored rounds of RandAugment, [B, R].

    Args:
        statistics: mean and std that they were normalised by. Where nothing comes from when pixels move, the mean stands.
    Raises: DataError where there are none.
    """
    operation = RandAugment(rand_augment("rand-m10"), statistics, resample == "bicubic")
    return operation.apply(images, Rounds(operations.long(), arguments.float()))


@dataclass(frozen=True)
class Replay:
    """E epochs of N images in batches of at most `batch`: S = ceil(N / batch) steps an epoch, the last one perhaps smaller.

    Where epochs draw from all batches (`rule.order`), a row is a batch: E batches of N = `batch` places, S = 1.

    Attributes:
        index: [E, N] int64, which image of the set stands at each place of an epoch; of epochs every image once.
        crops: [E, N, 4] float32, top, left, height and width of the crop as shares of the image's height and width.
        flips: [E, N] bool, whether the crop is then mirrored left and right.
        partners: [E, N] int64, with which place of its own batch each is mixed; its own place when nothing is mixed.
        lam: [E, S] float32 in [0, 1], the share that an image keeps of itself; 1 when nothing is mixed.
        boxes: [E, S, 4] int64, top, left, bottom and right in pixels of the part that CutMix takes from the partner; -1 where
            the step mixes the whole image (mixup) or nothing.
        logits: [E, N, K] float16, what the teacher said of the image that results, as `rule` says: by default logits, K = C.
        batch: images a step.
        topk: [E, N, K] int16, the classes that `logits` are of; None where they are of all.
        lowest: [E, N] float16, the lowest logit of each image, where classes are left out and it is stored; else None.
        operations, arguments: [E, N, R] uint8 and float16, what RandAugment did to each image before it was cropped, round by
            round, as `harness.augmentation.rand_augment.Rounds` has it; None where it did nothing.
        counts: [E] int64, how many places of each batch are filled, the first ones, where rows are batches; else None.
        rule: how this becomes the steps of a training.
    """

    index: Tensor
    crops: Tensor
    flips: Tensor
    partners: Tensor
    lam: Tensor
    boxes: Tensor
    logits: Tensor
    batch: int
    topk: Tensor | None = None
    lowest: Tensor | None = None
    operations: Tensor | None = None
    arguments: Tensor | None = None
    counts: Tensor | None = None
    rule: Rule = field(default_factory=Rule)

    @property
    def epochs(self) -> int:
        """How many rows there are: epochs, or batches that epochs are drawn from."""
        return len(self.index)

    @property
    def sizes(self) -> list[int]:
        """The images of each step of an epoch, at most."""
        if self.counts is not None:
            return [self.batch] * self.rule.steps
        steps = self.lam.shape[1]
        return [self.batch] * (steps - 1) + [self.index.shape[1] - self.batch * (steps - 1)]

    def said(self) -> str:
        """Return in words what is stored."""
        return self._said() + ("" if self.operations is None else f", RandAugment of {self.operations.shape[2]} rounds")

    def _said(self) -> str:
        what = "logits" if self.rule.kind == "logits" else f"probabilities at temperature {self.rule.temperature:g}"
        what = what if self.topk is None else f"the {self.topk.shape[2]} largest {what}, filled by {self.rule.fill},"
        if self.counts is None:
            return f"{what} of {self.epochs} epochs of stored augmentations, {self.batch} images a batch"
        return (
            f"{what} of {self.epochs} stored batches of {self.batch} images with their augmentations, "
            f"{self.rule.steps} an epoch, {self.rule.order}"
        )

    def likeliest(self, row: int) -> tuple[Tensor, Tensor]:
        """Return which images stand at the places of a row, and the class that the teacher finds likeliest of each, [P] int64."""
        count = self.index.shape[1] if self.counts is None else int(self.counts[row])
        place = self.logits[row, :count].float().argmax(1)
        classes = place if self.topk is None else self.topk[row, :count].long().gather(1, place[:, None])[:, 0]
        return self.index[row, :count], classes

    def renumbered(self, numbering: Tensor) -> Replay:
        """Return what is stored with class i called `numbering[i]`, [C] int64."""
        if self.topk is not None:
            return replace(self, topk=numbering[self.topk.long()].to(torch.int16))
        return replace(self, logits=self.logits[..., numbering.argsort()].contiguous())

    def rows(self, number: int, seed: int) -> Tensor:
        """Return the batches that an epoch takes (1 the first) of those that are stored, [steps] int64, in their order.

        Args:
            seed: the trial's. No other epoch has to be asked for first.
        """
        steps, order = self.rule.steps, self.rule.order
        if order == "permuted":
            turn, start = divmod((number - 1) * steps, self.epochs)
            permutation = torch.randperm(self.epochs, generator=torch.Generator().manual_seed(PERMUTED_SEED + turn))
            return permutation[start : start + steps]
        generator = seeds.generator(seed, f"order/{number}")
        if order == "sampled":
            return torch.randperm(self.epochs, generator=generator)[:steps]
        rows = torch.randint(self.epochs, (steps,), generator=generator)
        return rows if steps == 1 else rows - ((rows + 1) % steps == 0).long()

    def passage(self, number: int, seed: int) -> Passage:
        """Return what the steps of an epoch are made of (1 the first), on the host; `seed` is the trial's."""
        named, absent = self._named(), dict.fromkeys(OPTIONAL)
        if self.counts is None:
            row = (number - 1) % self.epochs
            return Passage(**(absent | {name: tensor[row] for name, tensor in named}), sizes=self.sizes)  # type: ignore[arg-type]
        rows = self.rows(number, seed)
        counts = self.counts[rows]
        filled = (torch.arange(self.batch) < counts[:, None]).flatten()
        parts = {
            name: tensor[rows][:, 0] if name in ("lam", "boxes") else tensor[rows].flatten(0, 1)[filled]
            for name, tensor in named
            if name != "counts"
        }
        return Passage(**(absent | parts), sizes=counts.tolist())  # type: ignore[arg-type]

    def _named(self) -> list[tuple[str, Tensor]]:
        named = [(f.name, getattr(self, f.name)) for f in fields(self) if f.name not in ("batch", "rule")]
        return [(name, tensor) for name, tensor in named if tensor is not None]

    def tensors(self) -> dict[str, Tensor]:
        """Return the tensors by name, as a set's file keeps them: `replay.index` and so on."""
        return {f"replay.{name}": tensor for name, tensor in self._named()}

    @property
    def facts(self) -> dict[str, object]:
        """What a set says of its stored augmentations beside their tensors, as JSON."""
        rule = self.rule.facts
        return {"replay_batch": self.batch, **({"replay_rule": rule} if rule else {})}

    @classmethod
    def of(cls, tensors: Mapping[str, Tensor], batch: int, rule: Mapping[str, Any]) -> Replay | None:
        """Return what `tensors()` and `facts` say, None when there is nothing. Raises DataError when a part is missing."""
        names = [f.name for f in fields(cls) if f.name not in ("batch", "rule")]
        parts = {name: tensors[f"replay.{name}"] for name in names if f"replay.{name}" in tensors}
        if not parts:
            return None
        if missing := [name for name in names if name not in parts and name not in (*OPTIONAL, "counts")]:
            raise DataError(f"the stored augmentations lack {', '.join(missing)}")
        return cls(**parts, batch=batch, rule=Rule(**rule))

    def check(self, images: int, classes: int) -> None:
        """Raise DataError unless this fits a set of so many images and classes."""
        if not isinstance(self.batch, int) or isinstance(self.batch, bool) or self.batch < 1:
            raise DataError(f"the stored augmentations' batch must be a whole number of at least 1, not {self.batch!r}")
        self._check_shapes(images, classes)
        sizes = self._check_places(images)
        if bool((self.partners < 0).any()) or bool((self.partners >= sizes).any()):
            raise DataError("the stored augmentations' partners must lie within their batch")
        for name, low, high in (("crops", 0.0, 1.0), ("lam", 0.0, 1.0)):
            values: Tensor = getattr(self, name)
            if not bool(values.isfinite().all()) or float(values.min()) < low or float(values.max()) > high:
                raise DataError(f"the stored augmentations' {name} must lie in [{low:g}, {high:g}]")
        for name in ("logits", "lowest"):
            stored: Tensor | None = getattr(self, name)
            if stored is not None and any(not bool(row.isfinite().all()) for row in stored):
                raise DataError(f"the stored augmentations' {name} must be finite")
        if self.rule.kind == "probabilities" and any(float(row.min()) < 0 or float(row.max()) > 1 for row in self.logits):
            raise DataError("the stored augmentations' probabilities must lie in [0, 1]")
        if self.topk is not None:
            self._check_topk(classes)
        if self.operations is not None and self.arguments is not None and (fault := amiss(self.operations, self.arguments)):
            raise DataError(f"the stored augmentations' {fault}")

    def _check_shapes(self, images: int, classes: int) -> None:
        """Raise DataError unless tensors have the shapes that the rule, batch and the set's counts give them."""
        epochs, pool = self.index.shape[0] if self.index.dim() else 0, self.rule.order != "stored"
        places, steps = (self.batch, 1) if pool else (images, -(-images // self.batch))
        width = self.topk.shape[-1] if self.topk is not None and self.topk.dim() == 3 else classes
        rounds = self.operations.shape[-1] if self.operations is not None and self.operations.dim() == 3 else 0
        wanted: dict[str, tuple[tuple[int, ...], torch.dtype]] = {
            "index": ((epochs, places), torch.int64),
            "crops": ((epochs, places, 4), torch.float32),
            "flips": ((epochs, places), torch.bool),
            "partners": ((epochs, places), torch.int64),
            "lam": ((epochs, steps), torch.float32),
            "boxes": ((epochs, steps, 4), torch.int64),
            "logits": ((epochs, places, width), torch.float16),
            "topk": ((epochs, places, width), torch.int16),
            "lowest": ((epochs, places), torch.float16),
            "operations": ((epochs, places, rounds), torch.uint8),
            "arguments": ((epochs, places, rounds), torch.float16),
            "counts": ((epochs,), torch.int64),
        }
        for name, given in self._named():
            shape, dtype = wanted[name]
            if tuple(given.shape) != shape or given.dtype != dtype or not epochs or not given.numel():
                raise DataError(
                    f"the stored augmentations' {name} must be {dtype} {list(shape)}, not {given.dtype} {list(given.shape)}"
                )
        if (self.counts is not None) != pool or (self.topk is not None) != bool(self.rule.fill):
            raise DataError("the stored augmentations lack, or have too much of, what their rule speaks of")
        if (self.operations is None) != (self.arguments is None):
            raise DataError("the stored augmentations lack operations, or their arguments")
        if self.rule.classes not in (0, classes):
            raise DataError(f"the stored augmentations are of {self.rule.classes} classes, the set of {classes}")
        if (self.lowest is not None) != (self.rule.fill == "mrs") or (self.rule.fill == "ms") > (self.rule.kind != "logits"):
            raise DataError("the stored augmentations' rule does not go with what is stored")
        many = self.rule.steps > epochs or (self.rule.order == "permuted" and epochs % max(1, self.rule.steps) != 0)
        if pool and many:
            raise DataError(f"{epochs} stored batches, which epochs of {self.rule.steps} steps cannot be made of")

    def _check_places(self, images: int) -> Tensor:
        """Return how many places the batch of each place has; raise DataError for an index that is none of the set's images."""
        if self.counts is None:
            places, steps = torch.arange(images), self.lam.shape[1]
            if not bool((self.index.sort(1).values == places).all()):
                raise DataError("the stored augmentations' index must name every image once an epoch")
            return torch.where(places // self.batch == steps - 1, images - (steps - 1) * self.batch, self.batch)
        if int(self.counts.min()) < 1 or int(self.counts.max()) > self.batch:
            raise DataError(f"the stored augmentations' counts must lie in 1..{self.batch}")
        if int(self.index.min()) < 0 or int(self.index.max()) >= images:
            raise DataError(f"the stored augmentations' index must lie in 0..{images - 1}")
        return self.counts[:, None].expand(-1, self.batch)

    def _check_topk(self, classes: int) -> None:
        """Raise DataError unless each image's classes are classes, and each another one."""
        assert self.topk is not None
        if int(self.topk.min()) < 0 or int(self.topk.max()) >= classes:
            raise DataError(f"the stored augmentations' classes must lie in 0..{classes - 1}")
        for row in self.topk:
            ascending = row.sort(1).values
            if bool((ascending[:, 1:] == ascending[:, :-1]).any()):
                raise DataError("the stored augmentations name a class twice for one image")
