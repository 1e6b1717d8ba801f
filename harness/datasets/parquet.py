"""Images in parquet files, as on Hugging Face: a column of {bytes, path} and one of labels. Needs pyarrow."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.core.errors import DataError

if TYPE_CHECKING:  # a process that decodes rows loads this module, and needs no torch for it
    from harness.datasets.label_tables import Labelled

#: Bytes of a parquet file, and of the images of one row group, which is read at once.
MAX_BYTES, MAX_GROUP = 1 << 37, 1 << 31
MAX_ROWS = 1 << 23
#: Bytes of a class's name.
MAX_NAME = 1000
#: Bytes of one string, and entries of one list, in a file's own description.
MAX_STRING, MAX_LIST = 1 << 24, 1 << 20
IMAGE_COLUMNS = ("image", "img")

_SHARD = re.compile(r"(train|test|val|validation)(?:-(\d{1,6})-of-(\d{1,6}))?(?:-[0-9a-f]{8,64})?\.parquet")


def shards(root: Path, base: Path) -> dict[str, list[Path]]:
    """Return the parquet files in `base` by split, in order. Raises DataError when one of several is absent."""
    from harness import untrusted

    found: dict[str, list[Path]] = {}
    counts: dict[str, set[tuple[int, int]]] = {}
    for file in untrusted.files(root, base, {".parquet"}):
        named = _SHARD.fullmatch(file.name)
        if named:
            found.setdefault(named[1], []).append(file)
            counts.setdefault(named[1], set()).add((int(named[2] or 0), int(named[3] or 1)))
    for split, numbers in counts.items():
        of = {count for _, count in numbers}
        if len(of) > 1 or len(numbers) != len(found[split]) or len(numbers) != max(of):
            raise DataError(f"{base}: {len(found[split])} of {max(of)} parquet files of {split} are there")
    return found


def by_rows(title: str, root: Path, files: Sequence[Path]) -> Labelled:
    """Return the rows of parquet files, their labels read and their images not. Raises DataError that names the file."""
    from harness import untrusted
    from harness.datasets.label_tables import Labelled

    items: list[Any] = []
    labels: list[int | str] = []
    stamps = []
    names: tuple[str, ...] = ()
    for file in files:
        size = untrusted.size(file, MAX_BYTES)
        with _opened(file) as opened:
            _, column = _columns(opened.schema_arrow, str(file))
            stated = _names(opened.schema_arrow, column, file)
            if names and stated != names:
                raise DataError(f"{file}: its classes are not those of {files[0]}")
            names = stated
            if opened.metadata.num_rows + len(items) > MAX_ROWS:
                raise DataError(f"{file}: above the limit of {MAX_ROWS} rows")
            for group, found in enumerate(_labels(file, opened, column)):
                labels += found
                items += [(str(file), group, row) for row in range(len(found))]
        stamps.append((str(file.relative_to(root)), size, file.stat().st_mtime_ns))
    if not items:
        raise DataError(f"{files[0]}: no rows")
    return Labelled(title, root, items, labels, stamps, names)


def encoded_images(file: Path, group: int) -> list[bytes | None]:
    """Return the encoded images of a row group. Raises DataError when they are above MAX_GROUP bytes or cannot be read.

    Row by row: a few bytes of a file may say that a large value is repeated a million times.
    """
    with _opened(file) as opened:
        image, _ = _columns(opened.schema_arrow, str(file))
        _check_group(opened, group, file)
        images: list[bytes | None] = []
        size = 0
        for batch in opened.iter_batches(1, row_groups=[group], columns=[image], use_threads=False):
            for row in batch.column(0).to_pylist():
                images.append(row.get("bytes") if isinstance(row, dict) else row)
                size += len(images[-1] or b"")
            if size > MAX_GROUP:
                raise DataError(f"{file}: row group {group} has more than {MAX_GROUP} bytes of images")
    return images


def _check_group(opened: Any, group: int, file: Path) -> None:
    """Refuse what a row group's description says before it is read."""
    said = opened.metadata.row_group(group)
    if not 0 <= said.total_byte_size <= MAX_GROUP:
        raise DataError(f"{file}: row group {group} has {said.total_byte_size} bytes, above the limit of {MAX_GROUP}")
    if not 0 <= said.num_rows <= MAX_ROWS:
        raise DataError(f"{file}: row group {group} has {said.num_rows} rows, above the limit of {MAX_ROWS}")


@contextmanager
def _opened(file: Path, shared: Sequence[str] = ()) -> Iterator[Any]:
    """Give a parquet file, equal values of the columns `shared` held once; whatever goes wrong with it is a DataError."""
    try:
        import pyarrow.parquet
    except ImportError:
        raise DataError(
            f"{file}: parquet files are read with pyarrow, which is not installed: pip install 'giftbench[huggingface]'"
        ) from None
    try:
        with pyarrow.parquet.ParquetFile(
            file,
            memory_map=False,
            read_dictionary=list(shared) or None,
            thrift_string_size_limit=MAX_STRING,
            thrift_container_size_limit=MAX_LIST,
        ) as opened:
            yield opened
    except DataError:
        raise
    except Exception as error:  # a broken file may raise anything in Arrow
        raise DataError(f"{file}: not a readable parquet file: {' '.join(str(error).split())[:200]}") from None


def _columns(schema: Any, place: str) -> tuple[str, str]:
    """Return the columns of images and of labels."""
    import pyarrow

    image = next((name for name in IMAGE_COLUMNS if name in schema.names), "")
    others = [name for name in schema.names if name != image]
    label = "label" if "label" in others else others[0] if len(others) == 1 else ""
    if not image or not label:
        raise DataError(f"{place}: columns {', '.join(schema.names)[:200]}; expected image and label")
    kind = schema.field(image).type
    if pyarrow.types.is_struct(kind):
        kind = kind.field("bytes").type if kind.get_field_index("bytes") >= 0 else None
    if kind is None or not (pyarrow.types.is_binary(kind) or pyarrow.types.is_large_binary(kind)):
        raise DataError(f"{place}: column {image} holds no encoded images; expected a structure of bytes and path")
    kind = schema.field(label).type
    if not (pyarrow.types.is_integer(kind) or pyarrow.types.is_string(kind) or pyarrow.types.is_large_string(kind)):
        raise DataError(f"{place}: column {label} is {kind}; expected class numbers or names")
    return image, label


def _labels(file: Path, opened: Any, name: str) -> Iterator[list[int | str]]:
    """Give the labels of each row group."""
    import pyarrow

    if not pyarrow.types.is_integer(opened.schema_arrow.field(name).type):
        with _opened(file, [name]) as shared:
            yield from _groups(file, shared, name)
    else:
        yield from _groups(file, opened, name)


def _groups(file: Path, opened: Any, name: str) -> Iterator[list[int | str]]:
    for group in range(opened.metadata.num_row_groups):
        _check_group(opened, group, file)
        column = opened.read_row_group(group, columns=[name], use_threads=False).column(name)
        if column.null_count:
            raise DataError(f"{file}: row group {group}: {column.null_count} rows without a {name}")
        for chunk in column.chunks:
            if hasattr(chunk, "dictionary") and any(len(word.as_buffer()) > MAX_NAME for word in chunk.dictionary):
                raise DataError(f"{file}: row group {group}: a {name} of more than {MAX_NAME} bytes")
        found: list[int | str] = column.to_pylist()
        yield found


def _names(schema: Any, column: str, file: Path) -> tuple[str, ...]:
    """Return the class names that Hugging Face's description of the file gives; none when there is none."""
    try:
        stated = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))
        names = stated["info"]["features"][column]["names"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return ()
    if not isinstance(names, list) or not all(isinstance(n, str) for n in names) or len(set(names)) != len(names):
        raise DataError(f"{file}: the class names of column {column} are no list of different names")
    return tuple(names)
