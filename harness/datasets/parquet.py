"""Images in parquet files, as on Hugging Face: a column of {bytes, path} and one of labels. Needs pyarrow."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.core.errors import DataError
from harness.datasets.class_order import number
from harness.files.parquet import MAX_BYTES, MAX_ROWS, check_group, columns, opening

if TYPE_CHECKING:  # a process that decodes rows loads this module, and needs no torch for it
    from pyarrow import Schema
    from pyarrow.parquet import ParquetFile

    from harness.datasets.class_order import Name
    from harness.datasets.label_tables import Labelled

#: Bytes of a class's name.
MAX_NAME = 1000

_SHARD = re.compile(r"(train|test|val|valid|validation)(?:-(\d{1,6})-of-(\d{1,6}))?(?:-[0-9a-f]{8,64})?\.parquet")


def shards(root: Path, base: Path) -> dict[str, list[Path]]:
    """Return the parquet files in `base` by split, in order. Raises DataError when one of several is absent."""
    from harness.files import paths

    files_of: dict[str, list[Path]] = {}
    counts: dict[str, set[tuple[int, int]]] = {}
    for file in paths.files(root, base, {".parquet"}):
        named = _SHARD.fullmatch(file.name)
        if named:
            files_of.setdefault(named[1], []).append(file)
            counts.setdefault(named[1], set()).add((int(named[2] or 0), int(named[3] or 1)))
    for split, numbers in counts.items():
        of = {count for _, count in numbers}
        if len(of) > 1 or len(numbers) != len(files_of[split]) or len(numbers) != max(of):
            raise DataError(f"{base}: {len(files_of[split])} of {max(of)} parquet files of {split} are there")
    return files_of


def by_rows(title: str, root: Path, files: Sequence[Path], column: str = "") -> Labelled:
    """Return the rows of parquet files, their labels read and their images not.

    Args:
        title: how errors call the split.
        root: the folder that the files lie in.
        files: the split's, in order.
        column: that of the labels, where the user states it.
    Raises: DataError that names the file.
    """
    from harness.datasets.label_tables import Labelled
    from harness.files import paths

    items: list[Any] = []
    labels: list[Name] = []
    stamps = []
    names: tuple[str, ...] = ()
    for file in files:
        size = paths.size(file, MAX_BYTES)
        with opening(file) as opened:
            _, label = columns(opened.schema_arrow, str(file), column)
            stated = _names(opened.schema_arrow, label, file)
            if names and stated != names:
                raise DataError(f"{file}: its classes are not those of {files[0]}")
            names = stated
            if opened.metadata.num_rows + len(items) > MAX_ROWS:
                raise DataError(f"{file}: above the limit of {MAX_ROWS} rows")
            for group, group_labels in enumerate(_labels(file, opened, label)):
                labels += group_labels
                items += [(str(file), group, row) for row in range(len(group_labels))]
        stamps.append((str(file.relative_to(root)), size, file.stat().st_mtime_ns))
    if not items:
        raise DataError(f"{files[0]}: no rows")
    return Labelled(title, root, items, labels, stamps, names)


def _labels(file: Path, opened: ParquetFile, name: str) -> Iterator[list[Name]]:
    """Give the labels of each row group."""
    import pyarrow

    kind = opened.schema_arrow.field(name).type
    if not (pyarrow.types.is_integer(kind) or pyarrow.types.is_floating(kind)):
        with opening(file, [name]) as shared:
            yield from _groups(file, shared, name)
    else:
        yield from _groups(file, opened, name)


def _groups(file: Path, opened: ParquetFile, name: str) -> Iterator[list[Name]]:
    for group in range(opened.metadata.num_row_groups):
        check_group(opened, group, file)
        column = opened.read_row_group(group, columns=[name], use_threads=False).column(name)
        if column.null_count:
            raise DataError(f"{file}: row group {group}: {column.null_count} rows without a {name}")
        for chunk in column.chunks:
            if hasattr(chunk, "dictionary") and any(len(word.as_buffer()) > MAX_NAME for word in chunk.dictionary):
                raise DataError(f"{file}: row group {group}: a {name} of more than {MAX_NAME} bytes")
        labels: list[Name] = column.to_pylist()
        if (odd := next((label for label in labels if isinstance(label, float) and number(label) is None), None)) is not None:
            raise DataError(f"{file}: row group {group}: a {name} of {odd}; expected class numbers or names")
        yield labels


def _names(schema: Schema, column: str, file: Path) -> tuple[str, ...]:
    """Return the class names that Hugging Face's description of the file gives; none when there is none."""
    try:
        stated = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))
        names = stated["info"]["features"][column]["names"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return ()
    if not isinstance(names, list) or not all(isinstance(n, str) for n in names) or len(set(names)) != len(names):
        raise DataError(f"{file}: the class names of column {column} are no list of different names")
    return tuple(names)
