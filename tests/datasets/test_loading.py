"""Datasets by name: the ones that ship, a plugin's, and names that nobody has."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from harness import datasets
from harness.core.errors import BadOption, DataError, UnknownName
from harness.core.spec import Spec
from harness.datasets.base import Dataset
from harness.datasets.split import Split


@pytest.fixture
def registered() -> Iterator[Callable[[Any], None]]:
    """Return what registers a dataset as `toy` until the test ends."""
    yield lambda function: datasets.register("toy")(function)
    datasets.registry.remove("toy")


def toy(data_dir: Path | None, *, images: int = 2) -> Dataset:
    split = Split(torch.zeros(images, 1, 4, 4, dtype=torch.uint8), torch.arange(images) % 2)
    return Dataset(f"toy of {data_dir}", split, split, ("a", "b"), (0.5,), (0.5,))


def test_unknown_name_is_answered_with_the_nearest(refused) -> None:
    with refused(UnknownName, "no dataset 'digit'", "did you mean 'digits'?"):
        datasets.load("digit")
    with refused(UnknownName, "cifar10", "cifar100"):
        datasets.load("cifar-10")
    with refused(UnknownName, "valid:", "digits", "fashion-mnist", "folder/*"):
        datasets.load("zzz")


def test_unknown_option_is_answered_with_the_valid_ones(refused) -> None:
    with refused(BadOption, "'folder:x' has no parameter 'sise'", "did you mean 'size'?"):
        datasets.load("folder:x(sise=3)")
    with refused(BadOption, "digits", "size"):
        datasets.load("digits(size=32)")


def test_option_of_the_wrong_type_is_refused(refused) -> None:
    with refused(BadOption, "size", "whole number", "'big'"):
        datasets.load("folder:x(size=big)")


@pytest.mark.parametrize("name", ["folder", "folder/*", "folder:"])
def test_folder_without_a_path_is_refused(name: str, refused) -> None:
    with refused(UnknownName, "folder/"):
        datasets.load(name)


@pytest.mark.parametrize("spec", ["toy(images=4)", {"name": "toy", "images": 4}, Spec(name="toy", options={"images": 4})])
def test_a_registered_dataset_is_loaded_however_it_is_written(registered, spec) -> None:
    registered(toy)
    assert len(datasets.load(spec).train) == 4


def test_data_folder_comes_from_the_argument_then_the_environment(
    registered, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    registered(toy)
    assert datasets.load("toy").name == "toy of None"
    monkeypatch.setenv("GIFTBENCH_DATA", "")
    assert datasets.load("toy").name == "toy of None"
    monkeypatch.setenv("GIFTBENCH_DATA", str(tmp_path))
    assert datasets.load("toy").name == f"toy of {tmp_path}"
    assert datasets.load("toy", "elsewhere").name == "toy of elsewhere"


def test_a_plugin_that_returns_something_else_is_named(registered, refused) -> None:
    registered(lambda data_dir: [1, 2])
    with refused(DataError, "'toy'", "list"):
        datasets.load("toy")
