"""DATM's files: written as the authors' code writes them, read to the same numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from harness import datasets
from harness.core.errors import DataError
from tests.distilled.readers.published_files import logits, pixels, write
from tests.distilled.readers.publishing import read
from tests.distilled.readers.torch_saved import (
    DIGITS,
    IPC,
    Refused,
    learned_logits,
    publish_datm,
    said_by,
    save,
    whitened,
    whitened_by_numpy,
)


def test_datm_is_whitened_images_their_logits_and_hard_labels_by_place(tmp_path: Path, pixels: Tensor) -> None:
    train = datasets.load("digits").train.images.double().flatten(1) / 255
    mean = train.mean(0)
    values, vectors = torch.linalg.eigh((train - mean).T @ (train - mean) / (len(train) - 1))
    matrix = vectors @ torch.diag((values.clamp_min(0) + 0.1).rsqrt()) @ vectors.T
    expected = ((pixels.double().flatten(1) - mean) @ matrix).view_as(pixels)
    logits = learned_logits()

    made = read("datm", publish_datm(tmp_path, whitened(pixels), logits), DIGITS)

    assert (made.images - expected).abs().max() < 1e-4
    assert made.soft_labels is not None and (made.soft_labels - logits).abs().max() < 1e-5
    assert made.labels.tolist() == [place // 3 for place in range(30)]
    assert (made.normalised, made.whitening, made.soft_kind, made.native_loss) == (True, "zca", "logits", "soft_ce")
    assert made.provenance["lr"] == pytest.approx(0.0123)


def test_a_set_without_a_learning_rate_of_its_own_is_read_when_told_so(tmp_path: Path, pixels: Tensor, refused: Refused) -> None:
    folder = publish_datm(tmp_path, whitened(pixels), learned_logits())
    for rate in (torch.tensor([1.0, 2.0]), torch.tensor(float("nan")), torch.tensor(-0.1), "fast"):
        torch.save(rate, folder / "lr_best.pt")
        with refused(DataError, "lr_best.pt", "one number above 0"):
            read("datm", folder, DIGITS)
    assert "lr" not in read("datm", folder, DIGITS, lr="none").provenance


def test_datm_has_whitened_images_logits_and_hard_labels_by_place_to_five_digits(tmp_path: Path) -> None:
    images, soft = whitened_by_numpy(pixels(DIGITS, IPC)), logits(DIGITS, IPC)
    soft[4] = soft[4].roll(1)  # a learned label may be highest elsewhere; the hard label is index // ipc all the same
    path = save(tmp_path / "set", images_best=images, labels_best=soft, lr_best=torch.tensor(0.00123))
    made, said = said_by("datm", path)
    assert float((made.images - images).abs().max()) < 1e-5 and made.images.dtype == torch.float32
    assert made.soft_labels is not None and float((made.soft_labels - soft).abs().max()) < 1e-5
    assert made.labels.tolist() == [index // IPC for index in range(10 * IPC)]
    assert (made.normalised, made.whitening, made.soft_kind) == (True, "zca", "logits")
    assert (made.native_loss, made.method) == ("soft_ce", "datm")
    assert made.provenance["lr"] == pytest.approx(0.00123, rel=1e-5)
    assert any("ZCA" in line for line in said)


def test_datm_without_zca_is_normalised_only(tmp_path: Path) -> None:
    made, said = said_by("datm", write("datm", tmp_path / "set", DIGITS, IPC), zca=False)
    assert (made.normalised, made.whitening) == (True, "") and any("mean and standard deviation" in line for line in said)


def test_datm_images_zca_are_pixels_in_spite_of_their_name(tmp_path: Path) -> None:
    path = save(
        tmp_path / "set", images_zca_1000=pixels(DIGITS, IPC) / 255, labels_1000=logits(DIGITS, IPC), lr_1000=torch.tensor(0.1)
    )
    made, said = said_by("datm", path, images="images_zca_1000.pt", lr="lr_1000.pt")
    assert (made.normalised, made.whitening) == (False, "") and any(line.startswith("warning: ") for line in said)
    assert torch.equal((made.images * 255).round().to(torch.uint8), pixels(DIGITS, IPC))


@pytest.mark.parametrize("rate", [torch.tensor(-1.0), torch.tensor(float("nan")), torch.tensor([0.1, 0.2]), "fast", {"lr": 0.1}])
def test_datm_refuses_a_learning_rate_that_is_none(tmp_path: Path, rate: Any) -> None:
    path = write("datm", tmp_path / "set", DIGITS, IPC)
    torch.save(rate, path / "lr_best.pt")
    with pytest.raises(DataError, match=r"lr_best\.pt"):
        said_by("datm", path)
    assert "lr" not in said_by("datm", path, lr="none")[0].provenance


def test_datm_without_its_learning_rate_says_how_to_go_on(tmp_path: Path) -> None:
    path = write("datm", tmp_path / "set", DIGITS, IPC)
    (path / "lr_best.pt").unlink()
    with pytest.raises(DataError, match=r"lr_best\.pt: no such file; datm\(lr=none\)"):
        said_by("datm", path)


def test_datm_refuses_a_number_of_images_that_is_no_multiple_of_the_classes(tmp_path: Path) -> None:
    path = save(
        tmp_path / "set", images_best=torch.zeros(19, 1, 16, 16), labels_best=torch.zeros(19, 10), lr_best=torch.tensor(0.1)
    )
    with pytest.raises(DataError, match="19 images"):
        said_by("datm", path)
