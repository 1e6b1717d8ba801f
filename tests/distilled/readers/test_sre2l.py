"""SRe2L's class folders, and CDA's: of three digits or five, labelled online by a teacher."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.distilled.readers.publishing import COLOUR, decoded, publish_images, read


@pytest.mark.parametrize(("format", "name"), [("sre2l", "new001/class001_id001.jpg"), ("cda", "new00001/class00001_id001.jpg")])
def test_images_are_those_of_the_authors_files(tmp_path: Path, format: str, name: str) -> None:
    made = read(format, publish_images(tmp_path, format, COLOUR, 2), COLOUR)
    assert torch.equal(made.images[3], decoded(tmp_path / name))
    assert made.labels.tolist() == [label for label in range(10) for _ in range(2)]


@pytest.mark.parametrize("format", ["sre2l", "cda"])
def test_labels_come_from_a_teacher_and_the_method_has_its_own_name(tmp_path: Path, format: str) -> None:
    made = read(format, publish_images(tmp_path, format, COLOUR, 1), COLOUR)
    assert (made.method, made.native_loss, made.factor, made.soft_labels) == (format, "kl", 1, None)
    assert made.images.dtype == torch.uint8 and not made.normalised


def test_an_image_that_is_no_jpeg_is_said(tmp_path: Path) -> None:
    said: list[str] = []
    read("sre2l", publish_images(tmp_path, "gvbsm", COLOUR, 1), COLOUR, say=said.append)
    assert len(said) == 1
    assert "class000_id000.png" in said[0]
    assert "JPEG" in said[0]
