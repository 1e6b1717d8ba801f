"""CIFAR-10 and CIFAR-100 from files as their archives unpack."""

from __future__ import annotations

import hashlib
import pickle
from pathlib import Path

import numpy
import pytest
import torchvision.datasets

from harness import datasets
from harness.errors import DataError

PER_FILE = 10
CASES = [("cifar10", "CIFAR10", 10, "labels"), ("cifar100", "CIFAR100", 100, "fine_labels")]


def write(root: Path, monkeypatch: pytest.MonkeyPatch, attribute: str, classes: int, key: str) -> Path:
    """Write tiny batches in the published python layout, and let torchvision expect their MD5."""
    reader = getattr(torchvision.datasets, attribute)
    folder = root / reader.base_folder
    folder.mkdir(parents=True)

    def put(name: str, content: dict) -> str:
        packed = pickle.dumps(content)
        (folder / name).write_bytes(packed)
        return hashlib.md5(packed).hexdigest()

    for part in ("train_list", "test_list"):
        listed = []
        for name, _ in getattr(reader, part):
            content = {"data": rows(name), key: [(i * 7) % classes for i in range(PER_FILE)]}
            listed.append([name, put(name, content)])
        monkeypatch.setattr(reader, part, listed)
    names = [f"class {i}" for i in range(classes)]
    md5 = put(reader.meta["filename"], {reader.meta["key"]: names})
    monkeypatch.setattr(reader, "meta", reader.meta | {"md5": md5})
    return root


def rows(name: str) -> numpy.ndarray:
    return numpy.random.default_rng(len(name) + ord(name[-1])).integers(0, 256, (PER_FILE, 3 * 32 * 32), dtype=numpy.uint8)


@pytest.mark.parametrize(("name", "attribute", "classes", "key"), CASES)
def test_batches_become_splits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, attribute: str, classes: int, key: str
) -> None:
    reader = getattr(torchvision.datasets, attribute)
    found = datasets.load(name, write(tmp_path, monkeypatch, attribute, classes, key))
    files = [row[0] for row in reader.train_list]
    assert (len(found.train), len(found.test)) == (PER_FILE * len(files), PER_FILE)
    assert found.shape == (3, 32, 32)
    assert found.classes[:2] == ("class 0", "class 1")
    assert len(found.classes) == classes
    expected = numpy.concatenate([rows(file) for file in files]).reshape(-1, 3, 32, 32)  # red plane, green plane, blue plane
    assert numpy.array_equal(found.train.images.numpy(), expected)
    assert found.train.images.is_contiguous()
    assert found.test.labels.tolist() == [(i * 7) % classes for i in range(PER_FILE)]
    assert found.mean == (0.4914, 0.4822, 0.4465)
    assert found.std == (0.2023, 0.1994, 0.2010)


@pytest.mark.parametrize(("name", "attribute", "classes", "key"), CASES)
def test_a_changed_file_is_refused_before_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refused, name: str, attribute: str, classes: int, key: str
) -> None:
    write(tmp_path, monkeypatch, attribute, classes, key)
    reader = getattr(torchvision.datasets, attribute)

    class Trap:
        def __reduce__(self):
            return (pytest.fail, ("the pickle was run",))

    (tmp_path / reader.base_folder / reader.test_list[0][0]).write_bytes(pickle.dumps(Trap()))
    with refused(DataError, name, tmp_path, reader.base_folder):
        datasets.load(name, tmp_path)


@pytest.mark.parametrize("missing", ["folder", "batch", "meta"])
def test_absent_files_are_refused_with_what_is_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refused, missing: str
) -> None:
    if missing != "folder":
        write(tmp_path, monkeypatch, "CIFAR10", 10, "labels")
        (tmp_path / "cifar-10-batches-py" / {"batch": "data_batch_3", "meta": "batches.meta"}[missing]).unlink()
    with refused(DataError, "cifar10", tmp_path, "cifar-10-batches-py/"):
        datasets.load("cifar10", tmp_path)


def test_without_a_folder_the_download_goes_to_the_cache_and_its_failure_is_one_line(
    monkeypatch: pytest.MonkeyPatch, cache: Path, refused
) -> None:
    asked = []

    def offline(url: str, root: str, **rest) -> None:
        asked.append(root)
        raise OSError("no route to host")

    monkeypatch.setattr("torchvision.datasets.cifar.download_and_extract_archive", offline)
    with refused(DataError, "cifar10", "no route to host", "--data-dir", "GIFTBENCH_DATA"):
        datasets.load("cifar10")
    assert asked == [str(cache / "data")]
