"""DATM, MTT, TESLA, DC-BENCH's and GIFT's files: written as the authors' code writes them, read to the same numbers."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy
import pytest
import torch
from torch import Tensor

from harness import DistilledSet, datasets
from harness.core.errors import DataError
from harness.datasets.cards import Card
from harness.distilled import readers
from harness.distilled.reading import Reading
from tests.distilled.readers.published_files import DIGITS, TENSORS, imported, logits, pixels, write

IPC = 3
HARD = torch.arange(10).repeat_interleave(IPC)
CIFAR100 = Card("cifar100", (3, 32, 32), 100, (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010))


def whitened_by_numpy(images: Tensor) -> Tensor:
    """What kornia's ZCAWhitening(eps=0.1) makes of uint8 images, fitted on the digits' train split, in float64 by numpy."""
    train = datasets.load("digits").train.images.double().flatten(1).numpy() / 255
    values, vectors = numpy.linalg.eigh(numpy.cov(train.T))
    matrix = vectors @ numpy.diag((values.clip(0) + 0.1) ** -0.5) @ vectors.T
    return torch.from_numpy((images.double().flatten(1).numpy() / 255 - train.mean(0)) @ matrix).reshape(images.shape).float()


def save(folder: Path, **content: Any) -> Path:
    folder.mkdir(exist_ok=True)
    for name, value in content.items():
        torch.save(value, folder / f"{name}.pt")
    return folder


def said_by(form: str, path: Path, card: Card = DIGITS, ipc: int | None = None, **options: Any) -> tuple[DistilledSet, list[str]]:
    said: list[str] = []
    return readers.create({"name": form, **options})(Reading(path, card, ipc, 1, said.append)), said


def first_of_each_class(count: int, ipc: int) -> list[int]:
    return [place for place in range(count) if place % ipc < 2]


# -- all formats -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", TENSORS)
def test_an_imported_set_is_saved_and_loaded_with_the_same_digest(tmp_path: Path, form: str) -> None:
    made = imported(form, write(form, tmp_path / "set", DIGITS, IPC), DIGITS)
    again = DistilledSet.load(made.save(tmp_path / "set.safetensors"))
    assert again.digest == made.digest and again.metadata == made.metadata
    assert made.labels.tolist() == HARD.tolist() and made.ipc == IPC


@pytest.mark.parametrize("form", TENSORS)
def test_a_lower_ipc_is_the_publishers_first_k_of_each_class(tmp_path: Path, form: str) -> None:
    path = write(form, tmp_path / "set", DIGITS, IPC)
    whole, fewer = imported(form, path, DIGITS), imported(form, path, DIGITS, ipc=2)
    places = first_of_each_class(10 * IPC, IPC)
    assert torch.equal(fewer.images, whole.images[places]) and torch.equal(fewer.labels, whole.labels[places])
    if whole.soft_labels is not None:
        assert fewer.soft_labels is not None and torch.equal(fewer.soft_labels, whole.soft_labels[places])
    assert fewer.provenance["ipc"] == 2 and fewer.digest != whole.digest


@pytest.mark.parametrize("form", TENSORS)
def test_the_provenance_has_the_digest_of_every_file(tmp_path: Path, form: str) -> None:
    path = write(form, tmp_path / "set", DIGITS, IPC)
    files = {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in path.rglob("*.pt")}
    made = imported(form, path, DIGITS)
    assert made.provenance["files"] == files and made.provenance["format"] == form


def test_classes_in_turn_are_cut_to_the_first_k_in_their_own_order(tmp_path: Path) -> None:
    hard = torch.arange(10).repeat(IPC)
    images = torch.arange(30.0).view(30, 1, 1, 1).expand(30, 1, 16, 16).contiguous()
    made = imported("mtt", save(tmp_path / "set", images_best=images, labels_best=hard), DIGITS, ipc=2)
    assert made.images[:, 0, 0, 0].tolist() == list(range(20)) and made.labels.tolist() == list(range(10)) * 2


# -- DATM ------------------------------------------------------------------------------------------------------------------


def test_datm_has_whitened_images_logits_and_hard_labels_by_place_to_five_digits(tmp_path: Path) -> None:
    images, soft = whitened_by_numpy(pixels(DIGITS, IPC)), logits(DIGITS, IPC)
    soft[4] = soft[4].roll(1)  # a learned label may be highest elsewhere; the hard label is index // ipc all the same
    path = save(tmp_path / "set", images_best=images, labels_best=soft, lr_best=torch.tensor(0.00123))
    made, said = said_by("datm", path)
    assert float((made.images - images).abs().max()) < 1e-5 and made.images.dtype == torch.float32
    assert made.soft_labels is not None and float((made.soft_labels - soft).abs().max()) < 1e-5
    assert made.labels.tolist() == [index // IPC for index in range(10 * IPC)]
    assert (made.normalised, made.whitening, made.soft_kind) == (True, "zca", "logits")
    assert (made.native_loss, made.method) == ("soft_ce", "datm")
    assert made.provenance["lr"] == pytest.approx(0.00123, rel=1e-5)
    assert any("ZCA" in line for line in said)


def test_datm_without_zca_is_normalised_only(tmp_path: Path) -> None:
    made, said = said_by("datm", write("datm", tmp_path / "set", DIGITS, IPC), zca=False)
    assert (made.normalised, made.whitening) == (True, "") and any("mean and standard deviation" in line for line in said)


def test_datm_images_zca_are_pixels_in_spite_of_their_name(tmp_path: Path) -> None:
    path = save(
        tmp_path / "set", images_zca_1000=pixels(DIGITS, IPC) / 255, labels_1000=logits(DIGITS, IPC), lr_1000=torch.tensor(0.1)
    )
    made, said = said_by("datm", path, images="images_zca_1000.pt", lr="lr_1000.pt")
    assert (made.normalised, made.whitening) == (False, "") and any(line.startswith("warning: ") for line in said)
    assert torch.equal((made.images * 255).round().to(torch.uint8), pixels(DIGITS, IPC))


@pytest.mark.parametrize("rate", [torch.tensor(-1.0), torch.tensor(float("nan")), torch.tensor([0.1, 0.2]), "fast", {"lr": 0.1}])
def test_datm_refuses_a_learning_rate_that_is_none(tmp_path: Path, rate: Any) -> None:
    path = write("datm", tmp_path / "set", DIGITS, IPC)
    torch.save(rate, path / "lr_best.pt")
    with pytest.raises(DataError, match=r"lr_best\.pt"):
        said_by("datm", path)
    assert "lr" not in said_by("datm", path, lr="none")[0].provenance


def test_datm_without_its_learning_rate_says_how_to_go_on(tmp_path: Path) -> None:
    path = write("datm", tmp_path / "set", DIGITS, IPC)
    (path / "lr_best.pt").unlink()
    with pytest.raises(DataError, match=r"lr_best\.pt: no such file; datm\(lr=none\)"):
        said_by("datm", path)


def test_datm_refuses_a_number_of_images_that_is_no_multiple_of_the_classes(tmp_path: Path) -> None:
    path = save(
        tmp_path / "set", images_best=torch.zeros(19, 1, 16, 16), labels_best=torch.zeros(19, 10), lr_best=torch.tensor(0.1)
    )
    with pytest.raises(DataError, match="19 images"):
        said_by("datm", path)


# -- MTT and TESLA ---------------------------------------------------------------------------------------------------------


def test_mtt_has_hard_labels_and_no_soft_ones(tmp_path: Path) -> None:
    images = whitened_by_numpy(pixels(DIGITS, IPC))
    made, _ = said_by("mtt", save(tmp_path / "set", images_best=images, labels_best=HARD))
    assert torch.equal(made.images, images) and torch.equal(made.labels, HARD) and made.soft_labels is None
    assert (made.native_loss, made.whitening) == ("ce", "zca")


def test_mtt_in_parts_is_read_in_their_order(tmp_path: Path) -> None:
    images = whitened_by_numpy(pixels(DIGITS, IPC))
    parts = {f"images_best_{part}": images[part * 10 : part * 10 + 10].clone() for part in range(3)}
    made, _ = said_by("mtt", save(tmp_path / "set", labels_best=HARD, **parts))
    assert torch.equal(made.images, images)


def test_mtt_sends_soft_labels_to_the_readers_that_have_them(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="'datm'"):
        said_by("mtt", write("datm", tmp_path / "set", DIGITS, IPC))


def test_the_images_own_file_takes_the_labels_saved_with_it(tmp_path: Path) -> None:
    path = save(tmp_path / "set", images_best=torch.zeros(10, 1, 16, 16), labels_best=torch.arange(10))
    save(path, images_500=torch.ones(30, 1, 16, 16), labels_500=HARD)
    made, _ = said_by("mtt", path / "images_500.pt")
    assert len(made) == 30 and set(made.provenance["files"]) == {"images_500.pt", "labels_500.pt"}


def test_tesla_has_probabilities_or_hard_labels(tmp_path: Path) -> None:
    images, soft = whitened_by_numpy(pixels(DIGITS, IPC)), logits(DIGITS, IPC).softmax(1)
    made, _ = said_by("tesla", save(tmp_path / "soft", images_best=images, labels_best=soft))
    assert made.soft_labels is not None and torch.equal(made.soft_labels, soft) and torch.equal(made.labels, HARD)
    assert (made.soft_kind, made.native_loss) == ("probabilities", "soft_ce")
    made, _ = said_by("tesla", save(tmp_path / "hard", images_best=images, labels_best=HARD))
    assert made.soft_labels is None and made.native_loss == "ce"


def test_tesla_refuses_logits(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="do not sum to 1"):
        said_by("tesla", write("datm", tmp_path / "set", DIGITS, IPC))


# -- DC --------------------------------------------------------------------------------------------------------------------


def test_dc_takes_the_last_of_its_runs(tmp_path: Path) -> None:
    mean, std = 0.3052, 0.3185
    images = (pixels(DIGITS, IPC).float() / 255 - mean) / std
    (tmp_path / "set").mkdir()
    torch.save({"data": [[images * 0, HARD], [images, HARD]], "accs_all_exps": {}}, tmp_path / "set" / "res_DSA.pt")
    made, said = said_by("dc", tmp_path / "set" / "res_DSA.pt", method="dsa")
    assert torch.equal(made.images, images) and torch.equal(made.labels, HARD)
    assert (made.method, made.native_loss, made.normalised, made.whitening) == ("dsa", "ce", True, "")
    assert any("2 runs" in line for line in said)


def test_dc_brings_the_authors_normalisation_of_cifar100_to_the_datasets(tmp_path: Path) -> None:
    real = torch.rand(100, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    theirs, ours = ((0.5071, 0.4866, 0.4409), (0.2673, 0.2564, 0.2762)), (CIFAR100.mean, CIFAR100.std)

    def normalised(statistics: Any) -> Tensor:
        mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in statistics)
        return (real - mean) / std

    torch.save({"data": [[normalised(theirs), torch.arange(100)]]}, tmp_path / "res.pt")
    made, _ = said_by("dc", tmp_path / "res.pt", CIFAR100)
    assert float((made.images - normalised(ours)).abs().max()) < 1e-5
    made, _ = said_by("dc", tmp_path / "res.pt", CIFAR100, statistics="dataset")
    assert torch.equal(made.images, normalised(theirs))


@pytest.mark.parametrize("content", [{}, {"data": []}, {"data": 3}, {"data": [[torch.zeros(2)]]}, [1, 2], torch.zeros(3)])
def test_dc_refuses_other_structures(tmp_path: Path, content: Any) -> None:
    torch.save(content, tmp_path / "res.pt")
    with pytest.raises(DataError, match=r"res\.pt"):
        said_by("dc", tmp_path / "res.pt")


# -- GIFT ------------------------------------------------------------------------------------------------------------------


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
