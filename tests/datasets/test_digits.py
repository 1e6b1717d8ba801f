"""The digits: always there, always the same."""

from __future__ import annotations

import gzip
import json
import sys
from pathlib import Path

import numpy
import pytest
import torch
from torch.nn import functional

from harness import datasets
from harness.core.errors import DataError
from harness.datasets import digits as digits_room
from harness.datasets.presence import digits_file
from tests.processes import loaded_by

#: What trials on digits rest on; records name it.
DIGEST = "129c1bab05b393d91c6eaa8cb0cedd3cd3f1a08e6d979dabeea06ce26b88cba7"


def test_digits_are_1297_and_500_images_of_one_channel_at_16_px() -> None:
    digits = datasets.load("digits")
    assert (len(digits.train), len(digits.test)) == (1297, 500)
    assert digits.shape == (1, 16, 16)
    assert digits.train.images.dtype == digits.test.images.dtype == torch.uint8
    assert digits.train.labels.dtype == torch.int64
    assert digits.classes == tuple("0123456789")


def test_both_splits_hold_every_class_in_the_same_share() -> None:
    digits = datasets.load("digits")
    train, test = (split.labels.bincount(minlength=10).double() for split in (digits.train, digits.test))
    assert torch.allclose(train / 1297, test / 500, atol=0.002)
    assert int(train.min()) > 100


def test_no_test_image_is_a_train_image_by_position() -> None:
    from sklearn.datasets import load_digits

    digits = datasets.load("digits")
    labels = torch.cat([digits.train.labels, digits.test.labels]).bincount()
    assert labels.tolist() == numpy.bincount(load_digits().target).tolist()


def test_images_are_the_originals_enlarged_over_the_whole_grey_range() -> None:
    from sklearn.datasets import load_digits

    raw = load_digits()
    digits = datasets.load("digits")
    assert int(digits.train.images.min()) == 0
    assert int(digits.train.images.max()) == 255
    everything = torch.cat([digits.train.images, digits.test.images]).double()
    assert abs(float(everything.mean()) / 255 - raw.images.mean() / 16) < 0.01


def test_every_load_gives_the_same_digest() -> None:
    first, second = datasets.load("digits"), datasets.load("digits")
    assert first is not second
    assert first.digest == second.digest
    assert len(first.digest) == 64


def test_digest_covers_both_splits_and_the_normalisation() -> None:
    from dataclasses import replace

    from harness.datasets.split import Split

    digits = datasets.load("digits")
    changed = digits.test.images.clone()
    changed[0, 0, 0, 0] += 1
    relabelled = digits.train.labels.clone()
    relabelled[0] = (relabelled[0] + 1) % 10
    others = [
        replace(digits, test=Split(changed, digits.test.labels)),
        replace(digits, train=Split(digits.train.images, relabelled)),
        replace(digits, mean=(0.5,)),
        replace(digits, std=(0.5,)),
    ]
    assert len({digits.digest, *(other.digest for other in others)}) == 5
    assert replace(digits, teacher_epochs=1).digest == digits.digest


def test_normalisation_is_that_of_the_train_split() -> None:
    digits = datasets.load("digits")
    pixels = digits.train.images.numpy() / 255
    assert digits.mean == (round(float(pixels.mean()), 4),)
    assert digits.std == (round(float(pixels.std()), 4),)


def test_the_digest_is_the_one_that_records_name() -> None:
    assert datasets.load("digits").digest == DIGEST


def test_the_split_is_the_one_that_scikit_learn_draws() -> None:
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    labels = load_digits().target
    train, test = train_test_split(range(len(labels)), test_size=500, stratify=labels, random_state=0)
    assert json.loads(digits_room.SPLIT.read_text("utf-8")) == {"train": train, "test": test}


def test_every_image_and_label_is_scikit_learns() -> None:
    from sklearn.datasets import load_digits

    raw, digits = load_digits(), datasets.load("digits")
    split = json.loads(digits_room.SPLIT.read_text("utf-8"))
    for part, places in ((digits.train, split["train"]), (digits.test, split["test"])):
        pixels = torch.tensor(raw.images[places], dtype=torch.float32)[:, None] * (255 / 16)
        larger = functional.interpolate(pixels, size=(16, 16), mode="bilinear", align_corners=False)
        assert torch.equal(part.images, larger.round().to(torch.uint8))
        assert part.labels.tolist() == raw.target[places].tolist()


def test_scikit_learn_is_not_loaded_for_them() -> None:
    modules, printed = loaded_by("from harness import datasets\nprint(datasets.load('digits').digest)")
    assert printed.strip() == DIGEST
    assert not modules & {"sklearn", "scipy", "pandas", "torchvision"}


def test_without_scikit_learn_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn", None)
    with pytest.raises(DataError, match=r"^dataset digits: .*scikit-learn.*; pip install scikit-learn$"):
        datasets.load("digits")
    assert datasets.at_hand("digits") == (False, "it comes with scikit-learn: pip install scikit-learn")


def line(label: int, pixel: object = 3) -> str:
    return ",".join([str(pixel)] * 64 + [str(label)])


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n".join(line(i % 10) for i in range(1796)),
        "\n".join(line(i % 9) for i in range(1797)),
        "\n".join(line(i % 10, 17) for i in range(1797)),
        "\n".join(line(i % 10, "nan") for i in range(1797)),
        "\n".join(line(i % 10) + ",1" for i in range(1797)),
        "\n".join(line(i % 10, "x") for i in range(1797)),
        "\n".join(line(i % 10) for i in range(1796)) + "\n1,2",
    ],
    ids=["empty", "short", "nine", "bright", "nan", "wide", "words", "ragged"],
)
def test_a_file_of_another_form_is_one_clear_line(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "digits.csv.gz"
    file.write_bytes(gzip.compress(text.encode()))
    monkeypatch.setattr(digits_room, "digits_file", lambda: file)
    with pytest.raises(DataError, match=r"^dataset digits: .*digits\.csv\.gz: not the 1,797 lines") as caught:
        datasets.load("digits")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"no gzip at all", gzip.compress(b"1,2")[:-6]], ids=["plain", "cut"])
def test_a_file_that_cannot_be_unpacked_is_one_clear_line(
    content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "digits.csv.gz"
    file.write_bytes(content)
    monkeypatch.setattr(digits_room, "digits_file", lambda: file)
    with pytest.raises(DataError, match=r"^dataset digits: .*digits\.csv\.gz"):
        datasets.load("digits")


def test_the_file_lies_where_scikit_learn_keeps_it() -> None:
    file = digits_file()
    assert file is not None
    assert file.parts[-4:] == ("sklearn", "datasets", "data", "digits.csv.gz")
