"""MTT's files: written as the authors' code writes them, read to the same numbers."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from harness.core.errors import DataError
from tests.distilled.readers.published_files import pixels, write
from tests.distilled.readers.publishing import read
from tests.distilled.readers.torch_saved import (
    DIGITS,
    HARD,
    IPC,
    normalised,
    publish_mtt,
    said_by,
    save,
    whitened_by_numpy,
)


def test_mtt_has_hard_labels_and_is_whitened_or_normalised_as_told(tmp_path: Path, pixels: Tensor) -> None:
    folder = publish_mtt(tmp_path, normalised(pixels), HARD)
    made, plain = read("mtt", folder, DIGITS), read("mtt", folder, DIGITS, zca=False)
    assert (made.whitening, plain.whitening, plain.normalised) == ("zca", "", True)
    assert torch.equal(plain.images, normalised(pixels)) and torch.equal(plain.labels, HARD)
    assert plain.soft_labels is None and plain.native_loss == "ce"


def test_mtt_in_parts_is_read_whole(tmp_path: Path, pixels: Tensor) -> None:
    """As DC-BENCH keeps Tiny-ImageNet at IPC 50."""
    for part in range(3):
        torch.save(pixels[part * 10 : part * 10 + 10], tmp_path / f"images_best_{part}.pt")
        torch.save(HARD[part * 10 : part * 10 + 10], tmp_path / f"labels_best_{part}.pt")
    made = read("mtt", tmp_path, DIGITS)
    assert torch.equal(made.images, pixels) and torch.equal(made.labels, HARD)
    assert len(made.provenance["files"]) == 6


def test_mtt_has_hard_labels_and_no_soft_ones(tmp_path: Path) -> None:
    images = whitened_by_numpy(pixels(DIGITS, IPC))
    made, _ = said_by("mtt", save(tmp_path / "set", images_best=images, labels_best=HARD))
    assert torch.equal(made.images, images) and torch.equal(made.labels, HARD) and made.soft_labels is None
    assert (made.native_loss, made.whitening) == ("ce", "zca")


def test_mtt_in_parts_is_read_in_their_order(tmp_path: Path) -> None:
    images = whitened_by_numpy(pixels(DIGITS, IPC))
    parts = {f"images_best_{part}": images[part * 10 : part * 10 + 10].clone() for part in range(3)}
    made, _ = said_by("mtt", save(tmp_path / "set", labels_best=HARD, **parts))
    assert torch.equal(made.images, images)


def test_mtt_sends_soft_labels_to_the_readers_that_have_them(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="'datm'"):
        said_by("mtt", write("datm", tmp_path / "set", DIGITS, IPC))


@pytest.mark.parametrize("form", ["mtt", "tesla"])
def test_8_bit_pixels_are_pixels_whatever_zca_says_and_weigh_one_byte(tmp_path: Path, pixels: Tensor, form: str) -> None:
    eight_bits = (pixels * 255).round().to(torch.uint8)
    made, said = said_by(form, publish_mtt(tmp_path, eight_bits, HARD))
    assert torch.equal(made.images, eight_bits) and torch.equal(made.labels, HARD)
    assert not made.normalised and not made.whitening
    assert any("8-bit pixels, so neither whitened nor normalised" in line for line in said)


def test_parts_of_which_some_are_8_bits_are_refused(tmp_path: Path, pixels: Tensor, refused) -> None:
    for part, images in enumerate((pixels[:15], (pixels[15:] * 255).to(torch.uint8))):
        torch.save(images, tmp_path / f"images_best_{part}.pt")
        torch.save(HARD[part * 15 : part * 15 + 15], tmp_path / f"labels_best_{part}.pt")
    with refused(DataError, "images_best_0.pt", "some of its parts hold 8-bit pixels"):
        read("mtt", tmp_path, DIGITS)
