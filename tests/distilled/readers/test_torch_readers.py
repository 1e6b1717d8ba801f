"""DATM, MTT, TESLA, DC-BENCH and GIFT: sets that are torch-saved, written here the way their authors' code writes them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from harness import datasets
from harness.core.errors import BadOption, DataError
from harness.datasets.cards import Card
from harness.distilled.set import DistilledSet
from tests.distilled.readers.publishing import read

Refused = Callable[..., AbstractContextManager[None]]

DIGITS = Card("digits", (1, 16, 16), 10, (0.3052,), (0.3185,))
COLOUR = Card("cifar100", (3, 8, 8), 4, (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010))


@pytest.fixture(scope="module")
def pixels() -> Tensor:
    """30 digits in [0, 1], 3 of each class, class by class."""
    train = datasets.load("digits").train
    chosen = torch.cat([(train.labels == label).nonzero()[:3, 0] for label in range(10)])
    return train.images[chosen].float() / 255


@cache
def whitening() -> Callable[[Tensor], Tensor]:
    from kornia.enhance import ZCAWhitening

    return ZCAWhitening(eps=0.1).fit(datasets.load("digits").train.images.float() / 255)  # type: ignore[no-any-return]


def whitened(pixels: Tensor) -> Tensor:
    return whitening()(pixels)


def normalised(pixels: Tensor) -> Tensor:
    return (pixels - DIGITS.mean[0]) / DIGITS.std[0]


def learned_logits(images: int = 30, classes: int = 10) -> Tensor:
    """Logits that are highest at the class, as DATM starts from those of its teacher."""
    noise = torch.randn(images, classes, generator=torch.Generator().manual_seed(0))
    return noise + 8 * torch.nn.functional.one_hot(torch.arange(images) // (images // classes), classes)


def publish_datm(folder: Path, images: Tensor, labels: Tensor) -> Path:
    torch.save(images.clone().cpu(), folder / "images_best.pt")
    torch.save(labels.clone().cpu(), folder / "labels_best.pt")
    torch.save(torch.tensor(0.0123), folder / "lr_best.pt")
    return folder


def publish_mtt(folder: Path, images: Tensor, labels: Tensor) -> Path:
    torch.save(images, folder / "images_best.pt")
    torch.save(labels, folder / "labels_best.pt")
    return folder


def publish_dc(folder: Path, images: Tensor, labels: Tensor) -> Path:
    runs = [[images + run, labels] for run in (2, 1, 0)]
    torch.save({"data": runs, "accs_all_exps": {"ConvNet": [np.float64(0.5)] * 3}}, folder / "res_DC_digits_ConvNet_3ipc.pt")
    return folder / "res_DC_digits_ConvNet_3ipc.pt"


def publish_gift(
    root: Path, images: Tensor, labels: Tensor, place: str = "rded/digits_ConvNet/ipc3", dataset: Any = "digits"
) -> Path:
    (root / place).mkdir(parents=True)
    torch.save({"dataset": dataset, "data": images, "label": labels}, root / place / "data.pt")
    return root / place


HARD = torch.arange(10).repeat_interleave(3)
#: Each format: how its authors write it, what it wants as images and as labels.
PUBLISHED: dict[str, tuple[Callable[[Path, Tensor, Tensor], Path], Callable[[Tensor], Tensor], Callable[[], Tensor]]] = {
    "datm": (publish_datm, whitened, learned_logits),
    "mtt": (publish_mtt, whitened, lambda: HARD),
    "tesla": (publish_mtt, whitened, lambda: learned_logits().softmax(1)),
    "dc": (publish_dc, normalised, lambda: HARD),
    "gift": (publish_gift, lambda pixels: pixels, learned_logits),
}
formats = pytest.mark.parametrize("name", PUBLISHED)


def publish(name: str, folder: Path, pixels: Tensor) -> Path:
    writer, images, labels = PUBLISHED[name]
    return writer(folder, images(pixels), labels())


# -- what a set becomes ----------------------------------------------------------------------------------------------------


def test_datm_is_whitened_images_their_logits_and_hard_labels_by_place(tmp_path: Path, pixels: Tensor) -> None:
    train = datasets.load("digits").train.images.double().flatten(1) / 255
    mean = train.mean(0)
    values, vectors = torch.linalg.eigh((train - mean).T @ (train - mean) / (len(train) - 1))
    matrix = vectors @ torch.diag((values.clamp_min(0) + 0.1).rsqrt()) @ vectors.T
    expected = ((pixels.double().flatten(1) - mean) @ matrix).view_as(pixels)
    logits = learned_logits()

    made = read("datm", publish_datm(tmp_path, whitened(pixels), logits), DIGITS)

    assert (made.images - expected).abs().max() < 1e-4
    assert made.soft_labels is not None and (made.soft_labels - logits).abs().max() < 1e-5
    assert made.labels.tolist() == [place // 3 for place in range(30)]
    assert (made.normalised, made.whitening, made.soft_kind, made.native_loss) == (True, "zca", "logits", "soft_ce")
    assert made.provenance["lr"] == pytest.approx(0.0123)


def test_mtt_has_hard_labels_and_is_whitened_or_normalised_as_told(tmp_path: Path, pixels: Tensor) -> None:
    folder = publish_mtt(tmp_path, normalised(pixels), HARD)
    made, plain = read("mtt", folder, DIGITS), read("mtt", folder, DIGITS, zca=False)
    assert (made.whitening, plain.whitening, plain.normalised) == ("zca", "", True)
    assert torch.equal(plain.images, normalised(pixels)) and torch.equal(plain.labels, HARD)
    assert plain.soft_labels is None and plain.native_loss == "ce"


def test_mtt_in_parts_is_read_whole(tmp_path: Path, pixels: Tensor) -> None:
    """As DC-BENCH keeps Tiny-ImageNet at IPC 50."""
    for part in range(3):
        torch.save(pixels[part * 10 : part * 10 + 10], tmp_path / f"images_best_{part}.pt")
        torch.save(HARD[part * 10 : part * 10 + 10], tmp_path / f"labels_best_{part}.pt")
    made = read("mtt", tmp_path, DIGITS)
    assert torch.equal(made.images, pixels) and torch.equal(made.labels, HARD)
    assert len(made.provenance["files"]) == 6


def test_tesla_has_probabilities_or_hard_labels(tmp_path: Path, pixels: Tensor) -> None:
    probabilities = learned_logits().softmax(1)
    made = read("tesla", publish_mtt(tmp_path, whitened(pixels), probabilities), DIGITS)
    assert made.soft_labels is not None and torch.equal(made.soft_labels, probabilities)
    assert (made.soft_kind, made.native_loss) == ("probabilities", "soft_ce") and torch.equal(made.labels, HARD)
    hard = read("tesla", publish_mtt(tmp_path, whitened(pixels), HARD), DIGITS)
    assert hard.soft_labels is None and hard.native_loss == "ce" and torch.equal(hard.labels, HARD)


def test_dc_reads_the_last_run(tmp_path: Path, pixels: Tensor) -> None:
    file = publish_dc(tmp_path, normalised(pixels), HARD)
    for path in (file, tmp_path):
        made = read("dc", path, DIGITS, method="dm")
        assert torch.equal(made.images, normalised(pixels)) and torch.equal(made.labels, HARD)
        assert (made.normalised, made.whitening, made.method, made.native_loss) == (True, "", "dm", "ce")


def test_dc_on_cifar100_is_brought_from_its_authors_statistics_to_the_datasets(tmp_path: Path) -> None:
    pixels = torch.rand(8, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    mean, std = torch.tensor([0.5071, 0.4866, 0.4409]), torch.tensor([0.2673, 0.2564, 0.2762])
    file = publish_dc(tmp_path, (pixels - mean.view(3, 1, 1)) / std.view(3, 1, 1), torch.arange(4).repeat_interleave(2))
    wanted = (pixels - torch.tensor(COLOUR.mean).view(3, 1, 1)) / torch.tensor(COLOUR.std).view(3, 1, 1)
    assert (read("dc", file, COLOUR).images - wanted).abs().max() < 1e-5
    assert (read("dc", file, COLOUR, statistics="dataset").images - wanted).abs().max() > 0.05


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


def test_unwhitened_pixels_are_taken_as_pixels_with_a_warning(tmp_path: Path, pixels: Tensor, refused: Refused) -> None:
    """images_zca_*.pt are, in spite of the name, what the whitening was undone of."""
    publish_datm(tmp_path, whitened(pixels), learned_logits())
    torch.save(pixels, tmp_path / "images_zca_5000.pt")
    torch.save(learned_logits() + 1, tmp_path / "labels_5000.pt")
    said: list[str] = []
    made = read("datm", tmp_path / "images_zca_5000.pt", DIGITS, say=said.append)
    assert not made.normalised and made.whitening == "" and torch.equal(made.images, pixels)
    assert made.soft_labels is not None and torch.equal(made.soft_labels, learned_logits() + 1)  # those of the same iteration
    assert any(line.startswith("warning: images_zca_5000.pt") and "un-whitened" in line for line in said)
    torch.save(pixels * 3, tmp_path / "images_zca_5000.pt")
    with refused(DataError, "images_zca_5000.pt", "[0, 1]"):
        read("datm", tmp_path, DIGITS, images="images_zca_5000.pt")


# -- what every format does ------------------------------------------------------------------------------------------------


@formats
def test_a_set_survives_saving_and_loading(tmp_path: Path, pixels: Tensor, name: str) -> None:
    made = read(name, publish(name, tmp_path, pixels), DIGITS)
    assert DistilledSet.load(made.save(tmp_path / "out" / "set.safetensors")).digest == made.digest
    assert made.dataset == "digits" and made.classes == 10


@formats
@pytest.mark.parametrize("ipc", [1, 2])
def test_a_lower_ipc_is_the_first_images_of_each_class(tmp_path: Path, pixels: Tensor, name: str, ipc: int) -> None:
    path = publish(name, tmp_path, pixels)
    whole = read(name, path, DIGITS)
    made = read(name, path / "data.pt" if name == "gift" else path, DIGITS, ipc=ipc)
    places = [label * 3 + image for label in range(10) for image in range(ipc)]
    assert torch.equal(made.images, whole.images[places]) and torch.equal(made.labels, whole.labels[places])
    if whole.soft_labels is not None:
        assert made.soft_labels is not None and torch.equal(made.soft_labels, whole.soft_labels[places])
    assert made.provenance["ipc"] == ipc and whole.provenance["ipc"] == 3


@formats
def test_the_provenance_tells_the_files_their_digests_and_what_was_assumed(tmp_path: Path, pixels: Tensor, name: str) -> None:
    path = publish(name, tmp_path, pixels)
    said: list[str] = []
    provenance = read(name, path, DIGITS, say=said.append).provenance
    found = {file.name: file for file in tmp_path.rglob("*.pt")}
    assert provenance["format"] == name and set(provenance["files"]) == set(found)
    assert all(sha == hashlib.sha256(found[file].read_bytes()).hexdigest() for file, sha in provenance["files"].items())
    assert "normalisation" in provenance["assumed"] and said


@formats
@pytest.mark.parametrize("ipc", [4, 0, -1])
def test_more_images_a_class_than_there_are_is_refused(
    tmp_path: Path, pixels: Tensor, refused: Refused, name: str, ipc: int
) -> None:
    path = publish(name, tmp_path, pixels)
    with refused(DataError, ".pt", f"{ipc} images a class", "it has 3"):
        read(name, path / "data.pt" if name == "gift" else path, DIGITS, ipc=ipc)


@formats
@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda images: images.to(torch.float32).where(images != images.max(), torch.nan), "finite"),
        (lambda images: images.where(images != images.max(), torch.inf), "finite"),
        (lambda images: (images * 10).to(torch.int32), "floats"),
        (lambda images: images[:, :, :8], "[N, 1, 16, 16]"),
        (lambda images: images.expand(-1, 3, -1, -1).contiguous(), "[N, 1, 16, 16]"),
        (lambda images: images[:29], "29 images"),
        (lambda images: images[:0], "[N, 1, 16, 16]"),
        (lambda images: {"images": images}, "tensor"),
    ],
    ids=["nan", "infinite", "integers", "shape", "channels", "one too few", "none", "no tensor"],
)
def test_images_that_do_not_fit_are_refused_by_file(
    tmp_path: Path, pixels: Tensor, refused: Refused, name: str, change: Callable[[Tensor], Any], words: str
) -> None:
    writer, images, labels = PUBLISHED[name]
    changed = change(images(pixels))
    if name == "dc":
        torch.save({"data": [[changed, HARD]]}, tmp_path / "res.pt")
        path = tmp_path / "res.pt"
    elif name == "gift":
        path = publish_gift(tmp_path, changed, labels())
    else:
        path = writer(tmp_path, images(pixels), labels())
        torch.save(changed, path / "images_best.pt")
    with refused(DataError, ".pt: ", words):
        read(name, path, DIGITS)


@formats
@pytest.mark.parametrize(
    ("labels", "words"),
    [
        (HARD.float(), "integers"),
        (HARD > 4, "integers"),
        (HARD[:29], "29 labels for 30 images"),
        (HARD + 1, "0..9"),
        (HARD - 1, "0..9"),
        (torch.cat([HARD[:-1], HARD[:1]]), "same number of images"),
        (learned_logits()[:, :9], "9"),
        (learned_logits()[:29], "29 labels"),
        (learned_logits().where(learned_logits() < 8, torch.nan), "finite"),
        (learned_logits().long(), "int"),
        ([1, 2, 3], "tensor"),
    ],
    ids=[
        "float",
        "bool",
        "one too few",
        "too high",
        "negative",
        "uneven",
        "classes",
        "soft too few",
        "nan",
        "soft integers",
        "list",
    ],
)
def test_labels_that_do_not_fit_are_refused_by_file(
    tmp_path: Path, pixels: Tensor, refused: Refused, name: str, labels: Any, words: str
) -> None:
    path = publish(name, tmp_path, pixels)
    if name == "dc":
        torch.save({"data": [[normalised(pixels), labels]]}, path)
    elif name == "gift":
        torch.save({"dataset": "digits", "data": pixels, "label": labels}, path / "data.pt")
    else:
        torch.save(labels, path / "labels_best.pt")
    soft = isinstance(labels, Tensor) and labels.dim() == 2
    hard = isinstance(labels, Tensor) and labels.dim() == 1
    if (name in ("mtt", "dc") and soft) or (name == "datm" and hard):  # of the other kind altogether
        words = "must be"
    with refused(DataError, ".pt: ", words):
        read(name, path, DIGITS)


@formats
def test_a_missing_file_and_an_empty_folder_are_refused(tmp_path: Path, pixels: Tensor, refused: Refused, name: str) -> None:
    (tmp_path / "empty").mkdir()
    with refused(DataError, "empty"):
        read(name, tmp_path / "empty", DIGITS)
    publish(name, tmp_path, pixels)
    for file in tmp_path.rglob("*.pt"):
        content = file.read_bytes()
        file.unlink()
        with refused(DataError, str(tmp_path), "no such" if name != "dc" else "no"):
            read(name, file if name in ("dc", "gift") else tmp_path, DIGITS)
        file.write_bytes(content)


def test_a_set_without_a_learning_rate_of_its_own_is_read_when_told_so(tmp_path: Path, pixels: Tensor, refused: Refused) -> None:
    folder = publish_datm(tmp_path, whitened(pixels), learned_logits())
    for rate in (torch.tensor([1.0, 2.0]), torch.tensor(float("nan")), torch.tensor(-0.1), "fast"):
        torch.save(rate, folder / "lr_best.pt")
        with refused(DataError, "lr_best.pt", "one number above 0"):
            read("datm", folder, DIGITS)
    assert "lr" not in read("datm", folder, DIGITS, lr="none").provenance


def test_a_name_that_leaves_the_folder_is_refused(tmp_path: Path, pixels: Tensor, refused: Refused) -> None:
    (tmp_path / "set").mkdir()
    publish_mtt(tmp_path, whitened(pixels), HARD)
    folder = publish_mtt(tmp_path / "set", whitened(pixels), HARD)
    for option in ("images", "labels"):
        with refused(DataError, "leaves the folder"):
            read("mtt", folder, DIGITS, **{option: "../labels_best.pt"})
    (folder / "images_best.pt").unlink()
    (folder / "images_best.pt").symlink_to(tmp_path / "images_best.pt")
    with refused(DataError, "leaves the folder"):
        read("mtt", folder, DIGITS)


def test_the_wrong_reader_is_told_by_the_labels(tmp_path: Path, pixels: Tensor, refused: Refused) -> None:
    folder = publish_datm(tmp_path, whitened(pixels), learned_logits())
    with refused(DataError, "labels_best.pt", "'datm'"):
        read("mtt", folder, DIGITS)
    with refused(DataError, "labels_best.pt", "'datm'"):
        read("tesla", folder, DIGITS)


@pytest.mark.parametrize("content", [[], {"data": []}, {"data": [[1, 2]]}, {"data": [[torch.rand(1)]]}, {"images": 1}, 3])
@pytest.mark.parametrize("name", ["dc", "gift"])
def test_a_file_of_another_layout_is_refused(tmp_path: Path, refused: Refused, name: str, content: Any) -> None:
    torch.save(content, tmp_path / "data.pt")
    with refused(DataError, "data.pt: ", '"data"'):
        read(name, tmp_path / "data.pt", DIGITS)


def test_an_option_that_a_reader_does_not_have_is_refused(tmp_path: Path, refused: Refused) -> None:
    with refused(BadOption, "zac"):
        read("mtt", tmp_path, DIGITS, zac=False)
    with refused(BadOption, "statistics"):
        read("dc", tmp_path, DIGITS, statistics="mine")
