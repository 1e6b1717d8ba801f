"""One order of the classes, whatever holds them: folders, tables, columns, and the folders of a distilled set."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from harness import datasets
from harness.core.errors import DataError
from harness.datasets.base import Dataset
from harness.datasets.class_order import are_numbers, folded, in_order, number, places
from tests.datasets.hugging_face import encoded, picture, with_tables, write_rows

Spell = Callable[[int], int | float | str]
#: Ways in which a file may spell a whole number.
SPELLINGS: dict[str, Spell] = {
    "10": str,
    "10.0": "{}.0".format,
    "010": "{:03d}".format,
    "number": int,
    "float": float,
}


def in_folders(root: Path, labels: Sequence[object]) -> Path:
    for split in ("train", "test"):
        for index, label in enumerate(labels):
            (root / split / str(label)).mkdir(parents=True, exist_ok=True)
            picture(index).save(root / split / str(label) / f"{index}.png")
    return root


def in_rows(root: Path, labels: Sequence[object], names: Sequence[str] = ()) -> Path:
    for split in ("train", "test"):
        images = [encoded(index) for index in range(len(labels))]
        write_rows(root / "data" / f"{split}-00000-of-00001.parquet", images, labels, names, group=100)
    return root


CONTAINERS: dict[str, Callable[[Path, Sequence[object]], Path]] = {
    "folders": in_folders,
    "csv": lambda root, labels: with_tables(root, "csv", labels),  # type: ignore[arg-type]
    "jsonl": lambda root, labels: with_tables(root, "jsonl", labels),  # type: ignore[arg-type]
    "parquet": in_rows,
}


def class_of_images(data: Dataset) -> list[int]:
    """The class of image 0, 1, 2, …, told by their pixels, in whatever order a container lists them."""
    from tests.datasets.hugging_face import pixels

    wanted = [image.flatten().tolist() for image in pixels(len(data.train.labels))]
    held = [image.flatten().tolist() for image in data.train.images[:]]
    return [int(data.train.labels[held.index(image)]) for image in wanted]


@pytest.mark.parametrize("container", CONTAINERS)
@pytest.mark.parametrize("spelling", SPELLINGS)
def test_whole_numbers_in_any_spelling_are_numbers_in_every_container(tmp_path: Path, container: str, spelling: str) -> None:
    labels = [SPELLINGS[spelling](value) for value in range(12)]
    data = datasets.load(f"folder:{CONTAINERS[container](tmp_path, labels)}")
    assert class_of_images(data) == list(range(12))
    assert [number(name) for name in data.classes] == list(range(12))


@pytest.mark.parametrize("container", CONTAINERS)
def test_other_names_are_sorted_and_said(tmp_path: Path, container: str) -> None:
    data = datasets.load(f"folder:{CONTAINERS[container](tmp_path, ['eel', 'cat', 'x10', 'x9'])}")
    assert data.classes == ("cat", "eel", "x10", "x9")
    assert class_of_images(data) == [1, 0, 2, 3]
    assert any("the classes are their names, sorted: cat, eel, x10" in line for line in data.notes)


def test_names_that_a_file_states_are_not_sorted_and_nothing_is_said(tmp_path: Path) -> None:
    data = datasets.load(f"folder:{in_rows(tmp_path, [1, 0, 2], ['eel', 'cat', 'ant'])}")
    assert (data.classes, class_of_images(data), data.notes) == (("eel", "cat", "ant"), [1, 0, 2], ())


def test_folders_of_both_splits_pair_by_folded_names(tmp_path: Path) -> None:
    in_folders(tmp_path, ["T-shirt", "hand bag", "eel"])
    for old, new in (("T-shirt", "t_shirt"), ("hand bag", "Hand-Bag")):
        (tmp_path / "test" / old).rename(tmp_path / "test" / new)
    data = datasets.load(f"folder:{tmp_path}")
    assert data.classes == ("T-shirt", "eel", "hand bag")
    assert data.test.labels.tolist() == data.train.labels.tolist()
    assert data.test.images[:].equal(data.train.images[:])


def test_one_number_in_two_folders_is_refused(tmp_path: Path, refused) -> None:
    with refused(DataError, "01 and 1 are one number"):
        datasets.load(f"folder:{in_folders(tmp_path, ['01', '1'])}")


@given(st.lists(st.integers(0, 10**8), min_size=1, unique=True), st.data())
def test_the_order_of_numbers_rests_on_no_spelling(values: list[int], data: st.DataObject) -> None:
    spellings = [data.draw(st.sampled_from([str(v), f"{v}.0", f"00{v}", f"{v}."])) for v in values]
    assert are_numbers(spellings)
    assert [number(name) for name in in_order(spellings)] == sorted(values)
    assert places(spellings, [str(v) for v in values]) == list(range(len(values)))


@given(st.lists(st.text("abcXYZ", min_size=1), min_size=1, unique_by=str.casefold), st.data())
def test_names_pair_whatever_their_case_and_signs(names: list[str], data: st.DataObject) -> None:
    signs = st.sampled_from(["", " ", "/", "_", "-"])
    others = ["".join(data.draw(signs) + data.draw(st.sampled_from([c.upper(), c.lower()])) for c in name) for name in names]
    order = data.draw(st.permutations(range(len(names))))
    whole = [name.replace("/", "-") for name in names]
    assert places([others[i] for i in order], whole) == order


def test_what_is_no_whole_number_is_a_name() -> None:
    assert [number(name) for name in ("x1", "1.5", "", "1e3", True, float("nan"), "٣", "12345678901")] == [None] * 8
    assert folded("Ankle boot") == folded("ankle_BOOT") and folded("-") == "-"


def test_two_names_that_fold_alike_are_told_by_their_spelling_alone() -> None:
    assert places(["Cat", "cat"], ["cat", "Cat"]) == [1, 0]
    assert places(["CAT"], ["cat", "Cat"]) == [None]
    assert places(["CAT", "Cat"], ["cat", "dog"]) == [None, None]


def test_a_class_of_two_names_is_called_by_either() -> None:
    assert places(["T-shirt", "trouser"], ["T-shirt/top", "Trouser"]) == [0, 1]
    assert places(["top"], ["T-shirt/top", "Top"]) == [None]


# -- the other side --------------------------------------------------------------------------------------------------------


@settings(max_examples=10, deadline=None)
@given(spelling=st.sampled_from(["{}", "{:03d}", "{}.0", "new{:03d}"]), first=st.sampled_from([0, 1]))
def test_a_set_in_folders_is_paired_with_the_dataset_of_the_same_folders(spelling: str, first: int) -> None:
    from harness.distilled import readers
    from harness.distilled.reading import Reading

    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        for value in range(first, first + 12):
            for name in (f"real/train/{value}/a.png", f"real/test/{value}/a.png"):
                (root / name).parent.mkdir(parents=True)
                Image.new("L", (8, 8), value * 20).save(root / name)
            if first and spelling.startswith("new"):
                continue
            folder = root / "set" / spelling.format(value)
            folder.mkdir(parents=True)
            Image.new("L", (8, 8), value * 20).save(folder / f"class{value:05d}_id00000.png")
        if not (root / "set").is_dir():
            return
        card = datasets.card(f"folder:{root / 'real'}")
        distilled = readers.create("gvbsm")(Reading(root / "set", card, None, 1))
        data = datasets.load(f"folder:{root / 'real'}")
        assert distilled.images[:, 0, 0, 0].tolist() == data.train.images[:, 0, 0, 0].tolist()
