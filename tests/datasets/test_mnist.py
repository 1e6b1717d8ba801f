"""MNIST from IDX files, and what tells it from Fashion-MNIST, whose files are named alike."""

from __future__ import annotations

from pathlib import Path

import numpy
import pytest

from harness import datasets
from harness.core.errors import BadOption, DataError
from harness.datasets.presence import IDX_FILES
from tests.datasets.test_fashion_mnist import pixels, write


@pytest.mark.parametrize("packed", [True, False], ids=["gz", "plain"])
@pytest.mark.parametrize("inside", ["mnist", "MNIST/raw"])
def test_files_are_found_in_folders_of_its_name(tmp_path: Path, inside: str, packed: bool) -> None:
    write(tmp_path / inside, packed)
    mnist = datasets.load("mnist", tmp_path)
    assert mnist.shape == (1, 32, 32)
    assert numpy.array_equal(mnist.test.images[:, 0].numpy(), numpy.pad(pixels("test"), ((0, 0), (2, 2), (2, 2))))
    assert mnist.test.labels.tolist() == list(range(10))
    assert mnist.classes == tuple("0123456789")
    assert datasets.at_hand("mnist", tmp_path) == (True, str(tmp_path / inside))
    assert datasets.load("mnist", tmp_path / inside).digest == mnist.digest


def test_the_normalisation_is_the_usual_one_and_that_of_its_padding(tmp_path: Path) -> None:
    write(tmp_path / "mnist", packed=False)
    small, padded = datasets.load("mnist(size=28)", tmp_path), datasets.load("mnist", tmp_path)
    assert (small.mean, small.std) == ((0.1307,), (0.3081,))
    own = numpy.where(numpy.random.default_rng(0).random((400, 28, 28)) < 0.2, 1.0, 0.0)
    around = numpy.pad(own, ((0, 0), (2, 2), (2, 2)))
    share = around.mean() / own.mean()
    assert padded.mean[0] == pytest.approx(0.1307 * share, abs=1e-4)
    second = (0.3081**2 + 0.1307**2) * share
    assert padded.std[0] == pytest.approx((second - (0.1307 * share) ** 2) ** 0.5, abs=1e-4)


def test_files_that_may_be_fashion_mnists_are_not_taken(tmp_path: Path, refused) -> None:
    write(tmp_path, packed=True)
    assert datasets.at_hand("mnist", tmp_path) == (False, "put its four IDX files into the data folder's mnist/")
    with refused(DataError, "mnist", IDX_FILES["train"][0], tmp_path / "mnist", tmp_path / "MNIST" / "raw"):
        datasets.load("mnist", tmp_path)


def test_another_size_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadOption, match="size must be 28 or 32, not 30"):
        datasets.load("mnist(size=30)", tmp_path)
