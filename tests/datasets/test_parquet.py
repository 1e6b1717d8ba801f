"""Folders as Hugging Face lays them out: split folders, tables of labels, parquet files; and every way in which they lie."""

from __future__ import annotations

from pathlib import Path

import numpy
import pytest
import torch

from harness import datasets
from harness.core.errors import DataError
from harness.datasets import folder as folders
from harness.files import decoding
from tests.datasets.hugging_face import NAMES, bomb, encoded, picture, pixels, with_rows, with_tables, write_rows

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


# -- as published on Hugging Face ---------------------------------------------------------------------------------------------


def write_columns(file: Path, columns: dict[str, list], names: dict[str, list[str]] | None = None) -> None:
    """Write a parquet file of these columns, the class names of some of them beside it as Hugging Face keeps them."""
    import json

    import pyarrow
    import pyarrow.parquet

    file.parent.mkdir(parents=True, exist_ok=True)
    features = {name: {"names": called, "_type": "ClassLabel"} for name, called in (names or {}).items()}
    about = json.dumps({"info": {"features": features}})
    pyarrow.parquet.write_table(pyarrow.table(columns).replace_schema_metadata({"huggingface": about}), file)


def images(count: int) -> list[dict[str, object]]:
    return [{"bytes": encoded(i), "path": None} for i in range(count)]


def write_cifar100(root: Path) -> Path:
    """CIFAR-100 as `uoft-cs/cifar100`: a configuration's folder, and two labels of which the fine one is meant."""
    names = {"fine_label": list(NAMES), "coarse_label": ["pet", "fish"]}
    columns = {"img": images(3), "fine_label": [2, 0, 1], "coarse_label": [1, 0, 0]}
    for split in ("train", "test"):
        write_columns(root / "cifar100" / f"{split}-00000-of-00001.parquet", columns, names)
    return root


def test_the_fine_label_is_taken_in_the_folder_of_the_configuration(tmp_path: Path) -> None:
    root = write_cifar100(tmp_path / "cifar100")
    fine = datasets.load(f"folder:{root}")
    assert (fine.classes, fine.test.labels.tolist()) == (NAMES, [2, 0, 1])
    assert datasets.load(f"folder:{root / 'cifar100'}").digest == fine.digest
    coarse = datasets.load(f"folder:{root}(column=coarse_label)")
    assert (coarse.classes, coarse.test.labels.tolist()) == (("pet", "fish"), [1, 0, 0])


def test_the_column_stays_out_of_ids_where_none_is_stated() -> None:
    assert "column" not in datasets.registry.resolve("folder:pets").spec.options


def test_an_open_column_is_to_be_stated(tmp_path: Path, refused) -> None:
    for split in ("train", "test"):
        write_columns(tmp_path / f"{split}.parquet", {"image": images(2), "species": [0, 1], "age": [1, 0]})
    with refused(DataError, tmp_path / "train.parquet", "image, species, age", "column=NAME"):
        datasets.load(f"folder:{tmp_path}")
    assert datasets.load(f"folder:{tmp_path}(column=age)").test.labels.tolist() == [1, 0]
    with refused(DataError, "no column 'ages'", "species, age"):
        datasets.load(f"folder:{tmp_path}(column=ages)")


def test_an_open_column_of_a_table_is_to_be_stated(tmp_path: Path, refused) -> None:
    for split in ("train", "test"):
        (tmp_path / split).mkdir()
        for i in range(2):
            picture(i).save(tmp_path / split / f"{i}.png")
        (tmp_path / split / "metadata.csv").write_text("file_name,species,age\n0.png,cat,3\n1.png,dog,2\n")
    with refused(DataError, "file_name, species, age", "column=NAME"):
        datasets.load(f"folder:{tmp_path}")
    assert datasets.load(f"folder:{tmp_path}(column=species)").classes == ("cat", "dog")
    with refused(DataError, "no column 'weight'"):
        datasets.load(f"folder:{tmp_path}(column=weight)")


def test_tiny_imagenets_valid_is_a_test_split(tmp_path: Path) -> None:
    for split in ("train", "valid"):
        write_columns(
            tmp_path / "data" / f"{split}-00000-of-00001-70d52db3c749a935.parquet", {"image": images(2), "label": [0, 1]}
        )
    assert len(datasets.load(f"folder:{tmp_path}").test) == 2


def write_imagenet(root: Path) -> Path:
    """ImageNet-1K as its repository has it: the labels of the test split, -1, are not published."""
    for split, labels in (("train", [1, 0]), ("validation", [0, 1]), ("test", [-1, -1])):
        columns = {"image": images(2), "label": labels}
        write_columns(root / "data" / f"{split}-00000-of-00001.parquet", columns, {"label": ["tench", "goldfish"]})
    return root


def test_a_test_split_whose_labels_are_hidden_is_passed_over_and_said(tmp_path: Path, refused) -> None:
    data = datasets.load(f"folder:{write_imagenet(tmp_path)}")
    assert data.test.labels.tolist() == [0, 1]
    assert any("test has no labels" in note and "validation is its test split" in note for note in data.notes)
    (tmp_path / "data" / "validation-00000-of-00001.parquet").unlink()
    with refused(DataError, tmp_path, "test has no labels", "no other test split"):
        datasets.load(f"folder:{tmp_path}")


def test_hidden_labels_among_others_are_refused(tmp_path: Path, refused) -> None:
    for split, labels in (("train", [1, 0]), ("test", [0, -1])):
        write_columns(tmp_path / f"{split}.parquet", {"image": images(2), "label": labels}, {"label": ["a", "b"]})
    with refused(DataError, "label -1 outside 0..1"):
        datasets.load(f"folder:{tmp_path}")


def test_several_configurations_are_to_be_told_apart(tmp_path: Path, refused) -> None:
    for name in ("cropped_digits", "full_numbers"):
        for split in ("train", "test"):
            write_columns(tmp_path / name / f"{split}.parquet", {"image": images(2), "label": [0, 1]})
    with refused(DataError, "cropped_digits, full_numbers", "folder:PATH/cropped_digits"):
        datasets.load(f"folder:{tmp_path}")
    assert datasets.load(f"folder:{tmp_path / 'cropped_digits'}").test.labels.tolist() == [0, 1]


def test_a_doubled_folder_is_the_same_dataset(tmp_path: Path) -> None:
    own, doubled = tmp_path / "own" / "pets", tmp_path / "doubled" / "pets"
    for place in (own, doubled / "pets"):
        with_tables(place, "csv", ["cat", "dog"])
    assert datasets.load(f"folder:{doubled}").digest == datasets.load(f"folder:{own}").digest


def test_a_test_folder_without_labels_gives_way_to_val(tmp_path: Path) -> None:
    for split in ("train", "val"):
        for index, name in enumerate(NAMES):
            (tmp_path / split / name).mkdir(parents=True)
            picture(index).save(tmp_path / split / name / "0.png")
    (tmp_path / "test").mkdir()
    picture(9).save(tmp_path / "test" / "ILSVRC2012_test_1.png")
    data = datasets.load(f"folder:{tmp_path}")
    assert len(data.test) == 3
    assert any("test/ has no labels" in note for note in data.notes)
