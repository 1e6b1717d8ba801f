"""Splits of encoded images: decoded once, kept, mapped; a train split that decodes only what is asked for."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy
import pytest
import torch
from PIL import Image
from torch import Tensor

from harness import datasets
from harness.boards.board import TeacherSpec
from harness.core.errors import DataError, WriteError
from harness.datasets import decoded
from harness.datasets.base import Dataset
from harness.datasets.class_folders import by_class
from harness.datasets.decoded import LazySplit, decoded_split
from harness.datasets.split import Split
from harness.files import decoding
from harness.files.pixels import Form

FORM = Form((3, 16, 16), 18)
CLASSES = ("cat", "dog", "eel")
TRAIN, TEST = 12, 9


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Three classes, four train images and three test images each."""
    for split, count in (("train", TRAIN), ("test", TEST)):
        for i in range(count):
            file = tmp_path / "pets" / split / CLASSES[i * 3 // count] / f"{i}.jpg"
            file.parent.mkdir(parents=True, exist_ok=True)
            pixels = numpy.random.default_rng(i + count).integers(0, 256, (24 + i, 30, 3), dtype=numpy.uint8)
            Image.fromarray(pixels).save(file)
    return tmp_path / "pets"


def load(root: Path) -> Dataset:
    train = LazySplit(lambda: by_class("pets: train", root, "train", CLASSES), FORM)
    return Dataset(
        "pets", train, decoded_split(by_class("pets: test", root, "test", CLASSES), FORM), CLASSES, (0.5,) * 3, (0.2,) * 3
    )


@pytest.fixture
def count() -> Iterator[object]:
    """Return how many images this process has decoded since the last time it was asked."""
    last = decoding.decoded

    def since() -> int:
        nonlocal last
        last, before = decoding.decoded, last
        return last - before

    return since


def whole(dataset: Dataset) -> Tensor:
    """Return all train images without the cache."""
    assert isinstance(dataset.train, LazySplit)
    return decoding.read(dataset.train.listing.items, FORM).images


def test_a_dataset_decodes_its_test_split_alone(root: Path, count) -> None:
    pets = load(root)
    assert count() == TEST
    assert (pets.shape, len(pets.digest), len(pets.train), pets.train.labels.tolist()) == (
        (3, 16, 16),
        64,
        12,
        [0] * 4 + [1] * 4 + [2] * 4,
    )
    assert pets.train.images.shape == (12, 3, 16, 16)
    assert pets.train.images.dtype == torch.uint8
    assert count() == 0


def test_the_second_evaluation_decodes_nothing(root: Path, count) -> None:
    first = load(root)
    assert count() == TEST
    again = load(root)
    assert count() == 0
    assert torch.equal(again.test.images, first.test.images)
    assert again.digest == first.digest


def test_another_process_decodes_nothing(root: Path) -> None:
    pets = load(root)
    program = f"""
import json, sys
from pathlib import Path
from harness.files import decoding
from harness.datasets.class_folders import by_class
from harness.datasets.decoded import decoded_split
from harness.files.pixels import Form
test = decoded_split(by_class("pets: test", Path({str(root)!r}), "test", {CLASSES}), Form({FORM.shape}, {FORM.resize}))
print(json.dumps([decoding.decoded, test.content, int(test.images.long().sum())]))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=True)
    assert json.loads(done.stdout) == [0, pets.test.content, int(pets.test.images.long().sum())]


def test_two_at_once_decode_once(root: Path, count) -> None:
    with ThreadPoolExecutor(4) as pool:
        digests = {pets.digest for pets in pool.map(load, [root] * 4)}
    assert len(digests) == 1
    assert count() == TEST


@pytest.mark.parametrize("damage", ["shorter", "gone", "no sidecar", "other sidecar"])
def test_a_damaged_cache_is_decoded_again(root: Path, cache: Path, count, damage: str) -> None:
    expected = load(root).test.images.clone()
    (pixels,) = cache.rglob("pixels")
    if damage == "shorter":
        os.truncate(pixels, pixels.stat().st_size - 1)
    elif damage == "gone":
        pixels.unlink()
    else:
        pixels.with_name("about.json").write_text("{" if damage == "no sidecar" else '{"shape": [1], "sha256": []}')
    count()
    assert torch.equal(load(root).test.images, expected)
    assert count() == TEST
    assert torch.equal(load(root).test.images, expected)
    assert count() == 0


def test_a_changed_file_is_decoded_again_and_only_its_bytes_change_the_digest(root: Path, count) -> None:
    digest, file = load(root).digest, root / "test" / "dog" / "4.jpg"
    count()
    os.utime(file, ns=(1, 1))
    assert load(root).digest == digest
    assert count() == TEST
    Image.new("RGB", (40, 40), (1, 2, 3)).save(file)
    assert load(root).digest != digest
    assert count() == TEST


def test_what_is_written_to_the_images_stays_out_of_the_cache(root: Path) -> None:
    images = load(root).test.images
    before = images.clone()
    images.zero_()
    assert torch.equal(load(root).test.images, before)


def test_the_digest_counts_train_names_and_sizes_and_the_form(root: Path) -> None:
    pets = load(root)
    other = LazySplit(lambda: by_class("pets: train", root, "train", CLASSES), Form((3, 16, 16), 20))
    digests = {pets.digest, replace(pets, train=other).digest, replace(pets, std=(0.3,) * 3).digest}
    (root / "train" / "cat" / "0.jpg").rename(root / "train" / "cat" / "00.jpg")
    digests.add(load(root).digest)
    with (root / "train" / "cat" / "1.jpg").open("ab") as stream:
        stream.write(b"\0")
    digests.add(load(root).digest)
    assert len(digests) == 5


@pytest.mark.parametrize(
    "key",
    [torch.tensor([3, 0, 3, 11]), slice(2, 9, 3), torch.arange(12) % 2 == 0, 5, -1, [1, 1], torch.tensor([[1, 2], [2, 1]]), []],
)
def test_a_lazy_split_is_indexed_like_a_tensor(root: Path, key) -> None:
    pets = load(root)
    expected = whole(pets)
    assert torch.equal(pets.train.images[key], expected[key])
    assert torch.equal(pets.train.images[:], expected)
    assert torch.equal(pets.train.images[key], expected[key])


def test_only_the_images_asked_for_are_decoded_each_once(root: Path, count) -> None:
    pets = load(root)
    count()
    assert pets.train.images[torch.tensor([7, 2, 7])].shape == (3, 3, 16, 16)
    assert count() == 2


def test_the_whole_train_split_is_decoded_once_for_all_processes(root: Path, count) -> None:
    pets = load(root)
    count()
    assert len(pets.train.images[:]) == TRAIN
    assert count() == TRAIN
    assert len(load(root).train.images[:]) == len(pets.train.images[torch.arange(12)]) == TRAIN
    assert count() == 0


def test_more_pixels_than_memory_should_hold_are_refused(root: Path, monkeypatch: pytest.MonkeyPatch, refused) -> None:
    pets = load(root)
    monkeypatch.setattr(decoded, "MAX_BYTES", 10 * 3 * 16 * 16)
    for key in (slice(None), torch.arange(11), torch.zeros(11, dtype=torch.int64)):
        with refused(DataError, "pets: train", "16x16 px", "limit", "--teacher", "smaller size"):
            pets.train.images[key]
    assert len(pets.train.images[torch.arange(10)]) == 10


def test_an_unreadable_train_image_is_named_when_it_is_asked_for(root: Path, refused) -> None:
    (root / "train" / "cat" / "1.jpg").write_bytes(b"nothing")
    pets = load(root)
    assert len(pets.train.images[torch.tensor([0, 2])]) == 2
    with refused(DataError, root / "train" / "cat" / "1.jpg", "not a readable image"):
        pets.train.images[torch.tensor([0, 1])]


def test_a_cache_that_cannot_be_written_is_told(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refused) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("GIFTBENCH_HOME", str(tmp_path / "file"))
    with refused(WriteError, tmp_path / "file", "GIFTBENCH_HOME"):
        load(root)


def test_distillers_and_teachers_take_a_lazy_split_like_one_in_memory(root: Path, tmp_path: Path) -> None:
    from harness import teachers
    from harness.distilled.random import random
    from harness.distilled.source import Source

    pets = load(root)
    held = replace(pets, train=Split(whole(pets), pets.train.labels))
    made, expected = (random(Source(dataset, ipc=2, seed=3)) for dataset in (pets, held))
    assert torch.equal(made.images, expected.images)
    spec = TeacherSpec.model_validate({"model": "convnet1(width=8)", "epochs": 1, "batch_size": 4})
    accuracies = [
        teachers.train(teachers.blueprints(spec, dataset)[0], dataset, tmp_path / "teachers", "cpu").accuracy
        for dataset in (pets, held)
    ]
    assert accuracies[0] == accuracies[1]


@pytest.mark.parametrize(
    ("name", "digest"),
    [
        ("digits", "129c1bab05b393d91c6eaa8cb0cedd3cd3f1a08e6d979dabeea06ce26b88cba7"),
        ("fashion-mnist", "d692020fb9b9710a85424d4421180589518b587440c5a144f343ceaab5734da6"),
    ],
)
def test_datasets_in_memory_keep_the_digests_of_the_committed_records(name: str, digest: str) -> None:
    if not datasets.at_hand(name)[0]:
        pytest.skip(f"{name} is not at hand")
    assert datasets.load(name).digest == digest
