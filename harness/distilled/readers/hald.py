"""HALD: stored probabilities, an epoch a file, of whose batches all epochs of a training are made.

Its code cuts the concatenated images of an epoch's batches into batches anew, which are the stored ones where all are of one
size, as they are for 10,000 images in batches of 16. Here each stays what was stored, also where the last of an epoch is smaller.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from harness.core.errors import BadOption, DataError
from harness.distilled.readers.stored import MAX_BATCH_BYTES, Labelled, Ledger, Pool, Stored, augmented, check, content, numbered
from harness.distilled.reading import Reading
from harness.distilled.set import DistilledSet
from harness.files import paths
from harness.files.tensors import load_tensors
from harness.training.replay import Rule

#: The file that has the order of the images of each epoch; of 300 labels a class of ImageNet-1K it has 300,000 numbers.
ORDER, MAX_NUMBERS = "sampler_indices_dict.pt", 1_000_000
#: What the end of a folder's name says: images a batch, soft labels a class, images a class.
NAMED = re.compile(r"bs(\d{1,6})_slc(\d{1,6})_ipc(\d{1,6})$")
#: By how much probabilities in half precision may fail to sum to 1.
ROUNDING = 1e-2


def hald(
    reading: Reading, *, images: str, images_format: str = "sre2l", epochs: int = 0, temperature: float = 20.0
) -> DistilledSet:
    """HALD: stored probabilities, epoch_{e}.tar, replayed in permutations of all batches.

    Args:
        reading: its path is the folder of the labels.
        images: of what was labelled, a folder, a zip or tar of it, or hub:USER/NAME[/FILE]; a relative path is looked
            for from the labels' folder.
        images_format: the reader of these images.
        epochs: how many to take, from the first; 0 takes all.
        temperature: at which the probabilities were taken.
    Returns: the images with a `replay`; the native loss is kl, which at this temperature takes the probabilities as they are.
        What the folder's name says (`…_bs16_slc100_ipc10`) has to be so.
    Raises: DataError that names the file or folder.
    """
    if epochs < 0:
        raise BadOption(f"reader 'hald': epochs must be how many to take, or 0 for all, not {epochs}")
    if not 0 < temperature < float("inf"):
        raise BadOption(f"reader 'hald': temperature must be a finite number above 0, not {temperature}")
    labelled = Labelled.of(reading, images, images_format)
    root, ledger = labelled.root, Ledger(labelled.root)
    files = numbered(root, paths.files(root), r"epoch_(0|[1-9]\d*)\.tar", "epoch")
    if epochs > len(files):
        raise DataError(f"{root}: {len(files)} epochs, {epochs} are asked for")
    order = _order(root / ORDER, len(labelled.distilled))
    ledger.enter(root / ORDER)
    first = _batches(files[0], labelled)
    batch, steps = len(first[0]), len(first)
    named = _named(labelled, batch, len(files))
    files = files[: epochs or None]
    rule = Rule("permuted", steps, edges="truncated", kind="probabilities", temperature=temperature)
    pool = Pool(labelled, len(files) * steps, first[0], rule, sum(paths.size(file, MAX_BATCH_BYTES) for file in files))
    for epoch, file in enumerate(files):
        if epoch not in order:
            raise DataError(f"{root / ORDER}: it has no epoch {epoch}")
        batches = first if epoch == 0 else _batches(file, labelled)
        if [len(stored) for stored in batches] != [len(stored) for stored in first]:
            raise DataError(f"{file}: {len(batches)} batches, or of other sizes than those of {files[0].name}")
        for stored, index in zip(batches, torch.split(order[epoch], batch), strict=True):
            pool.add(file, stored, index)
        ledger.enter(file)
    reading.say(
        f"{root.name}: {len(files)} epochs of {steps} batches of {batch} images, probabilities at temperature {temperature:g}; "
        f"every epoch takes the next {steps} of a permutation of all; order of the images: {ORDER}; {named}"
    )
    facts: dict[str, object] = {"epochs": len(files), "temperature": temperature, **ledger.facts}
    return labelled.set("hald", pool.replay, facts | {"assumed": {"order": ORDER, "temperature": temperature, "name": named}})


def _named(labelled: Labelled, batch: int, epochs: int) -> str:
    """Return in words what the folder's name says. Raises DataError where that is not so."""
    root, ipc = labelled.root, labelled.distilled.ipc
    named = NAMED.search(root.name.lower())
    if named is None:
        return "its name does not end in the batch size, labels and images a class (bs16_slc100_ipc10)"
    said_batch, labels, said_ipc = (int(number) for number in named.groups())
    for what, said, given in (
        ("images a class", said_ipc, ipc),
        ("images a batch", min(said_batch, len(labelled.distilled)), batch),
    ):
        if said != given:
            raise DataError(f"{root}: its name says {said} {what}, there are {given:g}")
    if labels // max(1, said_ipc) != epochs:
        raise DataError(f"{root}: its name says {labels} labels a class, {labels // max(1, said_ipc)} epochs; there are {epochs}")
    return f"its name says {labels} labels a class"


def _order(file: Path, images: int) -> dict[int, Tensor]:
    """Return the order of the images of each epoch, [N] int64, as a file has it. Raises DataError that names it."""
    stored = load_tensors(file, limit=MAX_BATCH_BYTES, values=MAX_NUMBERS)
    if not isinstance(stored, dict) or not all(re.fullmatch(r"0|[1-9]\d{0,8}", str(key)) for key in stored):
        raise DataError(f"{file}: expected a dict from the numbers of epochs to permutations of the images")
    order = {}
    for key, numbers in stored.items():
        if isinstance(numbers, list) and all(type(number) is int for number in numbers):
            numbers = torch.tensor(numbers, dtype=torch.int64)
        if not isinstance(numbers, Tensor) or numbers.dtype != torch.int64 or numbers.shape != (images,):
            raise DataError(f"{file}: epoch {key}: expected a permutation of {images} images")
        if not torch.equal(numbers.sort().values, torch.arange(images)):
            raise DataError(f"{file}: epoch {key} does not name each of the {images} images once")
        order[int(key)] = numbers
    return order


def _batches(file: Path, labelled: Labelled) -> list[Stored]:
    """Return the batches that a file holds. Raises DataError that names it when a part is not what it should be."""
    batches = content(file)
    if not isinstance(batches, (list, tuple)) or not batches:
        raise DataError(f"{file}: expected a list of batches")
    stored = [_stored(file, number, parts, labelled) for number, parts in enumerate(batches)]
    sizes, count = [len(batch) for batch in stored], len(labelled.distilled)
    if sum(sizes) != count or any(size != sizes[0] for size in sizes[:-1]) or sizes[-1] > sizes[0]:
        raise DataError(f"{file}: batches of {_few(sizes)} images, which are not {count} in batches of {sizes[0]}")
    return stored


def _few(sizes: Sequence[int]) -> str:
    return ", ".join(map(str, sizes[:4])) + (", …" if len(sizes) > 4 else "")


def _stored(file: Path, number: int, parts: object, labelled: Labelled) -> Stored:
    """Return one batch of a file, checked."""
    if not isinstance(parts, (list, tuple)) or len(parts) != 6:
        raise DataError(f"{file}: batch {number}: expected a list of crops, flips, mix index, lam, box and probabilities")
    what = f"{file}: batch {number}"
    stored, values = augmented(what, parts[:5], labelled.size, halves=True), parts[5]
    check(what, "probabilities", values, (len(stored), labelled.distilled.classes), (torch.float16, torch.float32))
    sums = values.float().sum(1)
    if not bool(values.isfinite().all()) or float(values.min()) < 0 or bool(((sums - 1).abs() > ROUNDING).any()):
        raise DataError(f"{what}: probabilities must be 0 or more and sum to 1 for each image")
    return replace(stored, values=values.to(torch.float16))
