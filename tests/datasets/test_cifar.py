"""CIFAR-10 and CIFAR-100 from files as their archives unpack."""

from __future__ import annotations

import hashlib
import pickle
from pathlib import Path

import numpy
import pytest
import torchvision.datasets

from harness import datasets
from harness.core.errors import DataError

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


BINARY = {
    "cifar10": ("cifar-10-batches-bin", [f"data_batch_{i}.bin" for i in range(1, 6)], "test_batch.bin", "batches.meta.txt", 10),
    "cifar100": ("cifar-100-binary", ["train.bin"], "test.bin", "fine_label_names.txt", 100),
}


def write_binary(root: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> Path:
    """Write tiny files in the published binary layout: label bytes, the fine one last, then three planes of pixels."""
    from harness.datasets import cifar

    folder, train, test, names, classes = BINARY[name]
    monkeypatch.setattr(cifar, "RECORDS", dict.fromkeys(cifar.RECORDS, PER_FILE))
    (root / folder).mkdir(parents=True)
    for file in (*train, test):
        labels = numpy.array([[(i * 7) % classes] for i in range(PER_FILE)], numpy.uint8)
        coarse = [numpy.full((PER_FILE, 1), 19, numpy.uint8)] if name == "cifar100" else []
        numpy.concatenate([*coarse, labels, rows(file)], 1).tofile(root / folder / file)
    (root / folder / names).write_text("".join(f"class {i}\n" for i in range(classes)) + "\n")
    return root / folder


@pytest.mark.parametrize(("name", "attribute", "classes", "key"), CASES)
def test_the_binary_version_is_read_first_and_no_pickle_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, attribute: str, classes: int, key: str
) -> None:
    write(tmp_path, monkeypatch, attribute, classes, key)
    write_binary(tmp_path, monkeypatch, name)
    monkeypatch.setattr(torchvision.datasets, attribute, lambda *_, **__: pytest.fail("torchvision was asked"))
    _, train, test, _, _ = BINARY[name]
    found = datasets.load(name, tmp_path)
    expected = numpy.concatenate([rows(file) for file in train]).reshape(-1, 3, 32, 32)
    assert numpy.array_equal(found.train.images.numpy(), expected)
    assert numpy.array_equal(found.test.images.numpy(), rows(test).reshape(-1, 3, 32, 32))
    assert found.test.labels.tolist() == [(i * 7) % classes for i in range(PER_FILE)]
    assert found.classes == tuple(f"class {i}" for i in range(classes))
    assert found.mean == (0.4914, 0.4822, 0.4465)


@pytest.mark.parametrize("name", BINARY)
def test_both_versions_of_the_same_images_are_the_same_dataset(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(f"{__name__}.rows", lambda file: numpy.full((PER_FILE, 3072), 7, numpy.uint8))
    case = next(case for case in CASES if case[0] == name)
    pickled = datasets.load(name, write(tmp_path / "py", monkeypatch, *case[1:]))
    write_binary(tmp_path / "bin", monkeypatch, name)
    assert datasets.load(name, tmp_path / "bin").digest == pickled.digest


@pytest.mark.parametrize("name", BINARY)
@pytest.mark.parametrize("change", [-1, 1, -3073])
def test_a_binary_file_of_another_size_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refused, name: str, change: int
) -> None:
    file = write_binary(tmp_path, monkeypatch, name) / BINARY[name][2]
    whole = file.read_bytes()
    file.write_bytes(whole[:change] if change < 0 else whole + b"\0")
    with refused(DataError, file, len(whole) + change, len(whole)):
        datasets.load(name, tmp_path)


@pytest.mark.parametrize("name", BINARY)
def test_what_is_wrong_with_a_binary_folder_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refused, name: str) -> None:
    folder = write_binary(tmp_path, monkeypatch, name)
    _, train, test, names, classes = BINARY[name]
    whole = bytearray((folder / test).read_bytes())
    whole[len(whole) // PER_FILE - 3073] = classes  # the last label byte of the first record
    (folder / test).write_bytes(whole)
    with refused(DataError, folder / test, f"label of {classes}", f"0..{classes - 1}"):
        datasets.load(name, tmp_path)
    (folder / names).write_text("one\ntwo\n")
    with refused(DataError, folder / names, "2 names", classes):
        datasets.load(name, tmp_path)
    (folder / train[0]).unlink()
    (folder / names).write_text("".join(f"class {i}\n" for i in range(classes)))
    with refused(DataError, folder / train[0]):
        datasets.load(name, tmp_path)
