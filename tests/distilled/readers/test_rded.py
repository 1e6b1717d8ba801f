"""RDED's class folders: mosaics by size, and what JPEG leaves of an image."""

from __future__ import annotations

from pathlib import Path

from harness import datasets
from harness.datasets.cards import Card
from tests.distilled.readers.publishing import NAMES, TINY, picture, publish_images, read

LARGE = Card("imagenet-1k", (3, 224, 224), 2)


def test_real_images_survive_the_way_through_jpeg(tmp_path: Path) -> None:
    digits = datasets.load("digits")
    card = datasets.card("digits")
    train = digits.train
    for label in range(10):
        for number, image in enumerate(train.images[train.labels == label][:2]):
            file = tmp_path / NAMES["rded"](label, number)
            file.parent.mkdir(exist_ok=True)
            picture(image).save(file, quality=95)
    made = read("rded", tmp_path, card)
    assert made.shape == (1, 16, 16)
    for label in range(10):
        wanted = train.images[train.labels == label][:2].float()
        assert float((made.images[made.labels == label].float() - wanted).abs().mean()) < 4


def test_rded_builds_mosaics_of_four_on_imagenet_only(tmp_path: Path) -> None:
    publish_images(tmp_path / "large", "rded", LARGE, 1)
    publish_images(tmp_path / "small", "rded", TINY, 1)
    said: list[str] = []
    assert read("rded", tmp_path / "large", LARGE, say=said.append).factor == 2
    assert "mosaic factor 2" in said[0]
    assert read("rded", tmp_path / "small", TINY).factor == 1
    assert read("rded", tmp_path / "small", TINY, factor=2).factor == 2
