"""What the sets of trajectory matching share: whitening, names of files, labels of their kind."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from harness.core.errors import DataError
from tests.distilled.readers.publishing import read
from tests.distilled.readers.torch_saved import (
    DIGITS,
    HARD,
    Refused,
    learned_logits,
    publish_datm,
    publish_mtt,
    said_by,
    save,
    whitened,
)


def test_unwhitened_pixels_are_taken_as_pixels_with_a_warning(tmp_path: Path, pixels: Tensor, refused: Refused) -> None:
    """images_zca_*.pt are, in spite of the name, what the whitening was undone of."""
    publish_datm(tmp_path, whitened(pixels), learned_logits())
    torch.save(pixels, tmp_path / "images_zca_5000.pt")
    torch.save(learned_logits() + 1, tmp_path / "labels_5000.pt")
    said: list[str] = []
    made = read("datm", tmp_path / "images_zca_5000.pt", DIGITS, say=said.append)
    assert not made.normalised and made.whitening == "" and torch.equal(made.images, pixels)
    assert made.soft_labels is not None and torch.equal(made.soft_labels, learned_logits() + 1)  # those of the same iteration
    assert any(line.startswith("warning: images_zca_5000.pt") and "un-whitened" in line for line in said)
    torch.save(pixels * 3, tmp_path / "images_zca_5000.pt")
    with refused(DataError, "images_zca_5000.pt", "[0, 1]"):
        read("datm", tmp_path, DIGITS, images="images_zca_5000.pt")


def test_a_name_that_leaves_the_folder_is_refused(tmp_path: Path, pixels: Tensor, refused: Refused) -> None:
    (tmp_path / "set").mkdir()
    publish_mtt(tmp_path, whitened(pixels), HARD)
    folder = publish_mtt(tmp_path / "set", whitened(pixels), HARD)
    for option in ("images", "labels"):
        with refused(DataError, "leaves the folder"):
            read("mtt", folder, DIGITS, **{option: "../labels_best.pt"})
    (folder / "images_best.pt").unlink()
    (folder / "images_best.pt").symlink_to(tmp_path / "images_best.pt")
    with refused(DataError, "leaves the folder"):
        read("mtt", folder, DIGITS)


def test_the_wrong_reader_is_told_by_the_labels(tmp_path: Path, pixels: Tensor, refused: Refused) -> None:
    folder = publish_datm(tmp_path, whitened(pixels), learned_logits())
    with refused(DataError, "labels_best.pt", "'datm'"):
        read("mtt", folder, DIGITS)
    with refused(DataError, "labels_best.pt", "'datm'"):
        read("tesla", folder, DIGITS)


def test_the_images_own_file_takes_the_labels_saved_with_it(tmp_path: Path) -> None:
    path = save(tmp_path / "set", images_best=torch.zeros(10, 1, 16, 16), labels_best=torch.arange(10))
    save(path, images_500=torch.ones(30, 1, 16, 16), labels_500=HARD)
    made, _ = said_by("mtt", path / "images_500.pt")
    assert len(made) == 30 and set(made.provenance["files"]) == {"images_500.pt", "labels_500.pt"}


@pytest.mark.parametrize(("form", "labels"), [("datm", learned_logits()), ("mtt", HARD)])
def test_a_run_has_its_set_in_normal(tmp_path: Path, pixels: Tensor, refused: Refused, form: str, labels: Tensor) -> None:
    publish = publish_datm if form == "datm" else publish_mtt
    (tmp_path / "Normal").mkdir()
    publish(tmp_path / "Normal", whitened(pixels), labels)
    direct = read(form, tmp_path / "Normal", DIGITS)
    made, said = said_by(form, tmp_path)
    assert made.digest == direct.digest and made.provenance == direct.provenance
    assert any("Normal/" in line for line in said)

    publish(tmp_path, whitened(1 - pixels), labels)  # a set in the folder itself is the one that is meant
    assert torch.equal(read(form, tmp_path, DIGITS).images, whitened(1 - pixels))
    for file in tmp_path.glob("*.pt"):
        file.unlink()
    (tmp_path / "Normal" / "images_best.pt").unlink()
    with refused(DataError, "Normal/images_best.pt: no such file"):
        read(form, tmp_path, DIGITS)


def test_a_normal_that_leads_out_of_the_folder_is_refused(tmp_path: Path, pixels: Tensor, refused: Refused) -> None:
    (tmp_path / "run").mkdir()
    publish_mtt(tmp_path, whitened(pixels), HARD)
    (tmp_path / "run" / "Normal").symlink_to(tmp_path)
    with refused(DataError, "leaves the folder"):
        read("mtt", tmp_path / "run", DIGITS)
