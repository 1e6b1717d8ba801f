"""The digits: always there, always the same."""

from __future__ import annotations

import numpy
import torch

from harness import datasets


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
