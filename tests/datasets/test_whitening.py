"""ZCA as MTT and DATM do it, computed here by numpy; fitted once; the test split is whitened, and the teacher sees pixels."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy
import pytest
import torch

from harness import DistilledSet, Trial, datasets
from harness.core.errors import DataError
from harness.datasets import whitening
from harness.datasets.base import Dataset, normalise
from harness.datasets.split import Split
from harness.datasets.whitening import EPS
from harness.planning.artefacts import Artefacts
from harness.running.workbench import Workbench


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


@pytest.fixture
def whitened(digits: Dataset, tmp_path: Path) -> Path:
    """A whitened set of ten real digits."""
    chosen = torch.stack([(digits.train.labels == label).nonzero()[0, 0] for label in range(10)])
    images = torch.from_numpy(by_numpy(digits, digits.train.images[chosen])).float()
    labels = digits.train.labels[chosen]
    made = DistilledSet(images, labels, dataset="digits", method="datm", normalised=True, whitening="zca", native_loss="ce")
    return made.save(tmp_path / "set.safetensors")


def test_a_trial_on_a_whitened_set_is_tested_on_whitened_images(
    digits: Dataset, whitened: Path, plan: Callable[..., list[Trial]], tmp_path: Path
) -> None:
    (trial, *_) = plan(sets=[{"file": str(whitened)}], losses=["ce"])
    workbench = Workbench("cpu", Artefacts(tmp_path / "artefacts"))
    test, train = workbench.test_material(trial), workbench.material(trial)
    index = torch.arange(len(digits.test.labels))
    assert numpy.abs(test.batch(index).numpy() - by_numpy(digits, digits.test.images)).max() < 1e-5
    assert torch.equal(train.batch(torch.arange(10)), DistilledSet.load(whitened).images)


def test_the_teacher_of_a_whitened_set_sees_the_pixels_it_was_trained_on(
    digits: Dataset, whitened: Path, plan: Callable[..., list[Trial]], tmp_path: Path
) -> None:
    (trial, *_) = plan(sets=[{"file": str(whitened)}], losses=["gift"])
    workbench = Workbench("cpu", Artefacts(tmp_path / "artefacts"))
    teacher, taught = workbench.teacher(trial), workbench.soft_labels(trial)
    assert teacher is not None and taught is not None
    chosen = torch.stack([(digits.train.labels == label).nonzero()[0, 0] for label in range(10)])
    seen = normalise(digits.train.images[chosen], digits.mean, digits.std)
    assert torch.allclose(taught(workbench.material(trial).batch(torch.arange(10))), teacher.logits(seen), atol=1e-3)
