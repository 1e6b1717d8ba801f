"""LPLD (Xiao and He, NeurIPS 2024) and LPQLD: fewer batches of stored labels than a training takes, perhaps only the largest.

LPQLD's code lays them flat, `batch_B.tar` over all epochs, says in `sampler_indices_batch.json` ({B: [image, …]}) which images a
batch is of, and makes an epoch of N // B different batches. LPLD's has `epoch_E/batch_B.tar`, `sampler_indices_epoch.json`
({E: [image, …]}; where that is absent, a RandomSampler seeded 42 over the sorted files), and draws as many batches as a stored
epoch has, each by itself. Where images were altered by RandAugment first, its rounds lie in place 2.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast, get_args

import torch
from torch import Tensor

from harness.augmentation.rand_augment import OPERATIONS, TIMM
from harness.core.errors import BadOption, DataError, suggest
from harness.distilled.readers.stored import (
    MAX_BATCH_BYTES,
    SAMPLER_SEED,
    Labelled,
    Ledger,
    Pool,
    SamplerOrder,
    Stored,
    augmented,
    check,
    content,
    finite,
    numbered,
    within,
)
from harness.distilled.reading import Reading
from harness.distilled.set import DistilledSet
from harness.files import paths
from harness.training.replay import Fill, Rule, amiss

#: Files that name the images of each batch, and of each epoch.
BY_BATCH, BY_EPOCH = "sampler_indices_batch.json", "sampler_indices_epoch.json"
#: Bytes of such a file; one of 300 epochs of ImageNet-1K at IPC 50 has 105 MB.
MAX_JSON = 256 << 20
BATCH, EPOCH = r"batch_(0|[1-9]\d*)\.tar", r"epoch_(0|[1-9]\d*)"
FILLS = tuple(fill for fill in get_args(Fill) if fill)
#: A folder's name says how what is not stored is filled: FKD_cutmix_fp16_MR-100, ms50.
NAMED = re.compile(r"(?<![a-z])(mrs|mr|ms)(?:[-_]?\d+)?(?![a-z0-9])")
#: Of RandAugment: types of its numbers, the number below which a round was done, operations without an argument, and those whose
#: argument is a whole number.
HALVES, DONE = (torch.float16, torch.float32, torch.float64), 0.5
NONE = torch.tensor([TIMM.index(name) for name in ("autocontrast", "equalize", "invert")])
WHOLE = torch.tensor([TIMM.index(name) for name in ("posterize", "solarize", "solarize-add")])
#: Which images a batch is of, as the files count them: its number -> [B] int64.
Index = Callable[[int], Tensor]


def lpld(
    reading: Reading,
    *,
    images: str,
    images_format: str = "sre2l",
    batches: int = 0,
    fill: str = "",
    temperature: float = 20.0,
) -> DistilledSet:
    """LPLD: pruned soft labels, batch_{b}.tar or epoch_{e}/batch_{b}.tar, of which every epoch draws batches anew.

    Args:
        reading: its path is the folder of the labels.
        images: of what was labelled, a folder, a zip or tar of it, or hub:USER/NAME[/FILE]; a relative path is looked
            for from the labels' folder.
        images_format: the reader of these images.
        batches: how many to take, from the first; 0 takes all.
        fill: of labels of which only the largest are stored, what the other classes have: `mr` no share (softmax over what is
            stored), `ms` probability 0 (probabilities are stored), `mrs` the image's lowest logit; "" goes by the folder's name,
            else by what is stored.
        temperature: at which `ms` probabilities were taken.
    Returns: the images with a `replay`; the native loss is kl. What was assumed is said.
    Raises: DataError that names the file or folder.
    """
    return _read(reading, "lpld", "kl", images, images_format, batches, fill, temperature)


def lpqld(
    reading: Reading,
    *,
    images: str,
    images_format: str = "sre2l",
    batches: int = 0,
    fill: str = "",
    temperature: float = 20.0,
) -> DistilledSet:
    """LPQLD: pruned and quantised soft labels, batch_{b}.tar with the largest logits and their classes; as `lpld` otherwise.

    The native loss is `calibrated_kl`, whose temperatures move as its authors' do.
    """
    return _read(reading, "lpqld", "calibrated_kl", images, images_format, batches, fill, temperature)


def _read(
    reading: Reading,
    method: str,
    native_loss: str,
    images: str,
    images_format: str,
    batches: int,
    fill: str,
    temperature: float,
) -> DistilledSet:
    if fill and fill not in FILLS:
        raise BadOption(f"reader {method!r}: no fill {fill!r}; {suggest(fill, FILLS)}")
    if batches < 0:
        raise BadOption(f"reader {method!r}: batches must be how many to take, or 0 for all, not {batches}")
    if not 0 < temperature < float("inf"):
        raise BadOption(f"reader {method!r}: temperature must be a finite number above 0, not {temperature}")
    labelled = Labelled.of(reading, images, images_format)
    root, ledger = labelled.root, Ledger(labelled.root)
    flat = any(re.fullmatch(BATCH, file.name) for file in paths.files(root))
    listed = _flat(root) if flat else _by_epoch(root)
    files = [file for files in listed for file in files]
    if batches > len(files):
        raise DataError(f"{root}: {len(files)} batches, {batches} are asked for")
    files = files[: batches or None]
    first = _stored(files[0], labelled)
    fill, filled = _fill(root, first, fill, labelled.distilled.classes)
    first = _filled(files[0], first, fill)
    index, order = _named_by_batch(root, ledger) if flat else _named_by_epoch(root, listed, len(first), labelled, ledger)
    rule = Rule(
        order="sampled" if flat else "drawn",
        steps=max(1, len(labelled.distilled) // len(first)) if flat else len(listed[0]),
        kind="probabilities" if fill == "ms" else "logits",
        temperature=temperature if fill == "ms" else 1.0,
        fill=cast(Fill, fill),
        classes=labelled.distilled.classes if fill else 0,
        resample="bicubic" if first.rounds else "bilinear",
    )
    if len(files) < rule.steps:
        raise DataError(f"{root}: {len(files)} batches of {len(first)} images; an epoch of {method.upper()} takes {rule.steps}")
    pool = Pool(labelled, len(files), first, rule, sum(paths.size(file, MAX_BATCH_BYTES) for file in files))
    for number, file in enumerate(files):
        pool.add(file, _filled(file, _stored(file, labelled), fill), index(number))
        ledger.enter(file)
    reading.say(
        f"{root.name}: {len(files)} batches of {len(first)} images, of which every epoch draws {rule.steps}"
        + (" different ones" if flat else "; the last of a stored epoch gives way to the one before it")
        + f"; order of the images: {order}"
    )
    if filled:
        said = f", probabilities at temperature {temperature:g}" if fill == "ms" else ""
        reading.say(
            f"{root.name}: the {first.values.shape[1]} largest of {labelled.distilled.classes} soft labels are stored; fill = "
            f"{fill} ({filled}){said}"
        )
    if first.rounds:
        reading.say(
            f"{root.name}: {first.rounds} rounds of RandAugment, done where the stored draw is below {DONE}; pixels that move "
            "are taken bicubically"
        )
    assumed = {"order": order, **({"fill": f"{fill} ({filled})"} if filled else {})}
    facts: dict[str, object] = {"batches": len(files), **({"fill": fill} if fill else {}), **ledger.facts}
    if native_loss == "calibrated_kl" and fill == "ms":  # which its authors' code takes as they are, all along
        native_loss = f"calibrated_kl(temperature={temperature!r}, decay=1.0)"
    return labelled.set(method, pool.replay, facts | {"assumed": assumed}, native_loss)


# -- which files, and of which images --------------------------------------------------------------------------------------


def _flat(root: Path) -> list[list[Path]]:
    return [numbered(root, paths.files(root), BATCH, "batch")]


def _by_epoch(root: Path) -> list[list[Path]]:
    """Return the files of each epoch; the last may have been cut off where labels were pruned.

    Raises: DataError for another that has fewer than the first, and where there are none.
    """
    folders = paths.folders(root)
    if not any(re.fullmatch(EPOCH, folder.name) for folder in folders):
        raise DataError(f"{root}: neither batch_0.tar nor epoch_0 in it")
    listed = [numbered(folder, paths.files(root, folder), BATCH, "batch") for folder in numbered(root, folders, EPOCH, "epoch")]
    for number, files in enumerate(listed):
        if len(files) > len(listed[0]) or (len(files) < len(listed[0]) and number < len(listed) - 1):
            raise DataError(f"{root / f'epoch_{number}'}: {len(files)} batches, epoch_0 has {len(listed[0])}")
    return listed


def _named_by_batch(root: Path, ledger: Ledger) -> tuple[Index, str]:
    """Return which images a batch of the flat layout is of, and where that is said."""
    file = root / BY_BATCH
    named = _numbers(file)
    ledger.enter(file)

    def index(number: int) -> Tensor:
        if number not in named:
            raise DataError(f"{file}: it names no images for batch {number}")
        return torch.tensor(named[number], dtype=torch.int64)

    return index, BY_BATCH


def _named_by_epoch(
    root: Path, listed: Sequence[Sequence[Path]], batch: int, labelled: Labelled, ledger: Ledger
) -> tuple[Index, str]:
    """Return which images a batch of the layout by epoch is of, and where that is said, or what is assumed."""
    file, count, steps = root / BY_EPOCH, len(labelled.distilled), len(listed[0])
    if file.exists():
        named, words = _numbers(file), BY_EPOCH
        ledger.enter(file)
    else:
        sampler = SamplerOrder(count)
        named = {epoch: sampler.next().tolist() for epoch in range(len(listed))}
        words = f"RandomSampler seeded {SAMPLER_SEED} over the sorted files"

    def index(number: int) -> Tensor:
        epoch, step = divmod(number, steps)
        if epoch not in named:
            raise DataError(f"{file}: it names no images for epoch {epoch}")
        return torch.tensor(named[epoch][step * batch : (step + 1) * batch], dtype=torch.int64)

    return index, words


def _numbers(file: Path) -> dict[int, list[int]]:
    """Return what a file of image numbers says: {number: [image, …]}. Raises DataError that names it."""
    try:
        named = json.loads(paths.content(file, MAX_JSON))
    except FileNotFoundError:
        raise DataError(f"{file}: no such file; it says which images a batch is of") from None
    except (ValueError, RecursionError) as error:
        raise DataError(f"{file}: not JSON ({type(error).__name__})") from None
    if not isinstance(named, dict) or not all(re.fullmatch(r"0|[1-9]\d{0,8}", key) for key in named):
        raise DataError(f"{file}: expected an object from the numbers of batches to lists of images")
    for key, numbers in named.items():
        if not isinstance(numbers, list) or not all(type(number) is int and 0 <= number < 1 << 31 for number in numbers):
            raise DataError(f"{file}: {key}: expected a list of the numbers of images")
    return {int(key): numbers for key, numbers in named.items()}


# -- what a file holds -----------------------------------------------------------------------------------------------------


def _stored(file: Path, labelled: Labelled) -> Stored:
    """Return what a file holds. Raises DataError that names it when a part is not what it should be."""
    parts = content(file)
    rounds: Sequence[Any] = ()
    if isinstance(parts, (list, tuple)) and len(parts) > 2 and isinstance(parts[2], (list, tuple)):
        rounds, parts = parts[2], [*parts[:2], *parts[3:]]
    if not isinstance(parts, (list, tuple)) or len(parts) not in (6, 7, 8, 9):
        raise DataError(
            f"{file}: expected a list of crops, flips, mix index, lam, box, logits, and perhaps their classes and the lowest"
        )
    if isinstance(parts[1], Tensor) and parts[1].is_floating_point():
        raise DataError(f"{file}: its images were altered by Cutout (place 1), which is not replayed; labels without it can be")
    stored, values, rest = augmented(file, parts[:5], labelled.size, halves=True), parts[5], list(parts[6:])
    if rounds:
        operations, arguments = _rounds(file, rounds, len(stored))
        stored = replace(stored, operations=operations, arguments=arguments)
    classes, floats = labelled.distilled.classes, (torch.float16, torch.float32)
    if not rest:
        check(file, "logits", values, (len(stored), classes), floats)
        return replace(stored, values=finite(file, "logits", values.to(torch.float16)))
    width = values.shape[1] if isinstance(values, Tensor) and values.dim() == 2 else 0
    check(file, "logits", values, (len(stored), width), floats)
    if not 1 <= width <= classes:
        raise DataError(f"{file}: {width} soft labels of an image, of {classes} classes")
    check(file, "classes", rest[0], (len(stored), width), (torch.int16, torch.int32, torch.int64))
    within(file, "classes", rest[0], 0, classes - 1)
    ascending = rest[0].sort(1).values
    if bool((ascending[:, 1:] == ascending[:, :-1]).any()):
        raise DataError(f"{file}: classes name one twice for an image")
    return replace(
        stored,
        values=finite(file, "logits", values.to(torch.float16)),
        topk=rest[0].to(torch.int16),
        lowest=_lowest(file, len(stored), rest[1:]),
    )


def _lowest(file: Path, count: int, rest: Sequence[Any]) -> Tensor | None:
    """Return the lowest logit of each image where it is stored, [B] float16."""
    if not rest:
        return None
    if len(rest) > 1:
        raise DataError(f"{file}: {len(rest) - 1} parts after the lowest logits, which no known layout has")
    flat = rest[0][:, 0] if isinstance(rest[0], Tensor) and rest[0].dim() == 2 and rest[0].shape[1] == 1 else rest[0]
    check(file, "lowest logits", flat, (count,), (torch.float16, torch.float32))
    return finite(file, "lowest logits", flat.to(torch.float16))


def _rounds(file: Path, rounds: Sequence[Any], count: int) -> tuple[Tensor, Tensor]:
    """Return what RandAugment did to each image, [B, R] uint8 and float16, as `Replay` has it.

    Of each round are stored: which of timm's operations, a number below which it was done, and its final argument, -99 where it
    takes none. The codes cut some arguments to whole numbers.
    """
    operations, arguments = [], []
    for each in rounds:
        if not isinstance(each, (list, tuple)) or len(each) != 3:
            raise DataError(f"{file}: each round of RandAugment must be operations, draws and arguments of the images")
        operation, draw, argument = each
        check(file, "operations of RandAugment", operation, (count,), (torch.int64, torch.int32))
        check(file, "draws of RandAugment", draw, (count,), HALVES)
        check(file, "arguments of RandAugment", argument, (count,), (*HALVES, torch.int64))
        within(file, "operations of RandAugment", operation, 0, len(TIMM) - 1)
        done, argument = draw < DONE, argument.float()
        argument = torch.where(torch.isin(operation, WHOLE), argument.trunc(), argument)
        argument = torch.where(done & ~torch.isin(operation, NONE), argument, torch.zeros_like(argument))
        operations.append(torch.where(done, operation, torch.full_like(operation, OPERATIONS.index("identity"))).to(torch.uint8))
        arguments.append(argument.to(torch.float16))
    of_images = torch.stack(operations, 1), torch.stack(arguments, 1)
    if fault := amiss(*of_images):
        raise DataError(f"{file}: {fault}")
    return of_images


# -- what is not stored ----------------------------------------------------------------------------------------------------


def _fill(root: Path, first: Stored, asked: str, classes: int) -> tuple[str, str]:
    """Return how classes are filled whose labels are not stored, and why; nothing where all are stored."""
    if first.topk is None:
        if asked:
            raise DataError(f"{root}: fill = {asked!r} is for labels of which some are left out; all {classes} are stored")
        return "", ""
    if asked:
        return asked, "as asked for"
    named = NAMED.search(root.name.lower())
    if named is not None:
        return named[1], "by the folder's name"
    if first.lowest is not None:
        return "mrs", "for the lowest logits are stored"
    if _are_probabilities(first.values):
        return "ms", "assumed, for they are numbers in [0, 1]; another by fill = …"
    return "mr", "assumed, as the authors recommend; another by fill = …"


def _are_probabilities(values: Tensor) -> bool:
    return float(values.min()) >= 0 and float(values.float().sum(1).max()) <= 1 + 1e-2


def _filled(file: Path, stored: Stored, fill: str) -> Stored:
    """Return a batch with what its rule speaks of: the lowest logits under `mrs`, else none.

    Raises: DataError for a batch that does not go with the rule.
    """
    if (stored.topk is None) != (not fill):
        raise DataError(f"{file}: all classes' labels are stored in some of the files, in others the largest alone")
    if fill == "ms" and not _are_probabilities(stored.values):
        raise DataError(f"{file}: fill = ms is for probabilities, which these are not: they do not lie in [0, 1], or sum to more")
    if fill != "mrs":
        return replace(stored, lowest=None)
    return stored if stored.lowest is not None else replace(stored, lowest=stored.values.amin(1))
