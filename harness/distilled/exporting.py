"""A distilled set as parquet files that the Hugging Face Hub shows, and read back from them with the same digest. Needs pyarrow.

A row is an image (PNG) and its class, in the columns `image` and `label`. What PNG cannot hold, float or normalised images and
those of two channels, is in a column of its own beside a picture of it; so are soft labels.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from harness.core.errors import DataError
from harness.distilled.set import DistilledSet
from harness.files import atomic, decoding, paths
from harness.files.parquet import MAX_BYTES, check_group, opening
from harness.files.pixels import Form, Item

if TYPE_CHECKING:
    from pyarrow import Schema, Table

FORMAT = "giftbench.parquet/1"
#: Under which a parquet file keeps what a set is beside its rows.
KEY = b"giftbench"
#: Images of one row group, which is read at once, and bytes after which a file ends.
GROUP, SHARD = 256, 400 << 20
MAX_SHARDS = 100_000
DTYPES = {str(dtype).removeprefix("torch."): dtype for dtype in (torch.float16, torch.bfloat16, torch.float32, torch.float64)}


@dataclass(frozen=True)
class Exported:
    """A parquet file that was written: where it lies, its bytes, rows and SHA-256."""

    path: Path
    size: int
    rows: int
    sha256: str


def write(distilled: DistilledSet, folder: Path, names: Sequence[str] = ()) -> list[Exported]:
    """Write a set's parquet files, `train-00000-of-0000N.parquet`, and return them.

    Args:
        folder: where to; made when there is none.
        names: of the classes, in their order; their numbers where none are given.
    Raises: DataError for a set whose soft labels belong to stored augmentations; WriteError.
    """
    if distilled.replay is not None:
        raise DataError(
            "its soft labels belong to one stored augmentation each, which no parquet file of images and classes holds; "
            "publish its .safetensors file as it is"
        )
    schema = _schema(distilled, names)
    atomic.make_folder(folder)
    spans = list(_spans(distilled))
    return [
        _write_one(distilled, folder / f"train-{number:05d}-of-{len(spans):05d}.parquet", schema, span)
        for number, span in enumerate(spans)
    ]


def _spans(distilled: DistilledSet) -> Iterator[range]:
    """Yield which images go into each file: as many whole groups as have some SHARD bytes of what they hold, uncompressed."""
    soft = 0 if distilled.soft_labels is None else distilled.soft_labels.nbytes
    each = (distilled.images.nbytes + soft) // len(distilled) + 16
    count = max(GROUP, SHARD // each // GROUP * GROUP)
    for start in range(0, len(distilled), count):
        yield range(start, min(start + count, len(distilled)))


def _write_one(distilled: DistilledSet, path: Path, schema: Schema, span: range) -> Exported:
    import pyarrow.parquet

    with atomic.replacing(path) as temporary, pyarrow.parquet.ParquetWriter(temporary, schema) as writer:
        for start in range(span.start, span.stop, GROUP):
            writer.write_table(_rows(distilled, slice(start, min(start + GROUP, span.stop)), schema))
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    return Exported(path, path.stat().st_size, len(span), sha256)


def _schema(distilled: DistilledSet, names: Sequence[str]) -> Schema:
    import pyarrow

    columns: list[tuple[str, Any]] = [
        ("image", pyarrow.struct([("bytes", pyarrow.binary()), ("path", pyarrow.string())])),
        ("label", pyarrow.int64()),
    ]
    labels: dict[str, Any] = {"dtype": "int64", "_type": "Value"}
    if names:
        labels = {"names": list(names), "_type": "ClassLabel"}
    features: dict[str, Any] = {"image": {"_type": "Image"}, "label": labels}
    for name, values in lists(distilled).items():
        kind, width = stored_as(values), values[0].numel()
        columns.append((name, pyarrow.list_(getattr(pyarrow, kind)(), width)))
        features[name] = {"feature": {"dtype": kind, "_type": "Value"}, "length": width, "_type": "Sequence"}
    soft = {} if distilled.soft_labels is None else {"soft_dtype": str(distilled.soft_labels.dtype).removeprefix("torch.")}
    about = {"format": FORMAT, "digest": distilled.digest, "shape": list(distilled.shape), "set": distilled.metadata, **soft}
    described = {"huggingface": json.dumps({"info": {"features": features}}), KEY.decode(): json.dumps(about, sort_keys=True)}
    return pyarrow.schema(columns, metadata=described)


def lists(distilled: DistilledSet) -> dict[str, Tensor]:
    """Return what is kept as numbers: images that PNG cannot hold, and soft labels."""
    exact = distilled.images.dtype == torch.uint8 and distilled.shape[0] in (1, 3)
    pixels = {} if exact else {"pixels": distilled.images}
    return pixels if distilled.soft_labels is None else pixels | {"soft_labels": distilled.soft_labels}


def stored_as(values: Tensor) -> str:
    """Return the type of numbers in a file, as numpy calls it: halves are kept as float32, which holds every one of them."""
    return "uint8" if values.dtype == torch.uint8 else "float64" if values.dtype == torch.float64 else "float32"


def _rows(distilled: DistilledSet, part: slice, schema: Schema) -> Table:
    import pyarrow

    pictures = as_pictures(distilled, part)
    names = [f"{index:06d}.png" for index in range(part.start, part.stop)]
    content: dict[str, Any] = {
        "image": [{"bytes": _png(picture), "path": name} for picture, name in zip(pictures, names, strict=True)],
        "label": distilled.labels[part].numpy(),
    }
    for name, values in lists(distilled).items():
        rows = values[part].flatten(1)
        rows = rows if rows.dtype in (torch.uint8, torch.float64) else rows.float()
        flat = pyarrow.array(rows.flatten().numpy(), schema.field(name).type.value_type)
        content[name] = pyarrow.FixedSizeListArray.from_arrays(flat, rows.shape[1])
    return pyarrow.Table.from_pydict(content, schema=schema)


def as_pictures(distilled: DistilledSet, part: slice) -> Tensor:
    """Return some images of a set to be looked at, uint8 [N, 1 or 3, H, W]; whitened ones between their own extremes."""
    images = distilled.images[part]
    images = images if distilled.shape[0] in (1, 3) else images[:, :1]
    if images.dtype == torch.uint8:
        return images
    if distilled.mean:
        mean, std = (torch.tensor(values[: images.shape[1]]).view(1, -1, 1, 1) for values in (distilled.mean, distilled.std))
        images = images * std + mean
    elif distilled.normalised:
        low, high = float(distilled.images.min()), float(distilled.images.max())
        images = (images - low) / max(high - low, 1e-12)
    return (images * 255).round().clamp(0, 255).to(torch.uint8)


def _png(picture: Tensor) -> bytes:
    from PIL import Image

    stream = io.BytesIO()
    pixels = picture[0] if len(picture) == 1 else picture.permute(1, 2, 0)
    Image.fromarray(pixels.contiguous().numpy()).save(stream, "PNG", optimize=False)
    return stream.getvalue()


# -- read back -------------------------------------------------------------------------------------------------------------


def is_exported(file: Path) -> bool:
    """Return whether a parquet file says that a set was exported to it. Raises DataError when it cannot be read."""
    with opening(file) as opened:
        return KEY in (opened.schema_arrow.metadata or {})


def read(path: Path) -> DistilledSet:
    """Return the set that was written to a parquet file, or to those in a folder and its data/.

    Raises: DataError that names the file: for one that no set was exported to, one of several that is absent, and for what does
        not have the digest that it states.
    """
    return read_files(_files(path), path)


def read_files(files: Sequence[Path], place: Path) -> DistilledSet:
    """Return the set that was written to these files, in their order; `place` is how errors call them. Raises as `read`."""
    about: dict[str, Any] = {}
    items: list[Item] = []
    columns: dict[str, list[Tensor]] = {}
    for file in files:
        paths.size(file, MAX_BYTES)
        with opening(file) as opened:
            said = _about(opened.schema_arrow, file)
            if about and said != about:
                raise DataError(f"{file}: it is of another set than {files[0].name}")
            about = said
            wanted = [name for name in ("label", "pixels", "soft_labels") if name in opened.schema_arrow.names]
            for group in range(opened.metadata.num_row_groups):
                check_group(opened, group, file)
                table = opened.read_row_group(group, columns=wanted, use_threads=False)
                for name in wanted:
                    columns.setdefault(name, []).append(_tensor(table.column(name), name, file))
                items += [(str(file), group, row) for row in range(table.num_rows)]
    try:
        return _made(about, items, {name: torch.cat(parts) for name, parts in columns.items()})
    except DataError as error:
        raise DataError(f"{place}: {paths.line(error)}") from None
    except (KeyError, TypeError, ValueError, RuntimeError) as error:  # what its description may do to __init__
        raise DataError(f"{place}: not a set that was exported ({type(error).__name__}: {paths.line(error)})") from None


def _made(about: dict[str, Any], items: list[Item], columns: dict[str, Tensor]) -> DistilledSet:
    channels, height, width = (int(side) for side in about["shape"])
    if "pixels" in columns:
        images = columns["pixels"].view(len(items), channels, height, width)
    else:
        images = decoding.read(items, Form((channels, height, width))).images
    soft = columns.get("soft_labels")
    soft = None if soft is None else soft.to(DTYPES[about["soft_dtype"]])
    made = DistilledSet(images, columns["label"], soft, **{**about["set"], "known_dataset": False})
    if made.digest != about["digest"]:
        raise DataError("its content does not have the digest it states; a file is damaged or was edited")
    return made


def _files(path: Path) -> list[Path]:
    """Return a set's parquet files, in order. Raises DataError when there are none, or one of several is absent."""
    if not path.is_dir():
        return [path]
    root = paths.folder(path)
    folders = [root, *(folder for folder in paths.folders(root) if folder.name == "data")]
    files = next((files for folder in folders if (files := paths.files(root, folder, {".parquet"}))), [])
    if not files:
        raise DataError(f"{path}: no .parquet files in it or in its data/")
    stated = files[0].stem.rpartition("-of-")[2]
    if stated.isdecimal() and len(stated) <= 6 and int(stated) != len(files):
        raise DataError(f"{path}: {len(files)} of {int(stated)} parquet files are there")
    return files


def _about(schema: Schema, file: Path) -> dict[str, Any]:
    text = (schema.metadata or {}).get(KEY, b"")
    if not text:
        raise DataError(f"{file}: no distilled set was exported to it; giftbench import parquet reads such files")
    try:
        about = json.loads(text)
    except (ValueError, RecursionError):
        about = None
    if not isinstance(about, dict) or not isinstance(about.get("set"), dict) or about.get("format") != FORMAT:
        raise DataError(f"{file}: what it says of its set is not of the format {FORMAT!r}")
    return about


def _tensor(column: Any, name: str, file: Path) -> Tensor:
    """Return a column of numbers, or of lists of equally many, as a tensor [N] or [N, numbers]."""
    import pyarrow

    if column.null_count:
        raise DataError(f"{file}: {column.null_count} rows without a {name}")
    kind = column.type
    whole = column.combine_chunks()
    if pyarrow.types.is_fixed_size_list(kind):
        return torch.from_numpy(whole.flatten().to_numpy(zero_copy_only=False).copy()).view(len(column), kind.list_size)
    if name != "label" or not pyarrow.types.is_integer(kind):
        raise DataError(f"{file}: column {name} is {paths.line(kind)[:80]}")
    return torch.from_numpy(whole.to_numpy(zero_copy_only=False).copy())
