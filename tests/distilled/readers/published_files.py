"""Sets as publishers lay them out, made from digits and written as the authors' code writes them; archives to tamper with."""

from __future__ import annotations

import io
import shutil
import struct
import zipfile
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy
import pyarrow
import pyarrow.parquet
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from harness import DistilledSet, datasets
from harness.core.spec import Spec
from harness.datasets.cards import Card
from harness.datasets.decoded import LazySplit
from harness.datasets.split import Split
from harness.planning.published_sets import read
from tests.distilled.readers.stored_labels import write_hald, write_lp

DIGITS = Card("digits", (1, 16, 16), 10, (0.3052,), (0.3185,))
#: Small, so that thousands of cases take seconds.
SMALL = Card("small", (1, 4, 4), 2, (0.3,), (0.3,))

FOLDERS = ("rded", "sre2l", "cda", "gvbsm")
TENSORS = ("datm", "mtt", "tesla", "dc", "gift")
#: Stored labels, read together with the images that they are of.
LABELS = ("fkd", "lpld", "lpqld", "hald")
FORMATS = (*FOLDERS, *TENSORS, *LABELS)
#: Those of no author, or of one since 2024: class folders by any naming, tables of images, archives of folders.
NEWER = ("folder", "parquet", "npz", "ncfm", "zip", "tar")
#: Readers of what is called otherwise here.
READERS = {"zip": "folder", "tar": "folder"}

_NAMES: dict[str, Callable[[int, int], str]] = {
    "rded": lambda label, i: f"{label:05d}/class{label:05d}_id{i:05d}.jpg",
    "sre2l": lambda label, i: f"new{label:03d}/class{label:03d}_id{i:03d}.jpg",
    "cda": lambda label, i: f"{label:05d}/class{label:05d}_id{i:03d}.jpg",
    "gvbsm": lambda label, i: f"new{label:03d}/class{label:03d}_id{i:03d}.png",
}
#: Files of each format that a test damages, by the words that an error names them with, from where `write` wrote.
FILES = {
    "rded": ["00001/class00001_id00001.jpg"],
    "sre2l": ["new001/class001_id001.jpg"],
    "cda": ["00001/class00001_id001.jpg"],
    "gvbsm": ["new001/class001_id001.png"],
    "datm": ["images_best.pt", "labels_best.pt", "lr_best.pt"],
    "mtt": ["images_best.pt", "labels_best.pt"],
    "tesla": ["images_best.pt", "labels_best.pt"],
    "dc": ["res_DC.pt"],
    "gift": ["rded/small_ConvNet/ipc2/data.pt"],
    "fkd": ["labels/epoch_0/batch_0.tar", "labels/epoch_1/batch_1.tar"],
    "lpld": ["labels/epoch_0/batch_0.tar", "labels/epoch_1/batch_1.tar"],
    "lpqld": ["labels/batch_0.tar", "labels/batch_3.tar"],
    "hald": ["labels/epoch_0.tar", "labels/epoch_1.tar"],
    "folder": ["1/1-image01.png"],
    "parquet": ["data/train-00000-of-00001-0123456789abcdef.parquet"],
    "npz": ["set.npz"],
    "ncfm": ["data_20000.pt"],
    "zip": ["set.zip"],
    "tar": ["set.tar.gz"],
}


@cache
def _train() -> Split | LazySplit:
    return datasets.load("digits").train


def pixels(card: Card, ipc: int) -> Tensor:
    """Real digits, uint8 [classes * ipc, C, H, W], class by class."""
    train = _train()
    chosen = torch.cat([(train.labels == label).nonzero()[:ipc, 0] for label in range(card.classes)])
    images = train.images[chosen].float()
    images = functional.interpolate(images, size=card.shape[1:], mode="bilinear", antialias=True)
    return images.round().clamp(0, 255).to(torch.uint8).expand(-1, card.shape[0], -1, -1).contiguous()


def logits(card: Card, ipc: int) -> Tensor:
    """Soft labels, float32 [classes * ipc, classes], highest at the class."""
    noise = torch.randn(card.classes * ipc, card.classes, generator=torch.Generator().manual_seed(3))
    return noise + 6 * functional.one_hot(torch.arange(card.classes).repeat_interleave(ipc), card.classes)


def write(form: str, folder: Path, card: Card = SMALL, ipc: int = 2) -> Path:
    """Write a set of a format into a new folder; return the path that an importer is given."""
    folder.mkdir(parents=True)
    if form in NEWER:
        return _NEWER[form](folder, card, ipc)
    if form in FOLDERS:
        return write_folders(form, folder, card, ipc)
    if form in LABELS:
        write_folders("sre2l", folder / "images", card, ipc)
        return write_stored(form, folder / "labels", card, ipc)
    images, hard = (pixels(card, ipc).float() / 255 - 0.3) / 0.3, torch.arange(card.classes).repeat_interleave(ipc)
    soft = logits(card, ipc)
    if form == "dc":
        torch.save({"data": [[images - 1, hard], [images, hard]], "accs_all_exps": {"ConvNet": [0.5]}}, folder / "res_DC.pt")
    elif form == "gift":
        file = folder / "rded" / f"{card.name}_ConvNet" / f"ipc{ipc}" / "data.pt"
        file.parent.mkdir(parents=True)
        torch.save({"dataset": card.name, "data": pixels(card, ipc) / 255, "label": soft}, file)
    else:
        torch.save(images, folder / "images_best.pt")
        torch.save({"datm": soft, "mtt": hard, "tesla": soft.softmax(1)}[form], folder / "labels_best.pt")
        if form == "datm":
            torch.save(torch.tensor(0.0123), folder / "lr_best.pt")
    return folder


def _folder(folder: Path, card: Card, ipc: int) -> Path:
    """D4M's names, with what systems leave behind."""
    for place, image in enumerate(pixels(card, ipc)):
        file = folder / f"{place // ipc}" / f"{place // ipc}-image0{place % ipc}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image.expand(3, -1, -1).permute(1, 2, 0).numpy()).save(file)
    return folder


def _parquet(folder: Path, card: Card, ipc: int) -> Path:
    rows = []
    for image in pixels(card, ipc):
        stream = io.BytesIO()
        Image.fromarray(image.expand(3, -1, -1).permute(1, 2, 0).numpy()).save(stream, "PNG")
        rows.append({"bytes": stream.getvalue(), "path": f"{len(rows)}.png"})
    labels = pyarrow.array([place // ipc for place in range(len(rows))], pyarrow.int32())
    (folder / "data").mkdir()
    file = folder / FILES["parquet"][0]
    pyarrow.parquet.write_table(pyarrow.table({"image": rows, "class_id": labels}), file, row_group_size=max(1, len(rows) // 2))
    return folder


def _npz(folder: Path, card: Card, ipc: int) -> Path:
    labels = numpy.repeat(numpy.arange(card.classes), ipc)
    numpy.savez_compressed(folder / "set.npz", images=pixels(card, ipc).numpy(), labels=labels)
    return folder


def _ncfm(folder: Path, card: Card, ipc: int) -> Path:
    torch.save([pixels(card, ipc).float() / 255, torch.arange(card.classes).repeat_interleave(ipc)], folder / "data_20000.pt")
    return folder


def _zip(folder: Path, card: Card, ipc: int) -> Path:
    _folder(folder / "set", card, ipc)
    return _packed(folder, "zip")


def _tar(folder: Path, card: Card, ipc: int) -> Path:
    _folder(folder / "set", card, ipc)
    return _packed(folder, "gztar")


def _packed(folder: Path, kind: str) -> Path:
    archive = Path(shutil.make_archive(str(folder / "set"), kind, folder, "set"))
    shutil.rmtree(folder / "set")
    return archive


_NEWER: dict[str, Callable[[Path, Card, int], Path]] = {
    "folder": _folder,
    "parquet": _parquet,
    "npz": _npz,
    "ncfm": _ncfm,
    "zip": _zip,
    "tar": _tar,
}


def write_folders(form: str, folder: Path, card: Card, ipc: int) -> Path:
    for place, image in enumerate(pixels(card, ipc)):
        file = folder / _NAMES[form](place // ipc, place % ipc)
        file.parent.mkdir(parents=True, exist_ok=True)
        picture = Image.fromarray(image[0].numpy() if card.shape[0] == 1 else image.permute(1, 2, 0).numpy())
        picture.save(file, quality=95) if file.suffix == ".jpg" else picture.save(file)
    return folder


def write_stored(form: str, folder: Path, card: Card, ipc: int) -> Path:
    """Stored labels, two epochs of two batches each."""
    count, size = card.classes * ipc, card.shape[1:]
    if form == "hald":
        write_hald(folder, count, card.classes, size, batch=count // 2, epochs=2)
    elif form == "lpld":
        write_lp(folder, count, card.classes, size, batch=count // 2, batches=4, flat=False)
    elif form == "lpqld":
        write_lp(folder, count, card.classes, size, batch=count // 2, batches=4, topk=card.classes // 2, rounds=1)
    else:
        write_labels(folder, card, ipc)
    return folder


def write_labels(folder: Path, card: Card, ipc: int, epochs: int = 2) -> Path:
    """FKD: two batches an epoch, mixed by CutMix."""
    draws = torch.Generator().manual_seed(5)
    count = card.classes * ipc
    for epoch in range(epochs):
        (folder / f"epoch_{epoch}").mkdir(parents=True)
        for step, size in enumerate((-(-count // 2), count // 2)):
            coords = torch.rand(size, 4, generator=draws) / 2
            partner = torch.randperm(size, generator=draws)
            soft = torch.randn(size, card.classes, generator=draws).half()
            content = [coords, coords[:, 0] > 0.25, partner, 0.75, [0, 1, 2, 3], soft]
            torch.save(content, folder / f"epoch_{epoch}" / f"batch_{step}.tar")
    return folder


def imported(form: str, path: Path, card: Card = SMALL, ipc: int | None = None, **options: Any) -> DistilledSet:
    """Import as `giftbench import` does, decoding in this process."""
    options = {"images": "images"} | options if form in LABELS else options
    return read(Spec(name=READERS.get(form, form), options=options), path, card, ipc, lambda line: None, workers=1)


# -- tampering -------------------------------------------------------------------------------------------------------------


def members(file: Path) -> dict[str, bytes]:
    """Return what a torch-saved file's archive holds, by the names within its one folder."""
    with zipfile.ZipFile(file) as archive:
        return {info.filename.partition("/")[2]: archive.read(info) for info in archive.infolist()}


def pack(file: Path, parts: Mapping[str, bytes], compress: bool = False) -> Path:
    """Write an archive as torch.save lays it out, of any content; a name that holds a slash at its start is taken as it is."""
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED if compress else zipfile.ZIP_STORED) as archive:
        for name, content in parts.items():
            archive.writestr(name[1:] if name.startswith("/") else f"archive/{name}", content)
    return file


def repack(file: Path, changes: Mapping[str, bytes]) -> Path:
    return pack(file, members(file) | changes)


def with_pickle(file: Path, pickled: bytes) -> Path:
    """Write an archive with this pickle and no tensors."""
    return pack(file, {"data.pkl": pickled, "byteorder": b"little", "version": b"3\n"})


def long(number: int) -> bytes:
    """A pickled whole number."""
    body = number.to_bytes(number.bit_length() // 8 + 1, "little", signed=True)
    return b"\x8a" + struct.pack("<B", len(body)) + body
