"""Folders as Hugging Face lays them out, written for the tests of what reads them: tables of labels and parquet files."""

from __future__ import annotations

import csv
import io
import json
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy
import pyarrow
import pyarrow.parquet
import torch
from PIL import Image

NAMES = ("cat", "dog", "eel")


def picture(index: int, size: tuple[int, int] = (8, 8)) -> Image.Image:
    draws = numpy.random.default_rng(index)
    return Image.fromarray(draws.integers(0, 256, (size[1], size[0], 3), dtype=numpy.uint8))


def encoded(index: int, kind: str = "PNG", size: tuple[int, int] = (8, 8)) -> bytes:
    stream = io.BytesIO()
    picture(index, size).save(stream, kind)
    return stream.getvalue()


def bomb(side: int = 60_000) -> bytes:
    """A PNG of a few bytes that claims side x side pixels."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b"")


def write_table(part: Path, rows: Sequence[dict[str, Any]], kind: str = "csv") -> None:
    part.mkdir(parents=True, exist_ok=True)
    if kind == "jsonl":
        (part / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        return
    with (part / "metadata.csv").open("w", newline="") as stream:
        table = csv.DictWriter(stream, list(rows[0]))
        table.writeheader()
        table.writerows(rows)


def with_tables(root: Path, kind: str, labels: Sequence[int | str], column: str = "label", test: str = "test") -> Path:
    """Images of these labels, once in train and once in test, in no order of their names."""
    for split in ("train", test):
        rows = []
        for index, label in enumerate(labels):
            name = f"images/{9 - index}.png"
            (root / split / "images").mkdir(parents=True, exist_ok=True)
            picture(index).save(root / split / name)
            rows.append({"file_name": name, column: label})
        write_table(root / split, rows, kind)
    return root


def write_rows(
    file: Path, images: Sequence[bytes | None], labels: Sequence[Any], names: Sequence[str] = (), group: int = 2, **changed: Any
) -> None:
    """A parquet file as `datasets.Dataset.push_to_hub` writes it."""
    file.parent.mkdir(parents=True, exist_ok=True)
    table = pyarrow.table(
        {"image": [{"bytes": content, "path": f"{i}.png"} for i, content in enumerate(images)], "label": labels}
    )
    features: dict[str, Any] = {"image": {"_type": "Image"}, "label": {"dtype": "int64", "_type": "Value"}}
    if names:
        features["label"] = {"names": list(names), "_type": "ClassLabel"}
    about = json.dumps({"info": {"features": features | changed}})
    pyarrow.parquet.write_table(table.replace_schema_metadata({"huggingface": about}), file, row_group_size=group)


def with_rows(root: Path, labels: Sequence[Any] = (2, 0, 1, 1, 0), names: Sequence[str] = NAMES, test: str = "test") -> Path:
    """Two train shards and a test shard below data/."""
    images = [encoded(index) for index in range(len(labels))]
    write_rows(root / "data" / "train-00000-of-00002.parquet", images[:3], labels[:3], names)
    write_rows(root / "data" / "train-00001-of-00002.parquet", images[3:], labels[3:], names)
    write_rows(root / "data" / f"{test}-00000-of-00001.parquet", images, labels, names)
    return root


def pixels(count: int) -> torch.Tensor:
    return torch.stack([torch.tensor(numpy.asarray(picture(i))).permute(2, 0, 1) for i in range(count)])
