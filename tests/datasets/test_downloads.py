"""Downloads go to the cache, are announced with their size, and fail in one line."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from harness import datasets
from harness.core.errors import DataError
from tests.datasets.test_fashion_mnist import write

READERS = {"mnist": "MNIST", "svhn": "SVHN", "stl10": "STL10"}


@pytest.mark.parametrize("name", READERS)
def test_a_failed_download_is_one_line_with_the_remedy(
    name: str, cache: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, refused
) -> None:
    asked = []

    def offline(root: str, download: bool, **split: str) -> None:
        asked.append((root, download))
        raise OSError("no route to host")

    monkeypatch.setattr(f"torchvision.datasets.{READERS[name]}", offline)
    with caplog.at_level(logging.WARNING, "giftbench"), refused(DataError, name, "no route to host", "--data-dir"):
        datasets.load(name)
    assert asked == [(str(cache / "data"), True)]
    assert f"{name}: downloading" in caplog.text
    assert "B to" in caplog.text


@pytest.mark.parametrize("name", READERS)
def test_nothing_is_downloaded_where_a_data_folder_is_given(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(f"torchvision.datasets.{READERS[name]}", lambda *_, **__: pytest.fail("a download was begun"))
    with pytest.raises(DataError, match=name):
        datasets.load(name, tmp_path)


def test_what_was_downloaded_is_read(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torchvision.datasets.MNIST", lambda root, download: write(Path(root) / "MNIST" / "raw", packed=False))
    assert len(datasets.load("mnist").test) == 10
    assert datasets.at_hand("mnist")[0]
