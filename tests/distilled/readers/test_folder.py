"""Class folders by any usual naming: what the names show is taken and said; an order that nothing shows is not guessed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms.functional import center_crop, pil_to_tensor, resize

from harness.core.errors import DataError
from harness.datasets.cards import CIFAR10, Card
from harness.distilled import readers
from harness.distilled.order import Order
from harness.distilled.reading import Reading
from harness.distilled.set import DistilledSet
from tests.distilled.readers.publishing import picture, smooth

CARD = Card("cifar10", (3, 8, 8), 10, names=CIFAR10)
BARE = Card("imagenet-1k", (3, 8, 8), 12)


def publish(root: Path, card: Card, name: Callable[[int], str], ipc: int = 2, file: str = "{number}.png") -> Tensor:
    """Write a set; image i of class c is the c * ipc + i-th of what is returned."""
    images = smooth(card.classes * ipc, card)
    for place, image in enumerate(images):
        path = root / name(place // ipc) / file.format(label=place // ipc, number=place % ipc)
        path.parent.mkdir(parents=True, exist_ok=True)
        picture(image).save(path)
    return images


def said_by(
    path: Path, card: Card, ipc: int | None = None, order: Order | None = None, **options: object
) -> tuple[DistilledSet, str]:
    said: list[str] = []
    made = readers.create("folder", **options)(Reading(path, card, ipc, 1, said.append, order))
    return made, "\n".join(said)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        (str, "the folders' numbers"),
        ("{:05d}".format, "the folders' numbers"),
        ("new{:03d}".format, "the folders' numbers"),
        ("cls_{}".format, "the folders' numbers"),
        (CIFAR10.__getitem__, "the dataset's names"),
        (lambda label: CIFAR10[label].upper(), "the dataset's names"),
        (lambda label: f"{label}_{CIFAR10[label]}", "the folders' numbers, at the beginning of longer ones"),
    ],
)
def test_numbers_and_names_are_the_classes_and_that_is_said(tmp_path: Path, name: Callable[[int], str], words: str) -> None:
    images = publish(tmp_path / "set", CARD, name)
    made, said = said_by(tmp_path / "set", CARD)
    assert torch.equal(made.images, images) and made.labels.tolist() == [label for label in range(10) for _ in range(2)]
    assert f"set: 20 images, the order of the classes: {words}" in said
    assert made.provenance["assumed"]["classes"] == words and made.native_loss == ""


def test_wordnet_ids_are_sorted_also_before_a_name(tmp_path: Path) -> None:
    for form in ("n{:08d}", "n{:08d}-fish"):
        images = publish(tmp_path / form, BARE, lambda label: form.format(1440764 + label * 3))  # noqa: B023
        made, said = said_by(tmp_path / form, BARE)
        assert torch.equal(made.images, images) and "WordNet ids, so the classes are these, sorted" in said


def test_prompts_are_refused_until_their_order_is_stated(tmp_path: Path, refused) -> None:
    prompts = [f"a photo of a {name}, 4k" for name in reversed(CIFAR10)]
    images = publish(tmp_path / "set", CARD, prompts.__getitem__)
    with refused(DataError, tmp_path / "set", "'a photo of a airplane, 4k'", "--classes FILE, on line i the folder of class i"):
        said_by(tmp_path / "set", CARD)
    made, said = said_by(tmp_path / "set", CARD, order=Order("prompts.txt", tuple(prompts)))
    assert torch.equal(made.images, images) and "as prompts.txt lists them" in said
    assert made.provenance["order"] == "prompts.txt"


def test_files_have_any_names_and_a_lower_ipc_is_by_number_where_all_are_numbers(tmp_path: Path) -> None:
    images = publish(tmp_path / "numbers", CARD, str, ipc=11)
    made, said = said_by(tmp_path / "numbers", CARD, ipc=3)
    assert torch.equal(made.images, images.view(10, 11, 3, 8, 8)[:, :3].flatten(0, 1))
    assert "the first 3 of 11 images a class, by number" in said
    images = publish(tmp_path / "names", CARD, str, ipc=11, file="img{number}.png")
    made, said = said_by(tmp_path / "names", CARD, ipc=3)
    assert torch.equal(made.images, images.view(10, 11, 3, 8, 8)[:, [0, 1, 10]].flatten(0, 1))
    assert "the first 3 of 11 images a class, by name" in said


def test_images_lie_in_a_folder_of_the_class_or_below_train(tmp_path: Path) -> None:
    images = publish(tmp_path / "set" / "train", CARD, lambda label: f"{label}/images")
    publish(tmp_path / "set" / "val", CARD, str)
    made, said = said_by(tmp_path / "set", CARD)
    assert torch.equal(made.images, images) and "set: what is in its train/ is read" in said


@pytest.mark.parametrize("side", [(10, 10), (12, 9), (5, 6)])
def test_images_of_another_size_are_resized_as_torchvision_does_and_that_is_said(tmp_path: Path, side: tuple[int, int]) -> None:
    card = Card("cifar10", (3, *side), 10)
    images = publish(tmp_path / "set", card, str)
    made, said = said_by(tmp_path / "set", CARD)
    wanted = [pil_to_tensor(center_crop(resize(picture(image), 8, antialias=True), [8, 8])) for image in images]
    assert torch.equal(made.images, torch.stack(wanted))
    words = f"images of {side[1]}x{side[0]} px are resized to 8x8 px, bilinear, the centre cropped"
    assert words in said and words in made.provenance["assumed"]["size"]
    assert ("warning: " in said) == ("which enlarges some" in said) == (min(side) < 8)


def test_images_of_several_sizes_are_told(tmp_path: Path) -> None:
    publish(tmp_path / "set", CARD, str)
    Image.new("RGB", (20, 30)).save(tmp_path / "set" / "3" / "1.png")
    assert "images of 2 sizes, 8x8 to 20x30 px are resized to 8x8 px" in said_by(tmp_path / "set", CARD)[1]


def test_classes_of_different_sizes_are_read_where_that_is_stated(tmp_path: Path, refused) -> None:
    publish(tmp_path / "set", CARD, str)
    (tmp_path / "set" / "4" / "1.png").unlink()
    with refused(DataError, tmp_path / "set" / "4", "1 images where 0 has 2", "folder(uneven=true) takes them as they are"):
        said_by(tmp_path / "set", CARD)
    made, _ = said_by(tmp_path / "set", CARD, uneven=True)
    assert made.labels.bincount().tolist() == [2, 2, 2, 2, 1, 2, 2, 2, 2, 2] and made.ipc == 1.9
    assert said_by(tmp_path / "set", CARD, ipc=1, uneven=True)[0].labels.tolist() == list(range(10))
    with refused(DataError, "1 images a class, 2 are asked for"):
        said_by(tmp_path / "set", CARD, ipc=2, uneven=True)


@pytest.mark.parametrize(
    "stray", ["Thumbs.db", "desktop.ini", "__MACOSX/0/._a.png", "logs/run.txt", "train.log", ".cache/x.png", "wandb/media/a.png"]
)
def test_what_systems_and_tools_leave_is_passed_over_beside_classes_and_in_them(tmp_path: Path, stray: str) -> None:
    images = publish(tmp_path / "set", CARD, str)
    for place in (tmp_path / "set", tmp_path / "set" / "3"):
        (place / stray).parent.mkdir(parents=True, exist_ok=True)
        (place / stray).write_text("x")
    assert torch.equal(said_by(tmp_path / "set", CARD)[0].images, images)


def test_its_bytes_are_those_of_its_files(tmp_path: Path) -> None:
    publish(tmp_path / "set", CARD, str)
    made, _ = said_by(tmp_path / "set", CARD, ipc=1)
    assert made.image_bytes == sum(file.stat().st_size for file in (tmp_path / "set").glob("*/0.png"))
    assert made.label_bytes == 10 and not made.plain
