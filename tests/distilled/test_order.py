"""The order of a set's classes: stated by its user, else shown by what its folders are called."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.core.errors import BadOption, DataError
from harness.core.spec import Spec
from harness.datasets.cards import CIFAR10, FASHION, Card, known
from harness.datasets.subsets import SUBSETS
from harness.distilled.order import Order, arrange, number_of

CARD = Card("fashion-mnist", (1, 32, 32), 10, names=FASHION)
TOY = Card("toy", (1, 8, 8), 3, names=("b", "c", "a"))


def arranged(folders: list[str], card: Card, order: Order | None = None) -> tuple[list[str], list[str]]:
    said: list[str] = []
    return list(arrange(sorted(folders), card, order, Path("set"), said.append).folders), said


@pytest.mark.parametrize("spell", [str, str.lower, lambda name: name.replace("/", "_"), lambda name: name.partition("/")[0]])
def test_folders_called_as_the_classes_are_these_in_the_datasets_order(spell) -> None:
    folders = [spell(name).replace("/", "-") for name in FASHION]
    ordered, said = arranged(folders, CARD)
    assert ordered == folders
    assert said == ["set: the folders are called as the classes of fashion-mnist"]


def test_every_dataset_that_ships_and_has_names_pairs_with_folders_of_them() -> None:
    for name in ("digits", "fashion-mnist", "cifar10", "cifar100", "imagenette", "imagesquawk"):
        card = known(Spec(name=name, options={"size": 64}))
        assert card is not None and len(card.names) == card.classes
        folders = [called.upper().replace("/", " ").replace("_", "-") for called in card.names]
        assert arranged(folders, card)[0] == folders


def test_some_classes_of_imagenet_pair_in_the_order_in_which_they_are_named() -> None:
    from harness import datasets

    ids = list(SUBSETS["imagewoof"].values())[:3]
    card = datasets.card({"name": "imagenet-1k", "classes": [ids[2], ids[0], ids[1]]})
    assert arranged(ids, card)[0] == [ids[2], ids[0], ids[1]]
    assert datasets.card("imagenet-1k(classes=[3, 1])").names == ("n01491361", "n01443537")


@pytest.mark.parametrize("spelling", ["{}", "{:05d}", "new{:03d}", "class{}", "{}.0", "_{}"])
def test_numbers_count_the_classes_in_any_spelling(spelling: str) -> None:
    card = Card("toy", (1, 8, 8), 12, names=tuple("lkjihgfedcba"))
    folders = [spelling.format(value) for value in range(12)]
    assert [number_of(folder) for folder in folders] == list(range(12))
    assert arranged(folders, card)[0] == folders


def test_numbers_that_are_the_classes_names_are_these() -> None:
    card = Card("folder:toy", (1, 8, 8), 3, names=("1", "2", "10"))
    assert arranged(["10", "01", "2"], card)[0] == ["01", "2", "10"]


def test_wordnet_ids_are_sorted_and_said() -> None:
    ordered, said = arranged(["n00000003", "n00000001", "n00000002"], TOY)
    assert ordered == ["n00000001", "n00000002", "n00000003"] and "these, sorted, from n00000001" in said[0]


@pytest.mark.parametrize("card", [TOY, Card("toy", (1, 8, 8), 3)])
@pytest.mark.parametrize("folders", [["y", "x", "z"], ["a photo of a cat", "a dog", "two eels, blurred"], ["1st", "2nd", "3rd"]])
def test_an_order_of_other_names_is_not_guessed(folders: list[str], card: Card, refused) -> None:
    with refused(DataError, "neither as", f"{sorted(folders)[0]!r}", "--classes FILE, on line i the folder of class i"):
        arranged(folders, card)


def test_a_name_that_is_off_is_named(refused) -> None:
    with refused(DataError, "no class of toy is called 'z'"):
        arranged(["a", "b", "z"], TOY)


@pytest.mark.parametrize(
    ("folders", "ordered"),
    [
        (["10_eel", "2_dog", "0_cat"], None),
        (["02-dog", "00-cat", "01-eel"], ["00-cat", "01-eel", "02-dog"]),
        (["0 a dog, blurred", "2 a cat", "1 an eel"], ["0 a dog, blurred", "1 an eel", "2 a cat"]),
        (["n00000002_cat", "n00000001_dog", "n00000003_eel"], ["n00000001_dog", "n00000002_cat", "n00000003_eel"]),
        (["n00000002_cat", "1_dog", "n00000003_eel"], None),
    ],
)
def test_names_that_begin_with_numbers_or_wordnet_ids_are_in_their_order(folders: list[str], ordered, refused) -> None:
    card = Card("toy", (1, 8, 8), 3)
    if ordered is None:
        with refused(DataError, "--classes FILE"):
            arranged(folders, card)
    else:
        assert arranged(folders, card)[0] == ordered
        assert "begin with" in arranged(folders, card)[1][-1]


def test_numbers_that_begin_at_one_are_refused_with_the_line_that_helps(refused) -> None:
    with refused(DataError, "no folder of class 0", "--classes FILE, on line i the folder of class i"):
        arranged(["1", "2", "3"], TOY)
    assert arranged(["1", "2", "3"], TOY, Order("list.txt", ("1", "2", "3")))[0] == ["1", "2", "3"]


@pytest.mark.parametrize(
    ("order", "folders", "ordered"),
    [
        (Order("names"), ["a", "b", "c"], ["b", "c", "a"]),
        (Order("numbers"), ["0", "1", "2"], ["0", "1", "2"]),
        (Order("wnid"), ["n00000002", "n00000001", "n00000003"], ["n00000001", "n00000002", "n00000003"]),
        (Order("list.txt", ("z", "X", "y")), ["x", "y", "z"], ["z", "x", "y"]),
        (Order("list.txt", ("a", "b", "c")), ["0", "1", "2"], ["1", "2", "0"]),
    ],
)
def test_a_stated_order_is_the_order(order: Order, folders: list[str], ordered: list[str]) -> None:
    assert arranged(folders, TOY, order)[0] == ordered


@pytest.mark.parametrize(
    ("order", "folders", "words"),
    [
        (Order("names"), ["x", "y", "z"], "no class of toy is called 'x'"),
        (Order("numbers"), ["a", "b", "c"], "it is no number"),
        (Order("wnid"), ["a", "b", "c"], "no WordNet id"),
        (Order("list.txt", ("a", "b")), ["a", "b", "c"], "2 lines, toy has 3 classes"),
        (Order("list.txt", ("a", "b", "d")), ["a", "b", "c"], "no folder 'd'"),
    ],
)
def test_an_order_that_the_folders_are_not_in_is_refused(order: Order, folders: list[str], words: str, refused) -> None:
    with refused(DataError, words):
        arranged(folders, TOY, order)


def test_what_numbers_count_is_told_by_the_stated_order(refused) -> None:
    assert Order("numbers").numbering(TOY) == [0, 1, 2]
    assert Order("names").numbering(TOY) == [2, 0, 1]
    assert Order("list.txt", ("C", "b", "a")).numbering(TOY) == [1, 0, 2]
    ids = Card("toy", (1, 8, 8), 2, names=("n00000002", "n00000001"))
    assert Order("wnid").numbering(ids) == [1, 0]
    with refused(DataError, "wnid"):
        Order("wnid").numbering(TOY)
    with refused(DataError, "are not known"):
        Order("names").numbering(Card("toy", (1, 8, 8), 3))


def test_an_order_is_read_from_its_name_or_a_file(tmp_path: Path, refused) -> None:
    (tmp_path / "classes.txt").write_text("frog\n\n cat \n")
    assert Order.of(str(tmp_path / "classes.txt")) == Order("classes.txt", ("frog", "cat"))
    assert Order.of("wnid") == Order("wnid")
    with refused(BadOption, "no such file, and not one of names, numbers, wnid"):
        Order.of("alphabetical")
    (tmp_path / "bad.txt").write_bytes(b"\xff\xfe\xfa")
    with refused(DataError, "not UTF-8"):
        Order.of(str(tmp_path / "bad.txt"))


def test_the_names_of_cifar_are_those_of_its_files() -> None:
    assert CIFAR10[:3] == ("airplane", "automobile", "bird") and len({*CIFAR10}) == 10
