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
from harness.datasets.class_order import Name, are_numbers, in_order, number, places
from harness.datasets.decoded import Listing
from harness.files import paths
from harness.files.pixels import EXTENSIONS, Item

NAMES = ("metadata.csv", "metadata.jsonl")
#: Bytes of a table.
MAX_BYTES = 1 << 28


@dataclass(frozen=True)
class Labelled:
    """A split as its files state it; `names` are the classes where the files say so, `stamps`, `passed` those of a `Listing`."""

    title: str
    root: Path
    items: Sequence[Item]
    labels: Sequence[Name]
    stamps: Sequence[tuple[str, int, int]]
    names: tuple[str, ...] = ()
    passed: int = 0


def table_of(root: Path, part: Path) -> Path | None:
    """Return a split's table; None when it has none. Raises DataError when it has two."""
    tables = [file for file in paths.files(root, part) if file.name in NAMES]
    if len(tables) > 1:
        raise DataError(f"{part}: both {NAMES[0]} and {NAMES[1]}; expected one of them")
    return tables[0] if tables else None


def by_table(title: str, root: Path, part: Path, table: Path, label: str = "") -> Labelled:
    """Return the images that a table names, in its order.

    The label is the column of that name where one is given, else `label`, or the only one beside `file_name`: numbers from 0, or
    names.

    Raises: DataError that names the line: a name that leaves `part`, an absent file, a label that is missing.
    """
    part = paths.within(root, part)
    items: list[Item] = []
    labels: list[Name] = []
    stamps, seen = [], set()
    column = ""
    for line, row in _rows(table):
        place = f"{table}: line {line}"
        column = column or label_column(row, "file_name", place, label)
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
    named = {*items}
    passed = sum(entry.path not in named for _, entry in paths.below(part, part, EXTENSIONS)[0])
    return Labelled(title, part, items, labels, stamps, passed=passed)


def label_column(columns: Sequence[str] | dict[str, object], image: str, place: str, stated: str = "") -> str:
    """Return the column of the labels: the stated one, else `label`, or the only one beside that of the images.

    Raises: DataError that names the columns there are.
    """
    others = [name for name in columns if name != image]
    if image in columns and stated:
        if stated not in others:
            raise DataError(f"{place}: no column {stated!r}; there are {', '.join(map(str, columns))[:200]}")
        return stated
    if image in columns and "label" in others:
        return "label"
    if image not in columns or len(others) != 1:
        hint = "; which is the label? State it: column=NAME" if image in columns and others else f"; expected {image} and label"
        raise DataError(f"{place}: columns {', '.join(map(str, columns))[:200]}{hint}")
    return others[0]


def _label(value: object, column: str, place: str) -> Name:
    if isinstance(value, str) and value.strip():
        return value.strip()
    if isinstance(value, (int, float)) and number(value) is not None:
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
    """Turn labels into class indices: by the names that the files give, else by those of the train split, in `class_order`'s.

    Raises: DataError when the splits differ in their classes, or a number is no class.
    """
    if train.names and test.names and test.names != train.names:
        raise DataError(f"{test.title}: its classes are not those of {train.title}")
    numbered = are_numbers({*train.labels, *test.labels})
    names = train.names or (_numbers(train) if numbered else tuple(in_order({str(label) for label in train.labels})))
    spelled = not numbered and not train.names  # numbers among names are names
    return _listing(train, names, spelled), _listing(test, names, spelled), names


def _numbers(split: Labelled) -> tuple[str, ...]:
    """Return 0..K-1, all of which the labels must be; so a stray number takes no memory."""
    numbers = {number(label) for label in {*split.labels}}
    classes = range(len(numbers))
    missing = next((index for index in classes if index not in numbers), None)
    if missing is not None:
        odd = max((label for label in numbers if label not in classes), key=str)
        raise DataError(f"{split.title}: label {odd}, but no image of class {missing}; expected 0 to the number of classes - 1")
    return tuple(map(str, classes))


def _listing(split: Labelled, names: tuple[str, ...], spelled: bool) -> Listing:
    """Return a split's listing. What is written as text, and all where names are `spelled`, is the class of that name."""
    distinct = [label for label in dict.fromkeys(split.labels) if spelled or isinstance(label, str)]
    class_of: dict[Name, int | None] = dict(zip(distinct, places(distinct, names), strict=True))
    counted = not spelled and names == tuple(map(str, range(len(names))))
    indices = []
    for position, label in enumerate(split.labels):
        index = class_of.get(label)
        if index is None and (counted or not (spelled or isinstance(label, str))):
            index = number(label)
        if index is None or not 0 <= index < len(names):
            what = f"label {label} outside 0..{len(names) - 1}" if index is not None else f"no class {str(label)!r}"
            hint = "" if index is not None else f"; {suggest(str(label), names)}"
            raise DataError(f"{split.title}: {_place(split.items[position])}: {what}{hint}")
        indices.append(index)
    return Listing(split.title, split.root, split.items, torch.tensor(indices, dtype=torch.int64), split.stamps, split.passed)


def _place(item: Item) -> str:
    return item if isinstance(item, str) else f"{item[0]}: row {item[2]} of row group {item[1]}"
