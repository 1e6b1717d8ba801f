"""DC-BENCH's files: written as the authors' code writes them, read to the same numbers."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from harness import datasets
from harness.core.errors import DataError
from tests.distilled.readers.published_files import pixels
from tests.distilled.readers.publishing import read
from tests.distilled.readers.torch_saved import (
    CIFAR100,
    COLOUR,
    DIGITS,
    HARD,
    IPC,
    normalised,
    publish_dc,
    said_by,
)


def test_dc_reads_the_last_run(tmp_path: Path, pixels: Tensor) -> None:
    file = publish_dc(tmp_path, normalised(pixels), HARD)
    for path in (file, tmp_path):
        made = read("dc", path, DIGITS, method="dm")
        assert torch.equal(made.images, normalised(pixels)) and torch.equal(made.labels, HARD)
        assert (made.normalised, made.whitening, made.method, made.native_loss) == (True, "", "dm", "ce")


def test_dc_on_cifar100_is_brought_from_its_authors_statistics_to_the_datasets(tmp_path: Path) -> None:
    pixels = torch.rand(8, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    mean, std = torch.tensor([0.5071, 0.4866, 0.4409]), torch.tensor([0.2673, 0.2564, 0.2762])
    file = publish_dc(tmp_path, (pixels - mean.view(3, 1, 1)) / std.view(3, 1, 1), torch.arange(4).repeat_interleave(2))
    wanted = (pixels - torch.tensor(COLOUR.mean).view(3, 1, 1)) / torch.tensor(COLOUR.std).view(3, 1, 1)
    assert (read("dc", file, COLOUR).images - wanted).abs().max() < 1e-5
    assert (read("dc", file, COLOUR, statistics="dataset").images - wanted).abs().max() > 0.05


def test_dc_takes_the_last_of_its_runs(tmp_path: Path) -> None:
    mean, std = 0.3052, 0.3185
    images = (pixels(DIGITS, IPC).float() / 255 - mean) / std
    (tmp_path / "set").mkdir()
    torch.save({"data": [[images * 0, HARD], [images, HARD]], "accs_all_exps": {}}, tmp_path / "set" / "res_DSA.pt")
    made, said = said_by("dc", tmp_path / "set" / "res_DSA.pt", method="dsa")
    assert torch.equal(made.images, images) and torch.equal(made.labels, HARD)
    assert (made.method, made.native_loss, made.normalised, made.whitening) == ("dsa", "ce", True, "")
    assert any("2 runs" in line for line in said)


def test_dc_brings_the_authors_normalisation_of_cifar100_to_the_datasets(tmp_path: Path) -> None:
    real = torch.rand(100, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    theirs, ours = ((0.5071, 0.4866, 0.4409), (0.2673, 0.2564, 0.2762)), (CIFAR100.mean, CIFAR100.std)

    def normalised(statistics: Any) -> Tensor:
        mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in statistics)
        return (real - mean) / std

    torch.save({"data": [[normalised(theirs), torch.arange(100)]]}, tmp_path / "res.pt")
    made, _ = said_by("dc", tmp_path / "res.pt", CIFAR100)
    assert float((made.images - normalised(ours)).abs().max()) < 1e-5
    made, _ = said_by("dc", tmp_path / "res.pt", CIFAR100, statistics="dataset")
    assert torch.equal(made.images, normalised(theirs))


@pytest.mark.parametrize("content", [{}, {"data": []}, {"data": 3}, {"data": [[torch.zeros(2)]]}, [1, 2], torch.zeros(3)])
def test_dc_refuses_other_structures(tmp_path: Path, content: Any) -> None:
    torch.save(content, tmp_path / "res.pt")
    with pytest.raises(DataError, match=r"res\.pt"):
        said_by("dc", tmp_path / "res.pt")


def test_dc_reads_the_format_of_torch_1_2_which_its_authors_publish_in(tmp_path: Path, pixels: Tensor) -> None:
    content = {
        "data": [[normalised(pixels) + 1, HARD], [normalised(pixels), HARD]],
        "accs_all_exps": {"ConvNet": [np.float64(0.5)]},
    }
    torch.save(content, tmp_path / "res.pt", _use_new_zipfile_serialization=False)
    assert not zipfile.is_zipfile(tmp_path / "res.pt")
    made = read("dc", tmp_path / "res.pt", DIGITS)
    assert torch.equal(made.images, normalised(pixels)) and torch.equal(made.labels, HARD)


def test_dc_on_fashion_mnist_is_28_pixels_which_stand_in_black_where_the_datasets_do(tmp_path: Path) -> None:
    pixels = torch.rand(10, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    torch.save({"data": [[(pixels - 0.2861) / 0.3530, torch.arange(10)]]}, tmp_path / "res.pt")  # as its authors normalise

    framed, said = said_by("dc", tmp_path / "res.pt", datasets.card("fashion-mnist"))
    wanted = (functional.pad(pixels, (2, 2, 2, 2)) - 0.219) / 0.3318  # as the dataset pads and normalises
    assert float((framed.images - wanted).abs().max()) < 1e-5 and framed.normalised
    assert any("28 px" in line for line in said) and "28 px" in framed.provenance["assumed"]["normalisation"]

    bare, _ = said_by("dc", tmp_path / "res.pt", datasets.card("fashion-mnist(size=28)"))
    assert float((bare.images - (pixels - 0.286) / 0.353).abs().max()) < 1e-5
    taken, _ = said_by("dc", tmp_path / "res.pt", datasets.card("fashion-mnist"), statistics="dataset")
    assert torch.equal(taken.images[:, :, 2:-2, 2:-2], (pixels - 0.2861) / 0.3530)

    torch.save({"data": [[pixels[:, :, 1:-1, 1:-1], torch.arange(10)]]}, tmp_path / "res.pt")
    with pytest.raises(DataError, match=r"images of fashion-mnist must be \[N, 1, 32, 32\], these are \[10, 1, 26, 26\]"):
        said_by("dc", tmp_path / "res.pt", datasets.card("fashion-mnist"))


def test_dc_on_fashion_mnist_that_somebody_saved_at_32_pixels_is_taken_as_the_datasets(tmp_path: Path) -> None:
    images = torch.randn(10, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    torch.save({"data": [[images, torch.arange(10)]]}, tmp_path / "res.pt")
    assert torch.equal(said_by("dc", tmp_path / "res.pt", datasets.card("fashion-mnist"))[0].images, images)
