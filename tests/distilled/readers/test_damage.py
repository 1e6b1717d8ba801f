"""The newer formats damaged in ten ways and more: each refused in one line that names the place; nothing is run or written."""

from __future__ import annotations

import io
import os
import pickle
import shutil
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy
import pyarrow
import pyarrow.parquet
import pytest
import torch
from PIL import Image

from harness.core.errors import DataError
from harness.core.home import home
from tests.distilled.readers.published_files import FILES, NEWER, imported, write
from tests.distilled.readers.test_hostile_files import Command, png_bomb, snapshot

Damage = Callable[[Path], object]


# -- of any file -----------------------------------------------------------------------------------------------------------


ANY: dict[str, Damage] = {
    "cut in half": lambda file: file.write_bytes(file.read_bytes()[: file.stat().st_size // 2]),
    "empty": lambda file: file.write_bytes(b""),
    "text": lambda file: file.write_text("404: not found"),
    "a pickle that runs": lambda file: file.write_bytes(pickle.dumps(Command("touch sentinel"))),
    "gone": lambda file: file.unlink(),
    "a folder": lambda file: (file.unlink(), file.mkdir()),
    "a pipe": lambda file: (file.unlink(), os.mkfifo(file)),
}


# -- of one format ---------------------------------------------------------------------------------------------------------


def parquet(**columns: Callable[[Any], Any]) -> Damage:
    """Change columns: None leaves one out."""

    def damage(file: Path) -> None:
        table = pyarrow.parquet.read_table(file).to_pydict()
        for name, change in columns.items():
            if (value := change(table.get(name))) is None:
                del table[name]
            else:
                table[name] = value
        pyarrow.parquet.write_table(pyarrow.table(table), file)

    return damage


def npz(**arrays: Callable[[Any], Any]) -> Damage:
    def damage(file: Path) -> None:
        with numpy.load(file) as loaded:
            content = dict(loaded)
        content |= {name: change(content.get(name)) for name, change in arrays.items()}
        numpy.savez(file, **{name: value for name, value in content.items() if value is not None})

    return damage


def saved(change: Callable[[Any, Any], Any]) -> Damage:
    return lambda file: torch.save(change(*torch.load(file, weights_only=True)), file)


def zipped(change: Callable[[dict[str, bytes]], dict[str, bytes]], mode: int = 0o100644, last: str = "") -> Damage:
    """Pack a zip again; `last` has the mode."""

    def damage(file: Path) -> None:
        with zipfile.ZipFile(file) as archive:
            content = {info.filename: archive.read(info) for info in archive.infolist() if not info.is_dir()}
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, entry in change(content).items():
                info = zipfile.ZipInfo(name)
                info.external_attr = (mode if name == last else 0o100644) << 16
                archive.writestr(info, entry, zipfile.ZIP_DEFLATED)

    return damage


def tarred(change: Callable[[dict[str, bytes]], dict[str, bytes]], kind: bytes = tarfile.REGTYPE, last: str = "") -> Damage:
    """Pack a tar again; `last` is of the kind."""

    def damage(file: Path) -> None:
        with tarfile.open(file) as archive:
            content = {info.name: archive.extractfile(info).read() for info in archive if info.isreg()}  # type: ignore[union-attr]
        with tarfile.open(file, "w:gz") as archive:
            for name, entry in change(content).items():
                info = tarfile.TarInfo(name)
                info.size, info.type, info.linkname = len(entry), kind if name == last else tarfile.REGTYPE, "/etc/passwd"
                archive.addfile(info, io.BytesIO(entry))

    return damage


def without(name: str) -> Callable[[dict[str, bytes]], dict[str, bytes]]:
    return lambda content: {each: entry for each, entry in content.items() if name not in each}


def renamed(old: str, new: str) -> Callable[[dict[str, bytes]], dict[str, bytes]]:
    return lambda content: {each.replace(old, new): entry for each, entry in content.items()}


def deep() -> bytes:
    stream = io.BytesIO()
    Image.fromarray(numpy.zeros((4, 4), numpy.uint16)).save(stream, "PNG")
    return stream.getvalue()


first_image: Callable[[Any], Any] = lambda rows: [{"bytes": png_bomb(60_000), "path": "0.png"}, *rows[1:]]  # noqa: E731
OWN: dict[str, dict[str, Damage]] = {
    "folder": {
        "no class 1": lambda file: shutil.rmtree(file.parent),
        "an empty class": lambda file: [each.unlink() for each in file.parent.iterdir()],
        "a class under two names": lambda file: shutil.copytree(file.parent, file.parent.with_name("01")),
        "a class too many": lambda file: shutil.copytree(file.parent, file.parent.with_name("2")),
        "a name among numbers": lambda file: file.parent.rename(file.parent.with_name("dog")),
        "a bomb": lambda file: file.write_bytes(png_bomb(60_000)),
        "16 bits": lambda file: file.write_bytes(deep()),
        "another number of images": lambda file: shutil.copy(file, file.with_name("x.png")),
        "a name of two lines": lambda file: file.rename(file.with_name("a\nb.png")),
    },
    "parquet": {
        "a label of -1": parquet(class_id=lambda labels: [-1, *labels[1:]]),
        "a label too high": parquet(class_id=lambda labels: [2, *labels[1:]]),
        "no label": parquet(class_id=lambda labels: [None, *labels[1:]]),
        "fractions": parquet(class_id=lambda labels: [0.5, *labels[1:]]),
        "names of no class": parquet(class_id=lambda labels: ["a", "b", "a", "b"]),
        "two columns of labels": parquet(label=lambda _: [0, 0, 1, 1], class_id=lambda labels: labels),
        "no column of labels": parquet(class_id=lambda _: None),
        "no column of images": parquet(image=lambda rows: [row["path"] for row in rows]),
        "no image": parquet(image=lambda rows: [None, *rows[1:]]),
        "an image elsewhere": parquet(image=lambda rows: [{"bytes": None, "path": "/etc/passwd"}, *rows[1:]]),
        "no image at all": parquet(image=lambda rows: [{"bytes": b"GIF89a", "path": "x"}, *rows[1:]]),
        "a bomb": parquet(image=first_image),
        "one of two shards": lambda file: file.rename(file.with_name("train-00000-of-00002.parquet")),
        "classes of other sizes": parquet(class_id=lambda labels: [0, 0, 0, 1]),
        "no rows": parquet(class_id=lambda labels: [], image=lambda rows: []),
    },
    "npz": {
        "a label too few": npz(labels=lambda labels: labels[1:]),
        "a label too high": npz(labels=lambda labels: labels + 1),
        "fractions": npz(labels=lambda labels: labels + 0.5),
        "truths": npz(labels=lambda labels: labels > 0),
        "no labels": npz(labels=lambda labels: None),
        "objects": npz(labels=lambda labels: numpy.array([Command("touch sentinel")] * 4, dtype=object)),
        "flat images": npz(images=lambda images: images.reshape(4, -1)),
        "another size": npz(images=lambda images: images[:, :, :3]),
        "not finite": npz(images=lambda images: images * numpy.nan),
        "from 0 to 255 as floats": npz(images=lambda images: images.astype(numpy.float32)),
        "below 0": npz(images=lambda images: images.astype(numpy.int64) - 1),
        "no images": npz(images=lambda images: images[:0], labels=lambda labels: labels[:0]),
        "two of a kind": lambda file: shutil.copy(file, file.with_name("other.npz")),
    },
    "ncfm": {
        "a dict": saved(lambda images, targets: {"images": images, "targets": targets}),
        "three": saved(lambda images, targets: [images, targets, targets]),
        "turned": saved(lambda images, targets: [targets, images]),
        "fractions": saved(lambda images, targets: [images, targets + 0.5]),
        "a target too high": saved(lambda images, targets: [images, targets + 1]),
        "a target too few": saved(lambda images, targets: [images, targets[1:]]),
        "another size": saved(lambda images, targets: [images[:, :, :3], targets]),
        "not finite": saved(lambda images, targets: [images * torch.nan, targets]),
        "a list of targets": saved(lambda images, targets: [images, targets.tolist()]),
        "classes of other sizes": saved(lambda images, targets: [images, torch.tensor([0, 0, 0, 1])]),
        "several files": lambda file: shutil.copy(file, file.with_name("best.pt")),
    },
    "zip": {
        "a name that leads out": zipped(renamed("set/1/1-image01", "../outside")),
        "a rooted name": zipped(renamed("set/1/1-image01", "/outside")),
        "a link": zipped(lambda content: {**content, "set/link": b"/etc/passwd"}, 0o120777, "set/link"),
        "a bomb": zipped(lambda content: {**content, "set/zeros": bytes(300 << 20)}),
        "no class 1": zipped(without("set/1/")),
        "a broken image": zipped(lambda content: {**content, "set/1/1-image01.png": b"x"}),
        "a file that is a folder": zipped(lambda content: {**content, "set/1/1-image01.png/x": b"x"}),
        "nothing": zipped(lambda content: {}),
    },
    "tar": {
        "a name that leads out": tarred(renamed("set/1/1-image01", "../outside")),
        "a rooted name": tarred(renamed("set/1/1-image01", "/outside")),
        "a link": tarred(lambda content: {**content, "set/link": b""}, tarfile.SYMTYPE, "set/link"),
        "a hard link": tarred(lambda content: {**content, "set/link": b""}, tarfile.LNKTYPE, "set/link"),
        "a device": tarred(lambda content: {**content, "set/link": b""}, tarfile.CHRTYPE, "set/link"),
        "no class 1": tarred(without("set/1/")),
        "a broken image": tarred(lambda content: {**content, "set/1/1-image01.png": b"x"}),
        "nothing": tarred(lambda content: {}),
    },
}
CASES = [(form, what, damage) for form in NEWER for what, damage in (ANY | OWN[form]).items()]


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Work in a folder that would show what is run or written under a relative name."""
    (tmp_path / "here").mkdir()
    (home() / "unpacked").mkdir(parents=True, exist_ok=True)
    monkeypatch.chdir(tmp_path / "here")
    yield
    assert [*(tmp_path / "here").iterdir()] == []


@pytest.mark.parametrize(("form", "what", "damage"), CASES, ids=[f"{form}: {what}" for form, what, _ in CASES])
def test_a_damaged_set_is_refused_in_one_line(tmp_path: Path, form: str, what: str, damage: Damage) -> None:
    path = write(form, tmp_path / "set")
    damage(tmp_path / "set" / FILES[form][0])
    before = snapshot(tmp_path)
    with pytest.raises(DataError) as caught:
        imported(form, path)
    message = str(caught.value)
    assert len(message) < 500 and message.isprintable() and message.startswith(str(tmp_path)), message
    assert snapshot(tmp_path) == before


def test_each_is_damaged_in_ten_ways() -> None:
    assert min(len(ANY) + len(OWN[form]) for form in NEWER) >= 10


@pytest.mark.parametrize("form", NEWER)
def test_a_link_that_leads_out_is_not_followed(tmp_path: Path, form: str) -> None:
    path = write(form, tmp_path / "set")
    file = tmp_path / "set" / FILES[form][0]
    if file == path:  # what the user names itself may be a link
        return
    shutil.move(file, tmp_path / file.name)
    file.symlink_to(tmp_path / file.name)
    with pytest.raises(DataError, match="symbolic link that leaves"):
        imported(form, path)


@pytest.mark.parametrize("form", NEWER)
def test_what_is_not_damaged_is_read_and_a_lower_ipc_is_its_first_images(tmp_path: Path, form: str) -> None:
    path = write(form, tmp_path / "set")
    made, first = imported(form, path), imported(form, path, ipc=1)
    assert made.ipc == 2 and first.ipc == 1 and made.classes == 2
    each = made.provenance.get("decoded", 1)
    assert first.labels.tolist() == [0] * each + [1] * each
    rows = [index for index in range(len(made)) if index % 2 == 0]
    assert torch.equal(first.images, made.images[rows])
    with pytest.raises(DataError, match=r"2 images a class|3 are asked for|it has 2"):
        imported(form, path, ipc=3)
