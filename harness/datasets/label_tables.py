"""Labels in a table beside the images, as Hugging Face's image folders have them: metadata.csv or metadata.jsonl."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from harness.core.errors import DataError, suggest
from harness.datasets.decoded import Listing
from harness.files import paths
from harness.files.pixels import EXTENSIONS, Item

NAMES = ("metadata.csv", "metadata.jsonl")
#: Bytes of a table.
MAX_BYTES = 1 << 28

Label = int | str


@dataclass(frozen=True)
class Labelled:
    """A split as its files state it; `names` are the classes where the files say so, and `stamps` those of a `Listing`."""

    title: str
    root: Path
    items: Sequence[Item]
    labels: Sequence[Label]
    stamps: Sequence[tuple[str, int, int]]
    names: tuple[str, ...] = ()


def table_of(root: Path, part: Path) -> Path | None:
    """Return a split's table; None when it has none. Raises DataError when it has two."""
    tables = [file for file in paths.files(root, part) if file.name in NAMES]
    if len(tables) > 1:
        raise DataError(f"{part}: both {NAMES[0]} and {NAMES[1]}; expected one of them")
    return tables[0] if tables else None


def by_table(title: str, part: Path, table: Path) -> Labelled:
    """Return the images that a table names, in its order.

    The label is the column `label`, or the only one beside `file_name`: numbers from 0, or names.

    Raises: DataError that names the line: a name that leaves `part`, an absent file, a label that is missing.
    """
    part = part.resolve()
    items: list[Item] = []
    labels: list[Label] = []
    stamps, seen = [], set()
    column = ""
    for line, row in _rows(table):
        place = f"{table}: line {line}"
        column = column or label_column(row, "file_name", place)
        name = row.get("file_name")
        if not isinstance(name, str):
            raise DataError(f"{place}: no file_name")
        if name in seen:
            raise DataError(f"{place}: {name!r} is there twice")
        seen.add(name)
        file = paths.inside(part, name)
        if file.suffix.lower() not in EXTENSIONS:
            raise DataError(f"{place}: {name!r} is no image ({', '.join(sorted(EXTENSIONS))})")
        try:
            status = file.stat()
        except OSError:
            raise DataError(f"{place}: no file {file}") from None
        items.append(str(file))
        labels.append(_label(row.get(column), column, place))
        stamps.append((name, status.st_size, status.st_mtime_ns))
    if not items:
        raise DataError(f"{table}: no images")
    return Labelled(title, part, items, labels, stamps)


def label_column(columns: Sequence[str] | dict[str, object], image: str, place: str) -> str:
    """Return the column of the labels: `label`, or the only one beside that of the images. Raises DataError."""
    others = [name for name in columns if name != image]
    if image in columns and "label" in others:
        return "label"
    if image not in columns or len(others) != 1:
        raise DataError(f"{place}: columns {', '.join(map(str, columns))[:200]}; expected {image} and label")
    return others[0]


def _label(value: object, column: str, place: str) -> Label:
    if isinstance(value, str) and value.strip():
        text = value.strip()
        return int(text) if text.isdecimal() and text.isascii() and len(text) < 10 and str(int(text)) == text else text
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    raise DataError(f"{place}: no {column}; expected a class's name, or its number from 0")


def _rows(table: Path) -> Iterator[tuple[int, dict[str, object]]]:
    """Give the rows of a table with the line each ends at. Raises DataError."""
    paths.size(table, MAX_BYTES)
    try:
        text = table.read_text("utf-8-sig")
        if table.suffix == ".csv":
            reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
            for row in reader:
                if None in row:
                    raise DataError(f"{table}: line {reader.line_num}: more fields than columns")
                yield reader.line_num, row
            return
        for number, line in enumerate(text.splitlines(), 1):
            if line.strip():
                entry = json.loads(line)
                if not isinstance(entry, dict):
                    raise DataError(f"{table}: line {number}: expected an object with file_name and label")
                yield number, entry
    except UnicodeDecodeError:
        raise DataError(f"{table}: not UTF-8 text") from None
    except json.JSONDecodeError as error:
        raise DataError(f"{table}: line {number}: not JSON: {error.msg}") from None
    except (csv.Error, OSError, RecursionError, ValueError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{table}: cannot be read: {' '.join(str(error).split())}") from None


def listings(train: Labelled, test: Labelled) -> tuple[Listing, Listing, tuple[str, ...]]:
    """Turn labels into class indices: by the names that the files give, else the sorted names or numbers of the train split.

    Raises: DataError when the splits differ in their classes, or a number is no class.
    """
    names = train.names
    if names and test.names and test.names != names:
        raise DataError(f"{test.title}: its classes are not those of {train.title}")
    kinds = {type(label) for split in (train, test) for label in split.labels}
    if len(kinds) > 1 and not names:  # a name that happens to be a number
        train, test = (_spelled(split) for split in (train, test))
        kinds = {str}
    if not names and kinds == {int}:
        names = tuple(map(str, _numbered(train)))
    elif not names:
        names = tuple(sorted({str(label) for label in train.labels}))
    places = {name: index for index, name in enumerate(names)}
    return _listing(train, names, places), _listing(test, names, places), names


def _spelled(split: Labelled) -> Labelled:
    return Labelled(split.title, split.root, split.items, [str(label) for label in split.labels], split.stamps, split.names)


def _numbered(split: Labelled) -> range:
    """Return 0..K-1, all of which the labels must be; so a stray number takes no memory."""
    numbers = set(split.labels)
    classes = range(len(numbers))
    missing = next((index for index in classes if index not in numbers), None)
    if missing is not None:
        odd = max((label for label in numbers if label not in classes), key=str)
        raise DataError(f"{split.title}: label {odd}, but no image of class {missing}; expected 0 to the number of classes - 1")
    return classes


def _listing(split: Labelled, names: tuple[str, ...], places: dict[str, int]) -> Listing:
    indices = []
    for position, label in enumerate(split.labels):
        index = label if isinstance(label, int) else places.get(label, -1)
        if not 0 <= index < len(names):
            what = f"label {label} outside 0..{len(names) - 1}" if isinstance(label, int) else f"no class {label!r}"
            hint = "" if isinstance(label, int) else f"; {suggest(label, names)}"
            raise DataError(f"{split.title}: {_place(split.items[position])}: {what}{hint}")
        indices.append(index)
    return Listing(split.title, split.root, split.items, torch.tensor(indices, dtype=torch.int64), split.stamps)


def _place(item: Item) -> str:
    return item if isinstance(item, str) else f"{item[0]}: row {item[2]} of row group {item[1]}"
