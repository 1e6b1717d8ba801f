"""Statistics and normalisation, against numpy."""

from __future__ import annotations

import numpy
import pytest
import torch

from harness.core.errors import DataError
from harness.datasets.base import Dataset, normalise, statistics
from harness.datasets.split import Split


@pytest.fixture
def images() -> torch.Tensor:
    return torch.randint(0, 256, (40, 3, 6, 5), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)) // torch.tensor(
        [1, 2, 5], dtype=torch.uint8
    ).view(1, 3, 1, 1)


def test_statistics_are_numpys_of_each_channel(images: torch.Tensor) -> None:
    mean, std = statistics(images)
    pixels = images.numpy() / 255
    assert mean == tuple(round(float(v), 4) for v in pixels.mean((0, 2, 3)))
    assert std == tuple(round(float(v), 4) for v in pixels.std((0, 2, 3)))


def test_statistics_of_constant_images_can_be_divided_by() -> None:
    assert statistics(torch.full((2, 1, 4, 4), 51, dtype=torch.uint8)) == ((0.2,), (1e-4,))


def test_normalised_is_pixels_less_mean_over_std(images: torch.Tensor) -> None:
    mean, std = (0.5, 0.3, 0.1), (0.2, 0.25, 0.3)
    expected = (images.numpy() / 255 - numpy.reshape(mean, (1, 3, 1, 1))) / numpy.reshape(std, (1, 3, 1, 1))
    before = images.clone()
    found = normalise(images, mean, std)
    assert found.dtype == torch.float32
    assert found.is_contiguous(memory_format=torch.channels_last)
    assert numpy.allclose(found.numpy(), expected, atol=1e-5)
    assert torch.equal(images, before)


def test_float_pixels_in_0_to_1_normalise_as_their_bytes_do(images: torch.Tensor) -> None:
    mean, std = (0.5, 0.3, 0.1), (0.2, 0.25, 0.3)
    floats = images.float() / 255
    before = floats.clone()
    assert torch.allclose(normalise(floats, mean, std), normalise(images, mean, std), atol=1e-5)
    assert torch.equal(floats, before)


def test_normalised_train_split_has_mean_0_and_std_1(images: torch.Tensor) -> None:
    found = normalise(images, *statistics(images))
    assert torch.allclose(found.mean((0, 2, 3)), torch.zeros(3), atol=1e-3)
    assert torch.allclose(found.std((0, 2, 3), correction=0), torch.ones(3), atol=1e-3)


GOOD = Split(torch.zeros(2, 1, 4, 4, dtype=torch.uint8), torch.tensor([0, 1]))


@pytest.mark.parametrize(
    ("split", "words"),
    [
        (Split(torch.zeros(2, 1, 4, 4), torch.tensor([0, 1])), "uint8"),
        (Split(torch.zeros(2, 4, 4, dtype=torch.uint8), torch.tensor([0, 1])), "uint8 [N, C, H, W]"),
        (Split(GOOD.images, torch.tensor([0])), "2 images and 1 labels"),
        (Split(GOOD.images[:0], GOOD.labels[:0]), "0 images and 0 labels"),
        (Split(GOOD.images, torch.tensor([0, 2])), "labels outside 0..1"),
        (Split(GOOD.images, torch.tensor([-1, 1])), "labels outside 0..1"),
    ],
)
@pytest.mark.parametrize("place", ["train", "test"])
def test_a_split_that_does_not_fit_is_refused_by_name(split: Split, words: str, place: str) -> None:
    with pytest.raises(DataError, match=f"dataset toy: {place} split") as caught:
        Dataset("toy", **({"train": GOOD, "test": GOOD} | {place: split}), classes=("a", "b"), mean=(0.5,), std=(0.5,))
    assert words in str(caught.value)


def test_splits_of_different_image_sizes_are_refused() -> None:
    other = Split(torch.zeros(2, 1, 5, 4, dtype=torch.uint8), GOOD.labels)
    with pytest.raises(DataError, match="train and test images differ in shape"):
        Dataset("toy", GOOD, other, ("a", "b"), (0.5,), (0.5,))
