"""Labels in a table beside the images: metadata.csv and metadata.jsonl, and every way in which they lie."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from harness import datasets
from harness.core.errors import DataError
from tests.datasets.hugging_face import NAMES, picture, pixels, with_tables, write_table


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


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_a_byte_order_mark_before_a_table_is_no_part_of_it(tmp_path: Path, kind: str) -> None:
    plain = datasets.load(f"folder:{with_tables(tmp_path / 'plain' / 'pets', kind, ['cat', 'dog'])}")
    root = with_tables(tmp_path / "marked" / "pets", kind, ["cat", "dog"])
    for table in root.rglob(f"metadata.{kind}"):
        table.write_bytes(b"\xef\xbb\xbf" + table.read_bytes())
    assert datasets.load(f"folder:{root}").digest == plain.digest
