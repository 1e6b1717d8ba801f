"""Sets that are torch-saved (DATM, MTT, TESLA, DC-BENCH, GIFT), written the way their authors' code writes them."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import cache
from pathlib import Path
from typing import Any

import numpy
import numpy as np
import torch
from torch import Tensor

from harness import datasets
from harness.datasets.cards import Card
from harness.distilled import readers
from harness.distilled.reading import Reading
from harness.distilled.set import DistilledSet

Refused = Callable[..., AbstractContextManager[None]]

DIGITS = Card("digits", (1, 16, 16), 10, (0.3052,), (0.3185,))
COLOUR = Card("cifar100", (3, 8, 8), 4, (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010))


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


def publish(name: str, folder: Path, pixels: Tensor) -> Path:
    writer, images, labels = PUBLISHED[name]
    return writer(folder, images(pixels), labels())


IPC = 3
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
