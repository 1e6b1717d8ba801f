"""Parquet files from elsewhere: opened within limits, columns told apart, a row group's encoded images. Needs pyarrow."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from harness.core.errors import DataError, suggest
from harness.files import paths

if TYPE_CHECKING:
    from pyarrow import Schema
    from pyarrow.parquet import ParquetFile

#: Bytes of a parquet file, and of the images of one row group, which is read at once.
MAX_BYTES, MAX_GROUP = 1 << 37, 1 << 31
MAX_ROWS = 1 << 23
#: Bytes of one string, and entries of one list, in a file's own description.
MAX_STRING, MAX_LIST = 1 << 24, 1 << 20
IMAGE_COLUMNS = ("image", "img")
#: What else columns of images and of class numbers are called.
USUAL_IMAGES = (*IMAGE_COLUMNS, "images", "pixels", "jpg", "jpeg", "png", "webp", "image_bytes")
USUAL_LABELS = ("label", "labels", "class_id", "class", "class_idx", "class_index", "cls", "target", "targets", "y", "fine_label")
LABEL_COLUMNS = ("label", "fine_label")


def encoded_images(file: Path, group: int) -> list[bytes | None]:
    """Return the encoded images of a row group. Raises DataError when they are above MAX_GROUP bytes or cannot be read.

    Row by row: a few bytes of a file may say that a large value is repeated a million times.
    """
    with opening(file) as opened:
        image = image_column(opened.schema_arrow, str(file))
        check_group(opened, group, file)
        images: list[bytes | None] = []
        size = 0
        for batch in opened.iter_batches(1, row_groups=[group], columns=[image], use_threads=False):
            for row in batch.column(0).to_pylist():
                images.append(row.get("bytes") if isinstance(row, dict) else row)
                size += len(images[-1] or b"")
            if size > MAX_GROUP:
                raise DataError(f"{file}: row group {group} has more than {MAX_GROUP} bytes of images")
    return images


def check_group(opened: ParquetFile, group: int, file: Path) -> None:
    """Refuse what a row group's description says before it is read."""
    said = opened.metadata.row_group(group)
    if not 0 <= said.total_byte_size <= MAX_GROUP:
        raise DataError(f"{file}: row group {group} has {said.total_byte_size} bytes, above the limit of {MAX_GROUP}")
    if not 0 <= said.num_rows <= MAX_ROWS:
        raise DataError(f"{file}: row group {group} has {said.num_rows} rows, above the limit of {MAX_ROWS}")


@contextmanager
def opening(file: Path, shared: Sequence[str] = ()) -> Iterator[ParquetFile]:
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
        raise DataError(f"{file}: not a readable parquet file: {paths.line(error)[:200]}") from None


def image_column(schema: Schema, place: str) -> str:
    """Return the column of encoded images: the one with a usual name, else the only one that may be. Raises DataError."""
    wrong = next((name for name in IMAGE_COLUMNS if name in schema.names and not _holds_bytes(schema, name)), "")
    if wrong:
        raise DataError(f"{place}: column {wrong} holds no encoded images; expected a structure of bytes and path")
    candidates = [name for name in dict.fromkeys(schema.names) if _holds_bytes(schema, name)]
    usual = [name for name in USUAL_IMAGES if name in candidates]
    if not usual and len(candidates) != 1:
        what = f"columns {', '.join(candidates)[:100]} may all be" if candidates else "no column is one"
        names = ", ".join(schema.names)[:200]
        raise DataError(f"{place}: columns {names}; {what} of encoded images, {{bytes, path}}; expected image and label")
    return str((usual or candidates)[0])


def _holds_bytes(schema: Schema, name: str) -> bool:
    import pyarrow

    if schema.names.count(name) != 1:
        return False
    kind = schema.field(name).type
    if pyarrow.types.is_struct(kind):
        kind = kind.field("bytes").type if kind.get_field_index("bytes") >= 0 else None
    return kind is not None and (pyarrow.types.is_binary(kind) or pyarrow.types.is_large_binary(kind))


def label_column(schema: Schema, wanted: str, place: str, option: str) -> str:
    """Return the column of classes: `wanted`, else the one with a usual name, else the only one of whole numbers.

    Args:
        option: by which the user states it, for the error.
    Raises: DataError where several may be, or none is.
    """
    import pyarrow

    types, names = pyarrow.types, [name for name in dict.fromkeys(schema.names) if schema.names.count(name) == 1]
    if wanted:
        if wanted not in names:
            raise DataError(f"{place}: no column {wanted!r}; {suggest(wanted, names)}")
        kind = schema.field(wanted).type
        if not any(is_one(kind) for is_one in (types.is_integer, types.is_floating, types.is_string, types.is_large_string)):
            raise DataError(f"{place}: column {wanted} is {paths.line(kind)[:80]}; expected class numbers or names")
        return wanted
    whole = [name for name in names if types.is_integer(schema.field(name).type)]
    likely = [name for name in whole if name.casefold() in USUAL_LABELS] or whole
    if len(likely) != 1:
        what = f"{', '.join(likely)[:100]} may all be the classes" if likely else "none is of whole numbers"
        raise DataError(f"{place}: of the columns {', '.join(names)[:200]}, {what}; give {option}")
    return str(likely[0])


def columns(schema: Schema, place: str, label: str = "") -> tuple[str, str]:
    """Return the columns of images and of labels.

    Args:
        place: how errors call the file.
        label: the column of the labels as the user states it; "" for `label`, for `fine_label` (CIFAR-100's, beside a coarse
            one), or for the only one beside the images.
    Raises: DataError that names the columns there are.
    """
    import pyarrow

    image = image_column(schema, place)
    others = [name for name in schema.names if name != image]
    if label and label not in others:
        raise DataError(f"{place}: no column {label!r} beside {image}; there are {', '.join(others)[:200] or 'none'}")
    lone = others[0] if len(others) == 1 else ""
    label = label or next((name for name in LABEL_COLUMNS if name in others), lone)
    if not label:
        hint = "; which is the label? State it: column=NAME" if others else "; expected image and label"
        raise DataError(f"{place}: columns {', '.join(schema.names)[:200]}{hint}")
    kind = schema.field(label).type
    types = pyarrow.types
    if not any(is_one(kind) for is_one in (types.is_integer, types.is_floating, types.is_string, types.is_large_string)):
        raise DataError(f"{place}: column {label} is {kind}; expected class numbers or names")
    return image, label
