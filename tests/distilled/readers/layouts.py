"""Sets since 2024 as they lie somewhere public, written small the way their authors' code writes them, of digits."""

from __future__ import annotations

import io
import shutil
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy
import pyarrow
import pyarrow.parquet
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from harness.datasets.cards import Card
from tests.distilled.readers.published_files import pixels

#: Ten classes of ImageNet, in its order.
WNIDS = tuple(
    f"n{number:08d}" for number in (1440764, 1443537, 1484850, 1491361, 1494475, 1496331, 1498041, 1514668, 1514859, 1518878)
)
DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
PROMPTS = tuple(f"{number}, a digit, drawn by hand" for number in DIGITS)


def pictures(card: Card, ipc: int, side: int = 0) -> Iterator[tuple[int, int, Image.Image]]:
    """Give the class, the number in it and the picture of each image, in colour as diffusion models make them."""
    images = pixels(card, ipc)
    if side:
        images = functional.interpolate(images.float(), size=side, mode="bilinear").round().to(torch.uint8)
    for place, image in enumerate(images):
        colour = image.expand(3, -1, -1).permute(1, 2, 0).numpy()
        yield place // ipc, place % ipc, Image.fromarray(numpy.ascontiguousarray(colour))


def _save(picture: Image.Image, file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    picture.save(file)


def d4m(folder: Path, card: Card, ipc: int) -> Path:
    """D4M: a folder of a class's index without zeros, files of the round and the place in it."""
    for label, number, picture in pictures(card, ipc):
        _save(picture, folder / f"{label}" / f"{label}-image{number // 10}{number % 10}.png")
    return folder


def cao2(folder: Path, card: Card, ipc: int) -> Path:
    """CaO2: a folder a WordNet id, files by number, larger than the students' images."""
    for label, number, picture in pictures(card, ipc, side=card.shape[1] * 8 // 7):
        _save(picture, folder / WNIDS[label] / f"{number}.jpg")
    return folder


def d3hr(folder: Path, card: Card, ipc: int) -> Path:
    """D3HR: folders of several IPCs side by side, a list of each one's files, a map of the classes."""
    for count in (ipc, ipc + 9):
        part = folder / f"{card.name}_{count}ipc"
        for label, number, picture in pictures(card, count):
            _save(picture, part / WNIDS[label] / f"{number}.png")
        lines = [f"/scratch/somebody/{WNIDS[label]}/{number}.png" for label in range(card.classes) for number in range(count)]
        (part / "train.txt").write_text("\n".join(lines))
    (folder / "mapping.json").write_text("{}")
    return folder


def vlcp(folder: Path, card: Card, ipc: int) -> Path:
    """VLCP: a folder is called by the text that its images were prompted with."""
    for label, number, picture in pictures(card, ipc):
        _save(picture, folder / PROMPTS[label] / f"{number:03d}.png")
    (folder.parent / f"{folder.name}.txt").write_text("\n".join(PROMPTS[: card.classes]))
    return folder


def numbered(folder: Path, card: Card, ipc: int) -> Path:
    """What people make: numbers without zeros, images in a folder of the class, and what systems and tools leave behind."""
    for label, number, picture in pictures(card, ipc):
        _save(picture, folder / "train" / f"{label}" / "images" / f"{number}.png")
    (folder / "train" / "0" / "Thumbs.db").write_bytes(b"x")
    (folder / "train" / "__MACOSX" / "0").mkdir(parents=True)
    (folder / "train" / "__MACOSX" / "0" / "._0.png").write_bytes(b"x")
    (folder / "train" / "logs").mkdir()
    (folder / "train" / "logs" / "train.log").write_text("loss 0.1")
    (folder / "train" / "desktop.ini").write_text("x")
    return folder


def rethinkdc(folder: Path, card: Card, ipc: int) -> Path:
    """rethinkdc: parquet shards as `datasets` pushes them, images as {bytes, path} and class ids as int32."""
    rows: list[tuple[bytes, int, str]] = []
    for label, number, picture in pictures(card, ipc):
        stream = io.BytesIO()
        picture.save(stream, "PNG")
        rows.append((stream.getvalue(), label, f"{label}_{number}.png"))
    (folder / "data").mkdir(parents=True)
    half = len(rows) // 2
    for index, part in enumerate((rows[:half], rows[half:])):
        table = pyarrow.table(
            {
                "image": [{"bytes": content, "path": name} for content, _, name in part],
                "class_id": pyarrow.array([label for _, label, _ in part], pyarrow.int32()),
            }
        )
        about = '{"info": {"features": {"image": {"_type": "Image"}, "class_id": {"dtype": "int32", "_type": "Value"}}}}'
        file = folder / "data" / f"train-0000{index}-of-00002-0123456789abcdef.parquet"
        pyarrow.parquet.write_table(table.replace_schema_metadata({"huggingface": about}), file, row_group_size=max(1, half // 2))
    (folder / "README.md").write_text("---\nconfigs: []\n---\n")
    return folder


def sre2l_zip(folder: Path, card: Card, ipc: int) -> Path:
    """CDA on the Hub: a zip of class folders, as a Mac's archiver writes one."""
    folder.mkdir(parents=True)
    with zipfile.ZipFile(folder / f"cda_{card.name}_ipc{ipc}.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for label, number, picture in pictures(card, ipc):
            stream, name = io.BytesIO(), f"class{label:03d}_id{number:03d}.jpg"
            picture.save(stream, "JPEG")
            archive.writestr(f"syn/new{label:03d}/{name}", stream.getvalue())
            archive.writestr(f"__MACOSX/syn/new{label:03d}/._{name}", b"x")
        archive.writestr("syn/.DS_Store", b"x")
    return next(folder.glob("*.zip"))


def folder_tar(folder: Path, card: Card, ipc: int) -> Path:
    """A tar of class folders, as `tar czf set.tar.gz set` writes one."""
    d4m(folder / "set", card, ipc)
    with tarfile.open(folder / "set.tar.gz", "w:gz") as archive:
        archive.add(folder / "set", "./set")
    shutil.rmtree(folder / "set")
    return folder / "set.tar.gz"


def ncfm(folder: Path, card: Card, ipc: int) -> Path:
    """NCFM: of each iteration a list of images in [0, 1], each a mosaic of 2 x 2, and of int64 targets."""
    folder.mkdir(parents=True)
    tiles = pixels(card, 4 * ipc).float() / 255
    small = functional.interpolate(tiles, size=(card.shape[1] // 2, card.shape[2] // 2)).view(
        card.classes, 4, ipc, card.shape[0], -1
    )
    quarters = small.view(card.classes, 4, ipc, card.shape[0], card.shape[1] // 2, card.shape[2] // 2)
    rows = [torch.cat([quarters[:, 2 * row], quarters[:, 2 * row + 1]], 4) for row in (0, 1)]
    images = torch.cat(rows, 3).flatten(0, 1)
    targets = torch.tensor(numpy.repeat(numpy.arange(card.classes), ipc), dtype=torch.long)
    for iteration in (2000, 20000):
        torch.save([images * (iteration / 20000), targets], folder / f"data_{iteration}.pt")
    return folder


def npz(folder: Path, card: Card, ipc: int) -> Path:
    """An .npz as numpy's users write it: channels last, labels [N, 1]."""
    folder.mkdir(parents=True)
    labels = numpy.repeat(numpy.arange(card.classes, dtype=numpy.uint8), ipc)[:, None]
    numpy.savez_compressed(folder / "set.npz", x_train=pixels(card, ipc).permute(0, 2, 3, 1).numpy(), y_train=labels)
    return folder


def datadam(folder: Path, card: Card, ipc: int) -> Path:
    """DataDAM: syn_data_{dataset}_ipc_{ipc}.pt of {"data": [[images, labels], …]}."""
    folder.mkdir(parents=True)
    images = (pixels(card, ipc).float() / 255 - card.mean[0]) / card.std[0]
    labels = torch.arange(card.classes).repeat_interleave(ipc)
    torch.save({"data": [[images, labels]]}, folder / f"syn_data_{card.name}_ipc_{ipc}.pt")
    return folder


@dataclass(frozen=True)
class Layout:
    """How authors write their sets, by which reader these are read, which options it has to be given, whether order is stated."""

    write: Callable[[Path, Card, int], Path]
    reader: str
    options: str = ""
    stated: bool = False

    @property
    def format(self) -> str:
        return f"{self.reader}({self.options})" if self.options else self.reader


LAYOUTS = {
    "D4M": Layout(d4m, "folder", "method=d4m, native_loss=ce"),
    "CaO2": Layout(cao2, "folder", "method=cao2, native_loss=ce"),
    "D3HR": Layout(d3hr, "folder", "method=d3hr, native_loss=ce"),
    "VLCP": Layout(vlcp, "folder", "method=vlcp, native_loss=ce", stated=True),
    "own": Layout(numbered, "folder", "method=own, native_loss=ce"),
    "rethinkdc": Layout(rethinkdc, "parquet", "method=rethinkdc, native_loss=ce"),
    "CDA.zip": Layout(sre2l_zip, "cda"),
    "set.tar.gz": Layout(folder_tar, "folder", "method=tarred, native_loss=ce"),
    "NCFM": Layout(ncfm, "ncfm"),
    "npz": Layout(npz, "npz", "method=own-npz, native_loss=ce"),
    "DataDAM": Layout(datadam, "dc", "method=datadam"),
}


def labels_of(card: Card, ipc: int) -> Tensor:
    return torch.arange(card.classes).repeat_interleave(ipc)
