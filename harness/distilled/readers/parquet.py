"""Parquet files of images and class numbers, as Hugging Face's datasets lie on disk: rethinkdc's 37 sets, and others."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from harness.core.errors import DataError
from harness.datasets.class_order import number, places
from harness.distilled import exporting
from harness.distilled.readers import encoded, tensors
from harness.distilled.reading import Reading
from harness.distilled.set import DistilledSet
from harness.files import paths
from harness.files.parquet import MAX_BYTES, MAX_ROWS, check_group, encoded_images, image_column, label_column, opening
from harness.files.pixels import Item

#: A file's split and its place among others: train-00000-of-00002-0123456789abcdef.parquet.
SHARD = re.compile(r"([A-Za-z_]\w*?)(?:[-_.]?(\d{1,6})-of-(\d{1,6}))?(?:-[0-9a-f]{8,64})?", re.IGNORECASE)
SPLITS = ("train", "test", "val", "valid", "validation")
#: Bytes of the description that Hugging Face's library leaves in a file.
MAX_DESCRIPTION = 1 << 24


@dataclass
class Rows:
    """The rows of parquet files: where each image lies, its class, and the bytes that the classes take on disk."""

    items: list[Item] = field(default_factory=list)
    labels: list[object] = field(default_factory=list)
    label_bytes: int = 0
    column: str = ""
    names: tuple[str, ...] = ()


def parquet(
    reading: Reading,
    *,
    column: str = "",
    split: str = "",
    method: str = "parquet",
    native_loss: str = "",
    factor: int = 1,
    uneven: bool = False,
) -> DistilledSet:
    """Parquet files, data/train-00000-of-00001-HASH.parquet, with a column of images {bytes, path} and one of class numbers.

    Args:
        reading: its path is a file, a folder of them or one above; a lower IPC is the first rows of each class. Images of another
            size are resized, which is said.
        column: of the classes, where several may be; of numbers, or of the dataset's own names of its classes. Where none is
            stated, what `giftbench export` wrote is read as the set that it was: floats, soft labels and all.
        split: which is read where there are several; "" takes train, or the only one.
        method: how tables call it.
        native_loss: the loss its authors train with.
        factor: tiles along one side of a mosaic.
        uneven: whether classes may have different numbers of images.
    Returns: uint8 images and hard labels; the numbers are the dataset's own of its classes, unless the file names them.
    Raises: DataError that names the file.
    """
    files = _files(reading, split)
    place = files[0] if len(files) == 1 else files[0].parent
    if not column and exporting.is_exported(files[0]):
        return _exported(files, place, reading)
    rows = _rows(files, column)
    hard, order = _classes(rows, place, reading)
    chosen, ipc = tensors.first_of_each(hard, place, reading, uneven, "; parquet(uneven=true) takes them as they are")
    places_of = range(len(hard)) if chosen is None else chosen.tolist()
    items = [rows.items[index] for index in places_of]
    decoded, resized = encoded.pixels(items, reading, place)
    reading.say(f"{place.name}: {len(items)} images, class by column {rows.column}: {order}")
    size = _image_bytes(items)
    try:
        return DistilledSet(
            decoded.images,
            hard if chosen is None else hard[chosen],
            dataset=reading.card.name,
            method=method,
            classes=reading.card.classes,
            factor=factor,
            native_loss=native_loss,
            provenance={
                "format": "parquet",
                "files": {file.name: tensors.sha256(file) for file in files},
                "column": rows.column,
                "bytes": {"images": size, **({"labels": rows.label_bytes} if chosen is None else {})},
                "ipc": ipc,
                "assumed": {"classes": order, "pixels": "[0, 1]", **({"size": resized} if resized else {})},
            },
            known_dataset=False,
        )
    except DataError as error:
        raise DataError(f"{place}: {error}") from None


def _exported(files: Sequence[Path], place: Path, reading: Reading) -> DistilledSet:
    """Return the set that `giftbench export` wrote, as it was; at a lower IPC the first images of each class."""
    distilled = exporting.read_files(files, place)
    if distilled.classes != reading.card.classes:
        raise DataError(f"{place}: a set of {distilled.classes} classes, {reading.card.name} has {reading.card.classes}")
    if distilled.dataset != reading.card.name:
        raise DataError(f"{place}: a set of {distilled.dataset}, not of {reading.card.name}")
    reading.say(f"{place.name}: {distilled!r}, as it was exported; parameters of this reader are left aside")
    chosen, _ = tensors.first_of_each(distilled.labels, place, reading, uneven=True)
    if chosen is None:
        return distilled
    soft = None if distilled.soft_labels is None else distilled.soft_labels[chosen]
    return distilled.changed(images=distilled.images[chosen], labels=distilled.labels[chosen], soft_labels=soft)


# -- files -----------------------------------------------------------------------------------------------------------------


def _files(reading: Reading, split: str) -> list[Path]:
    """Return the parquet files of one split, in order. Raises DataError with the choices, or for one that is missing."""
    if not reading.path.is_dir():
        return [reading.path]
    root = paths.folder(reading.path)
    files = [Path(entry.path) for _, entry in paths.below(root, root, {".parquet"})[0]]
    if not files:
        raise DataError(f"{root}: no .parquet files in it or below")
    by_split: dict[str, list[Path]] = {}
    for file in files:
        by_split.setdefault(_split(file), []).append(file)
    wanted = split or ("train" if "train" in by_split else next(iter(by_split)) if len(by_split) == 1 else "")
    if wanted not in by_split:
        names = ", ".join(sorted(name or "no name" for name in by_split))[:100]
        raise DataError(f"{root}: parquet files of {names}; give parquet(split=…), or the file")
    if len(by_split) > 1:
        reading.say(
            f"{root.name}: of its splits {', '.join(sorted(by_split))[:100]}, {wanted or 'the one without a name'} is read"
        )
    chosen = by_split[wanted]
    if len(folders := sorted({file.parent for file in chosen})) > 1:
        names = ", ".join(str(folder.relative_to(root)) for folder in folders[:8])
        raise DataError(f"{root}: parquet files in several folders: {names}; give one of them")
    _check_complete(chosen)
    return chosen


def _split(file: Path) -> str:
    """Return the split that a file is of, by its name or its folder's; "" where neither tells."""
    form = SHARD.fullmatch(file.stem)
    for name in (form[1] if form is not None else "", file.parent.name):
        if name.casefold() in SPLITS:
            return name.casefold()
    return ""


def _check_complete(files: Sequence[Path]) -> None:
    forms = [SHARD.fullmatch(file.stem) for file in files]
    numbered = [(int(form[2]), int(form[3])) for form in forms if form is not None and form[2] is not None]
    if not numbered:
        return
    counts = {count for _, count in numbered}
    if len(counts) > 1 or len(numbered) != len(files) or sorted(index for index, _ in numbered) != list(range(max(counts))):
        raise DataError(f"{files[0].parent}: {len(files)} of {max(counts)} parquet files are there, such as {files[0].name}")


# -- rows ------------------------------------------------------------------------------------------------------------------


def _rows(files: Sequence[Path], wanted: str) -> Rows:
    """Return the rows of files, their classes read and their images not."""
    rows = Rows()
    for file in files:
        paths.size(file, MAX_BYTES)
        with opening(file) as opened:
            schema = opened.schema_arrow
            image_column(schema, str(file))
            column = label_column(schema, wanted, str(file), "parquet(column=…)")
            names = _names(schema.metadata, column, file)
            if rows.column and (column, names) != (rows.column, rows.names):
                raise DataError(f"{file}: column {column} and its classes are not those of {files[0].name}")
            rows.column, rows.names = column, names
            if opened.metadata.num_rows + len(rows.items) > MAX_ROWS:
                raise DataError(f"{file}: above the limit of {MAX_ROWS} rows")
            for group in range(opened.metadata.num_row_groups):
                check_group(opened, group, file)
                read = opened.read_row_group(group, columns=[column], use_threads=False).column(column)
                if read.null_count:
                    raise DataError(f"{file}: row group {group}: {read.null_count} rows without a {column}")
                rows.label_bytes += _packed(opened.metadata.row_group(group), column)
                rows.labels += read.to_pylist()
                rows.items += [(str(file), group, row) for row in range(len(read))]
    if not rows.items:
        raise DataError(f"{files[0]}: no rows")
    return rows


def _packed(group: Any, column: str) -> int:
    """Return the bytes of a column in a row group on disk; a structure before it has several."""
    chunks = [group.column(i) for i in range(group.num_columns)]
    return sum(max(0, chunk.total_compressed_size) for chunk in chunks if chunk.path_in_schema == column)


def _names(metadata: dict[bytes, bytes] | None, column: str, file: Path) -> tuple[str, ...]:
    """Return the classes' names that Hugging Face's description of a file gives; none when there is none."""
    text = (metadata or {}).get(b"huggingface", b"{}")
    try:
        stated = json.loads(text if len(text) <= MAX_DESCRIPTION else b"{}")["info"]["features"][column]["names"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return ()
    if not isinstance(stated, list) or not all(isinstance(name, str) for name in stated) or len({*stated}) != len(stated):
        raise DataError(f"{file}: the class names of column {column} are no list of different names")
    return tuple(stated)


def _classes(rows: Rows, place: Path, reading: Reading) -> tuple[Tensor, str]:
    """Return the class of each row, [N], and in words what makes it. Raises DataError that names a label that is none."""
    card, labels = reading.card, rows.labels
    if any(isinstance(label, str) for label in labels):
        distinct = list(dict.fromkeys(str(label) for label in labels))
        own = dict(zip(distinct, places(distinct, card.names), strict=True))
        if (odd := next((label for label in distinct if own[label] is None), None)) is not None:
            raise DataError(f"{place}: column {rows.column}: no class of {card.name} is called {odd[:60]!r}; expected numbers")
        return torch.tensor([own[str(label)] for label in labels]), f"the dataset's names of its {card.classes} classes"
    values = [number(label) if isinstance(label, (int, float)) else None for label in labels]
    odd_row = next((row for row, value in enumerate(values) if value is None or not 0 <= value < card.classes), None)
    if odd_row is not None:
        what = paths.line(labels[odd_row])[:40]
        raise DataError(
            f"{place}: row {odd_row}: {rows.column} is {what}; {card.name} has {card.classes} classes, 0 to {card.classes - 1}"
        )
    hard = torch.tensor(values, dtype=torch.int64)
    mapped = places(rows.names, card.names) if card.names and len(rows.names) == card.classes else [None]
    if None in mapped:
        return hard, "numbers, as the dataset counts its classes"
    return torch.tensor(mapped, dtype=torch.int64)[hard], "numbers, which the file names as the dataset's classes"


def _image_bytes(items: Sequence[Item]) -> int:
    """Return the bytes of encoded images."""
    rows_of: dict[tuple[str, int], list[int]] = {}
    for item in items:
        if not isinstance(item, str):
            rows_of.setdefault(item[:2], []).append(item[2])
    total = 0
    for (file, group), rows in rows_of.items():
        images = encoded_images(Path(file), group)
        total += sum(len(images[row] or b"") for row in rows)
    return total
