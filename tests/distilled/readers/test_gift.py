"""GIFT's files: written as the authors' code writes them, read to the same numbers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from harness.core.errors import DataError
from harness.datasets.cards import Card
from tests.distilled.readers.published_files import logits, pixels
from tests.distilled.readers.publishing import read
from tests.distilled.readers.torch_saved import (
    DIGITS,
    HARD,
    IPC,
    Refused,
    learned_logits,
    publish_datm,
    publish_gift,
    said_by,
    whitened,
)


def test_gift_takes_pixels_and_says_what_its_labels_are(tmp_path: Path, pixels: Tensor) -> None:
    said: list[str] = []
    logits = learned_logits()
    made = read("gift", publish_gift(tmp_path, pixels, logits), DIGITS, say=said.append)
    assert torch.equal(made.images, pixels) and not made.normalised
    assert made.soft_labels is not None and torch.equal(made.soft_labels, logits) and made.soft_kind == "logits"
    assert (made.method, made.native_loss) == ("rded", "kl") and torch.equal(made.labels, HARD)
    assert any("logits" in line for line in said)

    made = read("gift", publish_gift(tmp_path, pixels, logits.softmax(1), "datm/digits_ConvNet/ipc3"), DIGITS)
    assert (made.soft_kind, made.native_loss) == ("probabilities", "soft_ce")
    for labels in (HARD, HARD[:, None]):
        place = publish_gift(tmp_path, pixels, labels, f"own{labels.dim()}/digits_ConvNet/ipc3")
        made = read("gift", place, DIGITS)
        assert made.soft_labels is None and torch.equal(made.labels, HARD) and made.native_loss == ""


def test_gift_takes_the_highest_soft_label_where_images_do_not_lie_class_by_class(tmp_path: Path, pixels: Tensor) -> None:
    order = torch.randperm(30, generator=torch.Generator().manual_seed(0))
    said: list[str] = []
    path = publish_gift(tmp_path, pixels[order], learned_logits()[order])
    assert torch.equal(read("gift", path, DIGITS, say=said.append).labels, HARD[order])
    assert any("class by class" in line for line in said)


def test_gift_finds_the_only_set_of_the_dataset_and_ipc_below(tmp_path: Path, pixels: Tensor, refused: Refused) -> None:
    publish_gift(tmp_path, pixels, HARD, "rded/digits_ConvNet/ipc3")
    publish_gift(tmp_path, pixels[::3], HARD[::3], "rded/digits_ConvNet/ipc1")
    publish_gift(tmp_path, pixels, HARD, "rded/cifar10_ConvNet/ipc3", dataset="cifar10")
    file = tmp_path / "rded" / "digits_ConvNet" / "ipc3"
    for path in (file / "data.pt", file, file.parent, tmp_path / "rded", tmp_path):
        assert len(read("gift", path, DIGITS, ipc=3)) == 30
    assert len(read("gift", tmp_path, DIGITS, ipc=1)) == 10
    with refused(DataError, str(tmp_path), "2 sets", "digits_ConvNet/ipc1", "digits_ConvNet/ipc3"):
        read("gift", tmp_path, DIGITS)
    with refused(DataError, "no sets of IPC 5", "digits_ConvNet/ipc3"):
        read("gift", tmp_path, DIGITS, ipc=5)


@pytest.mark.parametrize(
    ("stated", "name"),
    [("CIFAR-100", "cifar100"), ("tinyimagenet", "tiny-imagenet"), ("imagenet", "imagenet-1k"), ("imagenet-1k", "imagenet-1k")],
)
def test_gift_knows_a_dataset_by_all_its_spellings(tmp_path: Path, stated: str, name: str) -> None:
    path = publish_gift(tmp_path, torch.rand(8, 3, 8, 8), torch.arange(4).repeat_interleave(2), dataset=stated)
    assert len(read("gift", path, Card(name, (3, 8, 8), 4))) == 8


def test_gift_refuses_a_set_that_says_it_is_of_another_dataset(tmp_path: Path, pixels: Tensor, refused: Refused) -> None:
    with refused(DataError, "data.pt", "'cifar10'", "'digits'"):
        read("gift", publish_gift(tmp_path, pixels, HARD, dataset="cifar10"), DIGITS)


@pytest.mark.parametrize(
    ("label", "kind"),
    [
        (lambda: HARD, None),
        (lambda: HARD[:, None], None),
        (lambda: logits(DIGITS, IPC), "logits"),
        (lambda: logits(DIGITS, IPC).softmax(1), "probabilities"),
    ],
    ids=["hard", "hard [N, 1]", "logits", "probabilities"],
)
def test_gift_labels_are_what_their_numbers_say(tmp_path: Path, label: Callable[[], Tensor], kind: str | None) -> None:
    file = tmp_path / "set/RDED/digits_ConvNet/ipc3/data.pt"
    file.parent.mkdir(parents=True)
    torch.save({"dataset": "digits", "data": pixels(DIGITS, IPC) / 255, "label": label()}, file)
    made, _ = said_by("gift", tmp_path / "set")
    assert torch.equal(made.images, pixels(DIGITS, IPC) / 255) and torch.equal(made.labels, HARD)
    assert (None if made.soft_labels is None else made.soft_kind) == kind
    assert (made.method, made.native_loss, made.normalised) == ("rded", "kl", False)


def test_gift_finds_the_ipc_and_the_dataset_in_a_tree_and_names_the_choices(tmp_path: Path) -> None:
    for dataset in ("digits", "cifar10"):
        for ipc in (1, 2):
            file = tmp_path / f"datm/{dataset}_ConvNet/ipc{ipc}/data.pt"
            file.parent.mkdir(parents=True)
            hard = torch.arange(10).repeat_interleave(ipc)
            torch.save({"dataset": dataset, "data": torch.full((10 * ipc, 1, 16, 16), 0.5), "label": hard}, file)
    made, _ = said_by("gift", tmp_path, ipc=2)
    assert len(made) == 20 and made.method == "datm" and made.provenance["place"] == "datm/digits_ConvNet/ipc2/data.pt"
    with pytest.raises(DataError, match="ipc1"):
        said_by("gift", tmp_path)
    with pytest.raises(DataError, match="no sets of IPC 7"):
        said_by("gift", tmp_path, ipc=7)
    with pytest.raises(DataError, match="cifar10"):
        said_by("gift", tmp_path / "datm/cifar10_ConvNet/ipc1/data.pt")


def test_gift_refuses_values_that_are_no_pixels(tmp_path: Path) -> None:
    torch.save({"dataset": "digits", "data": torch.full((10, 1, 16, 16), 1.5), "label": torch.arange(10)}, tmp_path / "data.pt")
    with pytest.raises(DataError, match=r"data\.pt: pixels"):
        said_by("gift", tmp_path)


@pytest.mark.parametrize("form", ["gift", "tesla"])
@pytest.mark.parametrize("share", [0.2, 0.49, 0.6])
def test_soft_labels_of_a_weak_teacher_prove_the_order(tmp_path: Path, form: str, share: float) -> None:
    labels, draws = torch.arange(100).repeat_interleave(10), torch.Generator().manual_seed(0)
    top = torch.where(torch.rand(1000, generator=draws) < share, labels, torch.randint(0, 100, (1000,), generator=draws))
    soft = (torch.randn(1000, 100, generator=draws) / 10).scatter_add_(1, top[:, None], torch.full((1000, 1), 5.0))
    images = torch.rand(1000, 3, 32, 32, generator=draws)
    if form == "gift":
        torch.save({"dataset": "cifar100", "data": images, "label": soft}, tmp_path / "data.pt")
    else:
        torch.save(images, tmp_path / "images_best.pt")
        torch.save(soft.softmax(1), tmp_path / "labels_best.pt")
    distilled = read(form, tmp_path, Card("cifar100", (3, 32, 32), 100), **({} if form == "gift" else {"zca": False}))
    assert distilled.labels.equal(labels)


@pytest.mark.parametrize("method", ["datm", "MTT", "tesla"])
def test_gift_takes_the_whitened_values_of_the_methods_that_whiten(tmp_path: Path, pixels: Tensor, method: str) -> None:
    path = publish_gift(tmp_path, whitened(pixels), learned_logits(), f"{method}/digits_ConvNet/ipc3")
    made, said = said_by("gift", path)
    assert torch.equal(made.images, whitened(pixels)) and (made.normalised, made.whitening) == (True, "zca")
    assert made.provenance["assumed"]["normalisation"] == "zca" and any("ZCA-whitened" in line for line in said)
    direct = read("datm", publish_datm(tmp_path, whitened(pixels), learned_logits()), DIGITS)
    assert torch.equal(direct.images, made.images) and torch.equal(direct.labels, made.labels)
    assert (direct.normalised, direct.whitening) == (made.normalised, made.whitening)

    plain, _ = said_by("gift", publish_gift(tmp_path, pixels, learned_logits(), f"{method}/digits_Pixels/ipc3"))
    assert torch.equal(plain.images, pixels) and (plain.normalised, plain.whitening) == (False, "")


def test_gift_takes_whitened_values_of_other_methods_only_when_told_so(tmp_path: Path, pixels: Tensor, refused: Refused) -> None:
    path = publish_gift(tmp_path, whitened(pixels), HARD, "rded/digits_ConvNet/ipc3")
    with refused(DataError, "data.pt: pixels must lie in [0, 1]", "gift(zca=true)"):
        read("gift", path, DIGITS)
    for options in ({"zca": True}, {"method": "datm"}):
        made = read("gift", path, DIGITS, **options)
        assert torch.equal(made.images, whitened(pixels)) and (made.normalised, made.whitening) == (True, "zca")
