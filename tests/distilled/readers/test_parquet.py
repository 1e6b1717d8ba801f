"""Parquet files of images and class numbers as they lie on disk, under any usual names."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest
import torch

from harness.core.errors import DataError
from harness.datasets.cards import CIFAR10, Card
from harness.distilled.order import Order
from harness.planning.published_sets import read as read_set
from tests.distilled.readers.publishing import picture, read, smooth

CARD = Card("cifar10", (3, 8, 8), 10, names=CIFAR10)
IMAGES = smooth(20, CARD)
LABELS = [place % 10 for place in range(20)]
HASH = "0123456789abcdef"


def encoded(images: torch.Tensor = IMAGES) -> list[bytes]:
    streams = [io.BytesIO() for _ in images]
    for stream, image in zip(streams, images, strict=True):
        picture(image).save(stream, "PNG")
    return [stream.getvalue() for stream in streams]


def save(file: Path, names: list[str] | None = None, group: int = 7, **columns: Any) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    table = pyarrow.table(columns)
    if names is not None:
        features = {"label": {"_type": "ClassLabel", "names": names}}
        table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    pyarrow.parquet.write_table(table, file, row_group_size=group)
    return file


def rows(images: list[bytes]) -> list[dict[str, Any]]:
    return [{"bytes": image, "path": None} for image in images]


@pytest.mark.parametrize(
    ("image", "label"),
    [("image", "class_id"), ("img", "label"), ("png", "target"), ("a picture", "kind of thing"), ("image", "fine_label")],
)
@pytest.mark.parametrize("kind", [pyarrow.int8(), pyarrow.int32(), pyarrow.int64()])
def test_columns_of_any_usual_name_are_found(tmp_path: Path, image: str, label: str, kind: pyarrow.DataType) -> None:
    labels = pyarrow.array(LABELS, kind)
    coarse = {"coarse_label": LABELS} if label == "fine_label" else {}
    file = save(tmp_path / "set.parquet", **{"caption": ["x"] * 20, image: rows(encoded()), label: labels}, **coarse)
    said: list[str] = []
    made = read("parquet", file, CARD, say=said.append)
    assert torch.equal(made.images, IMAGES) and made.labels.tolist() == LABELS
    assert any(f"class by column {label}: numbers, as the dataset counts its classes" in line for line in said)


def test_plain_bytes_are_images_too_and_a_column_is_stated_where_several_may_be(tmp_path: Path, refused) -> None:
    file = save(tmp_path / "set.parquet", image=encoded(), label=LABELS[::-1], class_id=LABELS)
    with refused(DataError, file, "label, class_id may all be the classes", "give parquet(column=…)"):
        read("parquet", file, CARD)
    assert read("parquet", file, CARD, column="class_id").labels.tolist() == LABELS
    with refused(DataError, file, "no column 'class_idx'; did you mean 'class_id'"):
        read("parquet", file, CARD, column="class_idx")
    with refused(DataError, file, "column image is binary; expected class numbers or names"):
        read("parquet", file, CARD, column="image")


def test_shards_are_read_in_order_and_all_of_them(tmp_path: Path, refused) -> None:
    for index in range(3):
        part = slice(index * 7, index * 7 + 7)
        save(tmp_path / "data" / f"train-0000{index}-of-00003-{HASH}.parquet", image=rows(encoded()[part]), class_id=LABELS[part])
    save(tmp_path / "data" / "validation-00000-of-00001.parquet", image=rows(encoded()[:1]), class_id=[0])
    said: list[str] = []
    made = read("parquet", tmp_path, CARD, say=said.append)
    assert torch.equal(made.images, IMAGES) and made.labels.tolist() == LABELS
    assert any("of its splits train, validation, train is read" in line for line in said)
    (tmp_path / "data" / f"train-00001-of-00003-{HASH}.parquet").unlink()
    with refused(DataError, tmp_path / "data", "2 of 3 parquet files are there"):
        read("parquet", tmp_path, CARD)


def test_a_split_or_a_folder_is_stated_where_several_may_be(tmp_path: Path, refused) -> None:
    for split in ("test", "validation"):
        save(tmp_path / split / "0000.parquet", image=rows(encoded()), class_id=LABELS)
    with refused(DataError, tmp_path, "parquet files of test, validation; give parquet(split=…)"):
        read("parquet", tmp_path, CARD)
    assert len(read("parquet", tmp_path, CARD, split="test")) == 20
    for name in ("ipc10", "ipc50"):
        save(tmp_path / "sets" / name / "train.parquet", image=rows(encoded()), class_id=LABELS)
    with refused(DataError, tmp_path / "sets", "several folders: ipc10, ipc50; give one of them"):
        read("parquet", tmp_path / "sets", CARD)


def test_numbers_are_what_the_file_names_where_these_are_the_datasets_classes(tmp_path: Path) -> None:
    names = list(reversed(CIFAR10))
    made = read("parquet", save(tmp_path / "a.parquet", names, image=rows(encoded()), label=LABELS), CARD)
    assert made.labels.tolist() == [9 - label for label in LABELS]
    others = [f"{name}, something else" for name in CIFAR10]
    assert (
        read("parquet", save(tmp_path / "b.parquet", others, image=rows(encoded()), label=LABELS), CARD).labels.tolist() == LABELS
    )
    text = save(tmp_path / "c.parquet", image=rows(encoded()), label=[CIFAR10[label] for label in LABELS])
    assert read("parquet", text, CARD, column="label").labels.tolist() == LABELS


def test_another_order_of_the_numbers_is_stated(tmp_path: Path) -> None:
    from harness.core.spec import Spec

    file = save(tmp_path / "a.parquet", image=rows(encoded()), label=LABELS)
    order = Order("list.txt", tuple(reversed(CIFAR10)))
    made = read_set(Spec(name="parquet"), file, CARD, None, lambda line: None, 1, order)
    assert made.labels.tolist() == [9 - label for label in LABELS]


def test_a_lower_ipc_is_the_first_rows_of_each_class_and_uneven_classes_are_stated(tmp_path: Path, refused) -> None:
    file = save(tmp_path / "a.parquet", image=rows(encoded()), label=LABELS)
    first = read("parquet", file, CARD, ipc=1)
    assert torch.equal(first.images, IMAGES[:10]) and first.labels.tolist() == LABELS[:10]
    uneven = save(tmp_path / "b.parquet", image=rows(encoded()[:19]), label=LABELS[:19])
    with refused(DataError, uneven, "class 9 has 1, class 0 has 2", "parquet(uneven=true) takes them as they are"):
        read("parquet", uneven, CARD)
    assert len(read("parquet", uneven, CARD, uneven=True)) == 19
    assert torch.equal(read("parquet", uneven, CARD, ipc=1, uneven=True).images, IMAGES[:10])


def test_images_of_another_size_are_resized_and_that_is_said(tmp_path: Path) -> None:
    large = smooth(20, Card("cifar10", (3, 10, 10), 10))
    said: list[str] = []
    made = read("parquet", save(tmp_path / "a.parquet", image=rows(encoded(large)), label=LABELS), CARD, say=said.append)
    assert made.shape == (3, 8, 8) and any("images of 10x10 px are resized to 8x8 px" in line for line in said)


def test_its_bytes_are_those_of_the_encoded_images_and_of_the_column_of_classes(tmp_path: Path) -> None:
    file = save(tmp_path / "a.parquet", image=rows(encoded()), label=LABELS)
    made = read("parquet", file, CARD)
    assert made.image_bytes == sum(map(len, encoded()))
    groups = [pyarrow.parquet.ParquetFile(file).metadata.row_group(index) for index in range(3)]
    chunks = [group.column(index) for group in groups for index in range(group.num_columns)]
    assert made.label_bytes == sum(chunk.total_compressed_size for chunk in chunks if chunk.path_in_schema == "label") > 0
    assert read("parquet", file, CARD, ipc=1).image_bytes == sum(map(len, encoded()[:10]))
