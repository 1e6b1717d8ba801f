"""ZCA as MTT and DATM do it, computed here by numpy; fitted once."""

from __future__ import annotations

from pathlib import Path

import numpy
import pytest
import torch

from harness import datasets
from harness.core.errors import DataError
from harness.datasets import whitening
from harness.datasets.base import Dataset
from harness.datasets.split import Split
from harness.datasets.whitening import EPS


@pytest.fixture
def digits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Dataset:
    monkeypatch.setenv("GIFTBENCH_HOME", str(tmp_path / "home"))
    whitening._load.cache_clear()
    return datasets.load("digits")


def by_numpy(dataset: Dataset, images: torch.Tensor) -> numpy.ndarray:
    """(x - mean) U (S + eps)^(-1/2) U^T of pixels in [0, 1], in float64."""
    train = dataset.train.images.double().flatten(1).numpy() / 255
    mean = train.mean(0)
    values, vectors = numpy.linalg.eigh(numpy.cov(train.T))
    matrix = vectors @ numpy.diag((values.clip(0) + EPS) ** -0.5) @ vectors.T
    return ((images.double().flatten(1).numpy() / 255 - mean) @ matrix).reshape(images.shape)


def test_the_test_split_is_whitened_by_the_transform_of_the_train_split(digits: Dataset) -> None:
    made = whitening.whitening(digits, "cpu").apply(digits.test.images)
    assert numpy.abs(made.numpy() - by_numpy(digits, digits.test.images)).max() < 1e-5


def test_whitening_turns_back_into_pixels(digits: Dataset) -> None:
    zca, pixels = whitening.whitening(digits, "cpu"), digits.test.images[:50].float() / 255
    assert torch.allclose(zca.invert(zca.apply(pixels)), pixels, atol=1e-4)


def test_it_is_fitted_once_for_a_content_of_the_train_split(digits: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    first = whitening.whitening(digits, "cpu").apply(digits.test.images[:5])
    fitted: list[str] = []
    monkeypatch.setattr(whitening, "_fit", lambda dataset, device, path: fitted.append(dataset.name))
    whitening._load.cache_clear()
    assert torch.equal(whitening.whitening(digits, "cpu").apply(digits.test.images[:5]), first)
    assert not fitted
    other = Dataset("other", Split(255 - digits.train.images, digits.train.labels), digits.test, digits.classes, (0.5,), (0.5,))
    with pytest.raises(DataError):  # nothing was fitted, so nothing lies there
        whitening.whitening(other, "cpu")
    assert fitted == ["other"]


def test_a_damaged_cache_is_named(digits: Dataset, tmp_path: Path) -> None:
    whitening.whitening(digits, "cpu")
    (file,) = (tmp_path / "home" / "whitening").glob("*.safetensors")
    file.write_bytes(file.read_bytes()[:100])
    whitening._load.cache_clear()
    with pytest.raises(DataError, match="damaged cache of a ZCA transform; delete it"):
        whitening.whitening(digits, "cpu")


def test_images_whose_matrix_is_out_of_reach_are_refused() -> None:
    split = Split(torch.zeros(2, 3, 224, 224, dtype=torch.uint8), torch.arange(2))
    with pytest.raises(DataError, match="ZCA of 150528 values an image is out of reach"):
        whitening.whitening(Dataset("large", split, split, ("a", "b"), (0.5,) * 3, (0.5,) * 3), "cpu")
