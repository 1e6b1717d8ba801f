"""What readers of encoded images share: pixels as they are, or resized with a word of it; too many are refused unread."""

from __future__ import annotations

from pathlib import Path

import numpy
import pytest
import torch
from PIL import Image
from torchvision.transforms.functional import center_crop, pil_to_tensor, resize

from harness.core.errors import DataError
from harness.datasets.cards import Card
from harness.distilled.readers import encoded
from harness.distilled.reading import Reading

CARD = Card("small", (3, 12, 12), 2)


def saved(path: Path, width: int, height: int) -> str:
    noise = numpy.random.default_rng(width * height).integers(0, 256, (height, width, 3), dtype=numpy.uint8)
    Image.fromarray(noise).save(path)
    return str(path)


def reading(folder: Path, said: list[str], card: Card = CARD) -> Reading:
    return Reading(folder, card, None, 1, said.append)


def test_images_of_the_cards_size_are_read_as_they_are_and_nothing_is_said(tmp_path: Path) -> None:
    said: list[str] = []
    files = [saved(tmp_path / f"{number}.png", 12, 12) for number in range(3)]
    decoded, words = encoded.pixels(files, reading(tmp_path, said), tmp_path)
    assert torch.equal(decoded.images, torch.stack([pil_to_tensor(Image.open(file)) for file in files]))
    assert (words, said) == ("", [])


@pytest.mark.parametrize(("width", "height", "enlarged"), [(24, 18, False), (18, 30, False), (8, 9, True)])
def test_images_of_another_size_are_brought_to_the_cards_and_that_is_said(
    tmp_path: Path, width: int, height: int, enlarged: bool
) -> None:
    said: list[str] = []
    files = [saved(tmp_path / "0.png", 12, 12), saved(tmp_path / "1.png", width, height)]
    decoded, words = encoded.pixels(files, reading(tmp_path, said), tmp_path)
    expected = center_crop(resize(Image.open(files[1]), [12]), [12, 12])
    assert torch.equal(decoded.images[1], pil_to_tensor(expected))
    assert said == [f"{tmp_path.name}: {words}"]
    assert "resized to 12x12 px" in words
    assert words.startswith("warning") is enlarged


def test_more_pixels_than_a_set_may_have_are_refused_before_any_is_read(tmp_path: Path) -> None:
    large = reading(tmp_path, [], Card("large", (3, 4096, 4096), 2))
    with pytest.raises(DataError, match="GiB of pixels, above the limit"):
        encoded.check_room(1 << 20, large, tmp_path)
    encoded.check_room(2, large, tmp_path)
