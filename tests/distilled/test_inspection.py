"""What a person sees of a set: its facts, and a picture."""

from __future__ import annotations

from pathlib import Path

import numpy
import pytest
import torch
from PIL import Image

from harness import DistilledSet
from harness.core.errors import DataError, WriteError
from harness.distilled.inspection import describe, draw


def made(labels: list[int], channels: int = 3, side: int = 8, value: int = 200, **changes) -> DistilledSet:
    images = torch.full((len(labels), channels, side, side), value, dtype=torch.uint8)
    return DistilledSet(images, torch.tensor(labels), **({"dataset": "digits", "method": "mine"} | changes))


def facts(distilled: DistilledSet) -> dict[str, str]:
    return {line.split("  ")[0]: line.split("  ", 1)[1].strip() for line in describe(distilled).splitlines()}


def test_facts_are_one_a_line_and_complete() -> None:
    distilled = made([0, 0, 1, 1], native_loss="kl", provenance={"seed": 3}, factor=2)
    found = facts(distilled)
    assert found["digest"] == distilled.digest
    assert (found["method"], found["dataset"], found["native loss"], found["mosaic factor"]) == ("mine", "digits", "kl", "2")
    assert found["images"] == "4 of 3x8x8 uint8, pixels"
    assert found["values"] == "200 to 200, mean 200"
    assert found["classes"] == "2, 2 a class"
    assert found["provenance"] == '{"seed": 3}'
    assert found["soft labels"].startswith("none")


def test_uneven_classes_soft_labels_and_normalised_images_are_said() -> None:
    images = torch.tensor([-1.5, 0, 1.5]).view(3, 1, 1, 1).expand(3, 1, 4, 4)
    soft = torch.full((3, 3), 1 / 3)
    labels = torch.tensor([0, 0, 1])
    found = facts(DistilledSet(images, labels, soft, dataset="digits", method="mine", normalised=True, soft_kind="probabilities"))
    assert found["classes"] == "3, 0 to 2 a class"
    assert found["soft labels"] == "probabilities, [3, 3]"
    assert found["images"] == "3 of 1x4x4 float32, normalised already"
    assert found["values"] == "-1.5 to 1.5, mean 0"
    assert found["native loss"] == "none stated"


@pytest.mark.parametrize(
    ("labels", "channels", "side", "size"),
    [
        ([0, 0, 1, 1, 1], 3, 8, (3 * 9 + 1, 2 * 9 + 1)),  # width: the fullest class; height: the classes
        ([0, 1, 2], 1, 8, (9 + 1, 3 * 9 + 1)),
        ([0] * 30, 3, 8, (20 * 9 + 1, 9 + 1)),
        (list(range(30)), 3, 8, (9 + 1, 20 * 9 + 1)),
        ([0, 0], 3, 64, (2 * 65 + 1, 65 + 1)),
    ],
)
def test_picture_has_a_row_a_class_and_a_column_an_image(
    tmp_path: Path, labels: list[int], channels: int, side: int, size: tuple[int, int]
) -> None:
    path = draw(made(labels, channels, side), tmp_path / "new" / "grid.png")
    zoom = 4 if side == 8 else 1
    with Image.open(path) as picture:
        assert picture.format == "PNG"
        assert picture.size == (size[0] * zoom, size[1] * zoom)


def centres(path: Path, side: int, rows: int, columns: int) -> numpy.ndarray:
    """The red value in the middle of each cell."""
    with Image.open(path) as picture:
        pixels = numpy.asarray(
            picture.convert("RGB").resize((columns * (side + 1) + 1, rows * (side + 1) + 1), Image.Resampling.NEAREST)
        )
    return pixels[side // 2 + 1 :: side + 1, side // 2 + 1 :: side + 1, 0]


def test_picture_shows_each_image_in_the_row_of_its_class_and_blanks_where_there_is_none(tmp_path: Path) -> None:
    images = torch.tensor([10, 20, 30, 40], dtype=torch.uint8).view(4, 1, 1, 1).expand(4, 1, 8, 8)
    distilled = DistilledSet(images, torch.tensor([1, 0, 1, 1]), dataset="digits", method="mine")
    assert centres(draw(distilled, tmp_path / "grid.png"), 8, 2, 3).tolist() == [[20, 255, 255], [10, 30, 40]]


@pytest.mark.parametrize(
    ("images", "normalised", "shown"),
    [
        (torch.tensor([0.0, 0.2, 1.0]), False, [0, 51, 255]),
        (torch.tensor([0.0, 0.2, 0.4]), False, [0, 51, 102]),
        (torch.tensor([-2.0, 0.0, 2.0]), True, [0, 128, 255]),
        (torch.tensor([0, 1, 1], dtype=torch.uint8), False, [0, 1, 1]),
    ],
)
def test_values_are_shown_as_what_they_are(tmp_path: Path, images: torch.Tensor, normalised: bool, shown: list[int]) -> None:
    whole = images.view(3, 1, 1, 1).expand(3, 3, 8, 8)
    distilled = DistilledSet(whole, torch.zeros(3, dtype=torch.int64), dataset="digits", method="mine", normalised=normalised)
    assert centres(draw(distilled, tmp_path / "grid.png"), 8, 1, 3).tolist() == [shown]


def test_a_picture_that_cannot_be_drawn_or_written_is_refused(tmp_path: Path, refused) -> None:
    with refused(DataError, "5 channels"):
        draw(made([0], channels=5), tmp_path / "grid.png")
    (tmp_path / "folder.png").mkdir()
    with refused(WriteError, tmp_path / "folder.png", "cannot be written"):
        draw(made([0]), tmp_path / "folder.png")
