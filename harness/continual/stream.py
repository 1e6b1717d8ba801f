"""A distilled set as a class-incremental stream: which classes come when, and the Avalanche benchmark of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from types import SimpleNamespace
from typing import TYPE_CHECKING, Protocol, cast

import numpy

from harness.core.errors import BoardError, DataError

if TYPE_CHECKING:
    import torch

    from harness.training.values import Material


def class_order(order: str | Sequence[int], seed: int, classes: int) -> list[int]:
    """Return the order in which classes arrive: a permutation of 0..classes-1.

    Args:
        order: "seed" for `numpy.random.RandomState(seed).permutation(classes)`, the field's usual way; "sorted"; or the order
            itself.
        seed: the trial's.
    Raises: BoardError when `order` is none of these.
    """
    if order == "seed":
        drawn: list[int] = numpy.random.RandomState(seed).permutation(classes).tolist()
        return drawn
    if order == "sorted":
        return list(range(classes))
    if isinstance(order, str):
        raise BoardError(f'a class order is "seed", "sorted" or a permutation of the classes 0 to {classes - 1}, not {order!r}')
    if not isinstance(order, (list, tuple)):
        raise BoardError(f"a class order must be a word or a list, not {order!r}")
    wrong = [c for c in order if not isinstance(c, int) or isinstance(c, bool) or not 0 <= c < classes]
    missing = sorted(set(range(classes)) - {c for c in order if isinstance(c, int)})
    if wrong or missing or len(order) != classes:
        found_text = f"{wrong[0]!r} is no class" if wrong else f"{missing[0]} is missing" if missing else "a class comes twice"
        raise BoardError(f"a class order must hold each of the classes 0 to {classes - 1} once: {found_text}")
    return list(order)


def class_counts(classes: int, steps: int) -> list[int]:
    """Return how many classes each step brings; where steps do not divide classes, the first steps bring one more.

    Raises: BoardError unless 1 <= steps <= classes.
    """
    if not 1 <= steps <= classes:
        raise BoardError(f"steps must lie between 1 and the number of classes, {classes}; not {steps}")
    each, rest = divmod(classes, steps)
    return [each + (k < rest) for k in range(steps)]


def step_images(images: Sequence[int], order: Sequence[int], counts: Sequence[int]) -> list[int]:
    """Return how many images each step brings.

    Args:
        images: of each class.
        order, counts: which classes arrive when, as `class_order` and `class_counts` have it.
    Raises: DataError when a class has no image.
    """
    if 0 in images:
        refuse_missing([c for c, count in enumerate(images) if not count])
    ends = [sum(counts[:step]) for step in range(len(counts) + 1)]
    return [sum(images[c] for c in order[start:end]) for start, end in pairwise(ends)]


def refuse_missing(classes: Sequence[int]) -> None:
    """Raise DataError when there are classes without an image."""
    if classes:
        raise DataError(f"the distilled set has no image of class {classes[0]}; a class-incremental stream needs all of them")


def describe(counts: Sequence[int]) -> str:
    """Return a stream in words: `5 steps of 2 classes`, `3 steps of 4, 3 and 3 classes`."""
    steps = f"{len(counts)} step{'s' if len(counts) > 1 else ''}"
    if len(set(counts)) == 1:
        return f"{steps} of {counts[0]} class{'es' if counts[0] > 1 else ''}"
    most = sum(count == counts[0] for count in counts)
    if len(counts) > 4:
        return f"{steps}, {most} of {counts[0]} and {len(counts) - most} of {counts[-1]} classes"
    return f"{steps} of {', '.join(map(str, counts[:-1]))} and {counts[-1]} classes"


class Indexed(Protocol):
    """An Avalanche dataset of a distilled set's images: where each lies in the material."""

    index: Iterable[int]


class Experience(Protocol):
    """A step of Avalanche's stream."""

    dataset: Indexed
    classes_in_this_experience: Sequence[int]


class Benchmark(Protocol):
    """Avalanche's benchmark: the steps of its stream."""

    train_stream: Iterable[Experience]


def benchmark(material: Material, order: Sequence[int], counts: Sequence[int]) -> Benchmark:
    """Return Avalanche's class-incremental benchmark of a distilled set; its samples are [x, y, task], x normalised.

    Every sample carries its place in the material as the attribute `index`, which subsets, buffers and concatenations keep: that
    is how the hot loop finds it on the device again. Images are not copied.

    Raises: DataError when a class has no image.
    """
    from avalanche.benchmarks.scenarios.supervised import class_incremental_benchmark
    from avalanche.benchmarks.utils import AvalancheDataset, DataAttribute

    from harness.continual.samples import Samples

    labels = material.labels.tolist()
    refuse_missing(sorted(set(order) - set(labels)))
    attributes = [
        DataAttribute(labels, "targets"),
        DataAttribute(list(range(len(labels))), "index"),
        DataAttribute([0] * len(labels), "targets_task_labels", use_in_getitem=True),
    ]
    data = AvalancheDataset([Samples(material)], data_attributes=attributes)
    scenario = class_incremental_benchmark({"train": data}, class_order=list(order), num_classes_per_exp=list(counts))
    told = SimpleNamespace(classes_order=list(order), n_classes_per_exp=list(counts))
    for experience in scenario.train_stream:  # what strategies ask of it, and Avalanche 0.6 leaves out
        experience.dataset.task_set = {0: experience.dataset}  # LwF
        experience.benchmark = told  # iCaRL
    return cast(Benchmark, scenario)


def refuse_stages(staged: bool) -> None:
    """Raise DataError when a stream's steps would have to be trained in stages, in parts, or with a mean of their weights."""
    if staged:
        raise DataError(
            "a class-incremental stream trains each of its steps by Avalanche's loop, which knows no stages of labels, no "
            "accumulation and no mean of the weights; give the protocol stages = [], accumulation = 1, ema = 0"
        )


def places(data: Indexed) -> torch.Tensor:
    """Return where in the material the samples of an Avalanche dataset lie, ascending, [N] int64."""
    import torch

    return torch.tensor(sorted(int(i) for i in data.index), dtype=torch.int64)
