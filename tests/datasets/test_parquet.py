"""Folders as Hugging Face lays them out: split folders, tables of labels, parquet files; and every way in which they lie."""

from __future__ import annotations

import csv
import io
import json
import struct
import sys
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy
import pyarrow
import pyarrow.parquet
import pytest
import torch
from PIL import Image

from harness import datasets
from harness.core.errors import DataError
from harness.datasets import folder as folders
from harness.files import decoding

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


# -- split folders and tables -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("test", ["test", "val", "validation"])
@pytest.mark.parametrize("base", [".", "data"])
def test_split_folders_lie_in_the_folder_or_in_its_data(tmp_path: Path, test: str, base: str) -> None:
    for split in ("train", test):
        for index, name in enumerate(NAMES):
            (tmp_path / "pets" / base / split / name).mkdir(parents=True)
            picture(index).save(tmp_path / "pets" / base / split / name / "0.png")
    pets = datasets.load(f"folder:{tmp_path / 'pets'}")
    assert pets.name == "folder:pets"
    assert pets.classes == NAMES
    assert torch.equal(pets.test.images, pixels(3))


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
@pytest.mark.parametrize("column", ["label", "animal"])
def test_table_gives_the_order_and_names(tmp_path: Path, kind: str, column: str) -> None:
    pets = datasets.load(f"folder:{with_tables(tmp_path, kind, ['eel', 'cat', 'dog', 'dog'], column)}")
    assert pets.classes == NAMES
    assert pets.train.labels.tolist() == [2, 0, 1, 1]
    assert torch.equal(pets.train.images[:], pixels(4))


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_table_of_numbers_gives_numbers(tmp_path: Path, kind: str) -> None:
    labels = [9, 2, 0, 1, 3, 4, 5, 6, 7, 8]
    pets = datasets.load(f"folder:{with_tables(tmp_path, kind, labels)}")
    assert pets.classes == tuple(map(str, range(10)))
    assert pets.train.labels.tolist() == labels


def test_column_label_is_taken_among_several(tmp_path: Path) -> None:
    with_tables(tmp_path, "jsonl", ["cat", "dog"])
    for split in ("train", "test"):
        file = tmp_path / split / "metadata.jsonl"
        file.write_text("".join(json.dumps(json.loads(row) | {"width": 8}) + "\n" for row in file.read_text().splitlines()))
    assert datasets.load(f"folder:{tmp_path}").classes == ("cat", "dog")


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([{"file_name": "../test/images/9.png", "label": "cat"}], ["leaves the folder"]),
        ([{"file_name": "../../../etc/passwd", "label": "cat"}], ["leaves the folder"]),
        ([{"file_name": "/etc/passwd", "label": "cat"}], ["no relative path"]),
        ([{"file_name": "images/absent.png", "label": "cat"}], ["line 2", "no file"]),
        ([{"file_name": "metadata.csv", "label": "cat"}], ["line 2", "no image"]),
        ([{"file_name": "images/9.png", "label": ""}], ["line 2", "no label"]),
        ([{"file_name": "images/9.png"}], ["columns", "expected file_name and label"]),
        ([{"label": "cat"}], ["columns", "expected file_name and label"]),
        ([{"file_name": "images/9.png", "width": 8, "height": 8}], ["columns", "width", "label"]),
        ([{"file_name": "images/9.png", "label": "cat"}] * 2, ["line 3", "twice"]),
    ],
)
def test_table_that_is_wrong_is_refused(tmp_path: Path, rows: Any, words: list[str], refused) -> None:
    with_tables(tmp_path, "csv", ["cat", "dog"])
    write_table(tmp_path / "train", rows)
    with refused(DataError, tmp_path / "train", *words):
        datasets.load(f"folder:{tmp_path}")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", ["empty"]),
        (b"\xff\xfe\x00", ["UTF-8"]),
        (b"[1, 2]", ["line 1", "object"]),
        (b'\n{"file_name": ', ["line 2", "not JSON"]),
        (b"[" * 100_000, ["metadata.jsonl"]),
        (b'{"file_name": 3, "label": 1}', ["line 1", "file_name"]),
        (b'{"file_name": "images/9.png", "label": true}', ["line 1", "no label"]),
        (b'{"file_name": "images/9.png", "label": null}', ["line 1", "no label"]),
        (b'{"file_name": "images/9.png", "label": 1000000000000000}', ["label 1000000000000000", "no image of class 0"]),
        (b'{"file_name": "images/9.png", "label": -1}', ["label -1"]),
    ],
)
def test_json_table_that_is_broken_is_refused(tmp_path: Path, content: bytes, words: list[str], refused) -> None:
    with_tables(tmp_path, "jsonl", [0, 1])
    (tmp_path / "train" / "metadata.jsonl").write_bytes(content)
    with refused(DataError, tmp_path / "train" if "label" not in words[0] else words[0], *words):
        datasets.load(f"folder:{tmp_path}")


def test_table_that_one_split_lacks_or_has_twice_is_refused(tmp_path: Path, refused) -> None:
    with_tables(tmp_path, "csv", ["cat", "dog"])
    write_table(tmp_path / "train", [{"file_name": "images/9.png", "label": "cat"}], "jsonl")
    with refused(DataError, "metadata.csv and metadata.jsonl"):
        datasets.load(f"folder:{tmp_path}")
    (tmp_path / "train" / "metadata.jsonl").unlink()
    (tmp_path / "test" / "metadata.csv").unlink()
    with refused(DataError, "test/ lacks the metadata.csv"):
        datasets.load(f"folder:{tmp_path}")


def test_class_that_the_train_split_lacks_is_named(tmp_path: Path, refused) -> None:
    with_tables(tmp_path, "csv", ["cat", "dog"])
    write_table(tmp_path / "test", [{"file_name": "images/9.png", "label": "dig"}])
    with refused(DataError, tmp_path / "test" / "images" / "9.png", "no class 'dig'", "did you mean 'dog'"):
        datasets.load(f"folder:{tmp_path}")


@pytest.mark.parametrize("what", ["file", "class", "split"])
def test_symbolic_link_out_of_the_folder_is_not_followed(tmp_path: Path, what: str, refused) -> None:
    root = tmp_path / "pets"
    for split in ("train", "test"):
        for index, name in enumerate(NAMES):
            (root / split / name).mkdir(parents=True)
            picture(index).save(root / split / name / "0.png")
    outside = tmp_path / "outside"
    (outside / "eel").mkdir(parents=True)
    picture(5).save(outside / "eel" / "0.png")
    link = {"file": root / "train" / "eel" / "1.png", "class": root / "train" / "fox", "split": root / "validation"}[what]
    link.symlink_to(outside / "eel" / "0.png" if what == "file" else outside, target_is_directory=what != "file")
    with refused(DataError, link, "symbolic link that leaves"):
        datasets.load(f"folder:{root}")


def test_link_of_a_table_out_of_the_folder_is_not_followed(tmp_path: Path, refused) -> None:
    root = with_tables(tmp_path / "pets", "csv", ["cat", "dog"])
    picture(1).save(tmp_path / "outside.png")
    (root / "train" / "images" / "9.png").unlink()
    (root / "train" / "images" / "9.png").symlink_to(tmp_path / "outside.png")
    with refused(DataError, "images/9.png", "leaves the folder"):
        datasets.load(f"folder:{root}")


# -- parquet ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("test", ["test", "validation"])
def test_parquet_files_give_images_in_order_and_the_stated_classes(tmp_path: Path, test: str) -> None:
    pets = datasets.load(f"folder:{with_rows(tmp_path, test=test)}")
    assert pets.classes == NAMES
    assert pets.train.labels.tolist() == [2, 0, 1, 1, 0]
    assert torch.equal(pets.train.images[:], pixels(5))
    assert torch.equal(pets.test.images, pixels(5))


def test_parquet_files_may_lie_in_split_folders(tmp_path: Path) -> None:
    expected = datasets.load(f"folder:{with_rows(tmp_path / 'a' / 'pets')}")
    for split, count in (("train", 2), ("test", 1)):
        for i in range(count):
            file = tmp_path / "a" / "pets" / "data" / f"{split}-0000{i}-of-0000{count}.parquet"
            (tmp_path / "pets" / split).mkdir(parents=True, exist_ok=True)
            file.rename(tmp_path / "pets" / split / f"000{i}.parquet")
    assert datasets.load(f"folder:{tmp_path / 'pets'}").digest == expected.digest


def test_parquet_without_stated_classes_takes_the_labels(tmp_path: Path) -> None:
    assert datasets.load(f"folder:{with_rows(tmp_path / 'numbers', names=())}").classes == ("0", "1", "2")
    words = datasets.load(f"folder:{with_rows(tmp_path / 'words', ['eel', 'cat', 'dog', 'dog', 'cat'], ())}")
    assert (words.classes, words.train.labels.tolist()) == (NAMES, [2, 0, 1, 1, 0])


def test_workers_decode_rows_as_this_process_does(tmp_path: Path) -> None:
    from harness.files.pixels import Form

    file = tmp_path / "train.parquet"
    count = 2 * decoding.IMAGES_PER_WORKER + 3
    write_rows(file, [encoded(i) for i in range(count)], [0] * count, group=50)
    items = [(str(file), i // 50, i % 50) for i in range(count)]
    found = decoding.read(items, Form((3, 8, 8)), workers=2, hashed=True)
    assert torch.equal(found.images, pixels(count))
    alone = decoding.read(items, Form((3, 8, 8)), workers=1, hashed=True)
    assert found.digests == alone.digests


def test_absent_shard_is_said(tmp_path: Path, refused) -> None:
    with_rows(tmp_path)
    (tmp_path / "data" / "train-00001-of-00002.parquet").unlink()
    with refused(DataError, "1 of 2 parquet files of train"):
        datasets.load(f"folder:{tmp_path}")


def test_truncated_parquet_is_refused_at_every_tenth(tmp_path: Path, refused) -> None:
    with_rows(tmp_path)
    file = tmp_path / "data" / "test-00000-of-00001.parquet"
    whole = file.read_bytes()
    for tenth in range(10):
        file.write_bytes(whole[: len(whole) * tenth // 10])
        with refused(DataError, file):
            datasets.load(f"folder:{tmp_path}")


def test_no_broken_byte_of_a_parquet_file_ends_in_a_traceback(tmp_path: Path) -> None:
    with_rows(tmp_path)
    file = tmp_path / "data" / "test-00000-of-00001.parquet"
    whole = file.read_bytes()
    draws = numpy.random.default_rng(0)
    for _ in range(100):
        broken = bytearray(whole)
        place = int(draws.integers(len(whole) - 1500, len(whole)) if draws.random() < 0.7 else draws.integers(0, len(whole)))
        broken[place] ^= int(draws.integers(1, 256))
        file.write_bytes(broken)
        try:
            datasets.load(f"folder:{tmp_path}")
        except DataError as error:
            assert "\n" not in str(error)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (bomb(), ["row 1 of row group 0", "above the limit of 67108864 pixels"]),
        (b"no image", ["row 1 of row group 0", "not a readable image"]),
        (encoded(1, "JPEG")[:300], ["row 1 of row group 0", "not a readable image"]),
        (b"", ["row 1 of row group 0", "no image bytes"]),
        (None, ["row 1 of row group 0", "no image bytes"]),
        (encoded(1, size=(9, 7)), ["row 1 of row group 0", "9x7", "size=PIXELS"]),
    ],
)
def test_bad_image_in_a_parquet_file_is_named_by_its_row(
    tmp_path: Path, content: bytes | None, words: list[str], refused
) -> None:
    with_rows(tmp_path)
    file = tmp_path / "data" / "test-00000-of-00001.parquet"
    write_rows(file, [encoded(0), content, encoded(2)], [0, 1, 2], NAMES)
    with refused(DataError, file, *words):
        datasets.load(f"folder:{tmp_path}")


@pytest.mark.parametrize(
    ("labels", "words"), [([0, -1, 2], ["row 1 of row group 0", "label -1 outside 0..2"]), ([0, None, 2], ["without a label"])]
)
def test_row_without_a_class_is_named(tmp_path: Path, labels: list[int | None], words: list[str], refused) -> None:
    with_rows(tmp_path)
    file = tmp_path / "data" / "test-00000-of-00001.parquet"
    write_rows(file, [encoded(i) for i in range(3)], labels, NAMES)
    with refused(DataError, file, *words):
        datasets.load(f"folder:{tmp_path}")


def test_parquet_of_other_columns_is_refused(tmp_path: Path, refused) -> None:
    file = with_rows(tmp_path) / "data" / "test-00000-of-00001.parquet"
    for columns, word in (
        ({"text": ["a"], "label": [0]}, "expected image and label"),
        ({"image": ["a.png"], "label": [0]}, "no encoded images"),
        ({"image": [b"a"], "label": [0.5]}, "expected class numbers or names"),
        ({"image": [b"a"], "fine": [0], "coarse": [0]}, "expected image and label"),
    ):
        pyarrow.parquet.write_table(pyarrow.table(columns), file)
        with refused(DataError, file, word):
            datasets.load(f"folder:{tmp_path}")


def test_row_group_larger_than_the_limit_is_not_read(tmp_path: Path, refused, monkeypatch: pytest.MonkeyPatch) -> None:
    from harness.files import parquet

    monkeypatch.setattr(parquet, "MAX_GROUP", 100)
    with refused(DataError, "row group 0 has", "above the limit of 100"):
        datasets.load(f"folder:{with_rows(tmp_path)}")


def test_large_value_that_few_bytes_repeat_a_hundred_times_is_not_unfolded(
    tmp_path: Path, refused, monkeypatch: pytest.MonkeyPatch
) -> None:
    from harness.files import parquet

    monkeypatch.setattr(parquet, "MAX_GROUP", 1 << 23)
    with_rows(tmp_path)
    file = tmp_path / "data" / "test-00000-of-00001.parquet"
    repeated = pyarrow.DictionaryArray.from_arrays(pyarrow.array([0] * 100, pyarrow.int32()), pyarrow.array([bytes(1 << 20)]))
    table = pyarrow.table({"image": repeated, "label": [0] * 100})
    pyarrow.parquet.write_table(table, file, store_schema=False)
    assert file.stat().st_size < 1 << 18
    with refused(DataError, file, "row group 0", "bytes of images"):
        datasets.load(f"folder:{tmp_path}(size=8)")
    repeated = pyarrow.DictionaryArray.from_arrays(pyarrow.array([0] * 100, pyarrow.int32()), pyarrow.array(["c" * (1 << 20)]))
    table = pyarrow.table({"image": [encoded(0)] * 100, "label": repeated})
    pyarrow.parquet.write_table(table, file, store_schema=False)
    with refused(DataError, file, "row group 0", "a label of more than 1000 bytes"):
        datasets.load(f"folder:{tmp_path}")


def test_without_pyarrow_the_remedy_is_said(tmp_path: Path, refused, monkeypatch: pytest.MonkeyPatch) -> None:
    with_rows(tmp_path)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.delitem(sys.modules, "pyarrow.parquet")
    with refused(DataError, ".parquet", "pip install 'giftbench[huggingface]'"):
        datasets.load(f"folder:{tmp_path}")


# -- splits too large for memory ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("layout", ["classes", "tables", "rows"])
def test_large_test_split_is_decoded_once_and_the_train_split_as_it_is_needed(
    tmp_path: Path, layout: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "pets"
    if layout == "classes":
        for split in ("train", "test"):
            for index in range(5):
                (root / split / NAMES[index % 3]).mkdir(parents=True, exist_ok=True)
                picture(index).save(root / split / NAMES[index % 3] / f"{index}.png")
    elif layout == "tables":
        with_tables(root, "csv", ["eel", "cat", "dog", "dog", "cat"])
    else:
        with_rows(root)
    small = datasets.load(f"folder:{root}")
    monkeypatch.setattr(folders, "RESIDENT", 500)
    monkeypatch.setattr(folders, "SAMPLE", 2)
    before = decoding.decoded
    large = datasets.load(f"folder:{root}")
    assert decoding.decoded == before + 5 + 2  # the test split, and what tells the normalisation
    again = datasets.load(f"folder:{root}")
    assert decoding.decoded == before + 5 + 2
    assert torch.equal(again.test.images, small.test.images)
    assert torch.equal(again.train.labels, small.train.labels)
    assert torch.equal(again.train.images[torch.tensor([3, 1])], small.train.images[[3, 1]])
    assert decoding.decoded == before + 5 + 2 + 2
    assert (again.digest, again.classes, again.shape) == (large.digest, small.classes, small.shape)
