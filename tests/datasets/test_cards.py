"""What is known of a dataset before its files are read, and whether they are there."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from harness import datasets
from harness.core.errors import BadOption, DataError, UnknownName
from harness.datasets.cards import Card

CIFAR = ((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010))
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


@pytest.mark.parametrize("name", ["digits", "fashion-mnist"])
def test_a_card_says_what_the_data_say(name: str) -> None:
    if not datasets.at_hand(name)[0]:
        pytest.skip(f"{name} is not at hand")
    data = datasets.load(name)
    assert datasets.card(name) == Card(name, data.shape, len(data.classes), data.mean, data.std)


@pytest.mark.parametrize(
    ("spec", "card"),
    [
        ("cifar10", Card("cifar10", (3, 32, 32), 10, *CIFAR)),
        ("cifar100", Card("cifar100", (3, 32, 32), 100, *CIFAR)),
        ("tiny-imagenet", Card("tiny-imagenet", (3, 64, 64), 200, *IMAGENET)),
        ("imagenet-1k", Card("imagenet-1k", (3, 224, 224), 1000, *IMAGENET)),
        ("imagenet-1k(size=64)", Card("imagenet-1k", (3, 64, 64), 1000, *IMAGENET)),
        ("imagenet-1k(size=64, classes=[3, 1])", Card("imagenet-1k", (3, 64, 64), 2, *IMAGENET)),
        ("imagenette", Card("imagenette", (3, 224, 224), 10, *IMAGENET)),
        ("imagewoof(size=128)", Card("imagewoof", (3, 128, 128), 10, *IMAGENET)),
    ],
)
def test_cards_of_datasets_that_ship_need_no_file(spec: str, card: Card, tmp_path: Path) -> None:
    assert datasets.card(spec) == datasets.card(spec, tmp_path) == card


def test_every_dataset_that_ships_has_a_card() -> None:
    for name in datasets.names():
        if datasets.describe(name).origin == "giftbench" and not name.endswith("/*"):
            assert datasets.card(name).name == name


def test_the_card_of_a_folder_is_read_off_its_images(tmp_path: Path) -> None:
    for split in ("train", "test"):
        for name in ("cat", "dog"):
            (tmp_path / "pets" / split / name).mkdir(parents=True)
            Image.new("RGB", (6, 5), (10, 20, 30)).save(tmp_path / "pets" / split / name / "0.png")
    card = datasets.card("folder:pets", tmp_path)
    assert (card.name, card.shape, card.classes) == ("folder:pets", (3, 5, 6), 2)
    assert card.mean == datasets.load("folder:pets", tmp_path).mean


def test_wrong_names_and_options_are_refused_as_by_load(tmp_path: Path, refused) -> None:
    for ask in (datasets.card, datasets.at_hand):
        with refused(UnknownName, "tiny-imagenet"):
            ask("tiny-imagenets")
        with refused(BadOption, "sise"):
            ask("imagenet-1k(sise=3)")
    with refused(DataError, tmp_path):
        datasets.card("folder:absent", tmp_path)
