"""Files that were made to harm, or only damaged: one line that names the file or folder; nothing runs, nothing is written."""

from __future__ import annotations

import hashlib
import io
import os
import pickle
import shutil
import struct
import tarfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy
import pytest
import torch
from torch import Tensor

from harness import DistilledSet
from harness.core.errors import DataError, GiftbenchError
from tests.distilled.readers.published_files import (
    FILES,
    FOLDERS,
    FORMATS,
    LABELS,
    SMALL,
    TENSORS,
    imported,
    long,
    members,
    pack,
    repack,
    with_pickle,
    write,
)

#: Formats whose labels are tensors, and every file of each format that torch.save wrote.
SAVED = [(form, name) for form in (*TENSORS, *LABELS) for name in FILES[form]]
EVERY = [(form, name) for form in FORMATS for name in FILES[form]]
Snapshot = dict[str, tuple[int, str]]


def snapshot(folder: Path) -> Snapshot:
    """Names, kinds and content of everything in a folder."""
    return {
        str(path.relative_to(folder)): (
            path.lstat().st_mode,
            hashlib.sha256(path.read_bytes() if path.is_file() else b"").hexdigest(),
        )
        for path in sorted(folder.rglob("*"))
    }


@contextmanager
def refused(tmp_path: Path, *words: str) -> Iterator[None]:
    """Expect one clear line that begins with a place in `tmp_path` and holds these words; and an untouched folder."""
    before, here = snapshot(tmp_path), snapshot(Path.cwd()) if Path.cwd().is_relative_to(tmp_path) else {}
    with pytest.raises(GiftbenchError) as caught:
        yield
    message = str(caught.value)
    assert type(caught.value) is DataError, message
    assert "\n" not in message and message.startswith(str(tmp_path)), message
    assert [word for word in words if word not in message] == [], message
    assert snapshot(tmp_path) == before
    assert not here or snapshot(Path.cwd()) == here


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work in a folder that would show a file written under a relative name."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")


class Command:
    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, (self.command,)


# -- code ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("form", "name"), SAVED)
def test_a_pickle_that_runs_a_command_is_refused_and_does_not_run_it(tmp_path: Path, form: str, name: str) -> None:
    path = write(form, tmp_path / "set")
    file, command = tmp_path / "set" / name, Command(f"touch {tmp_path / 'sentinel'}")
    honest = members(file)
    for content in (
        lambda: torch.save(command, file),
        lambda: torch.save({"data": command, "label": torch.zeros(4)}, file),
        lambda: torch.save([command] * 6, file),
        lambda: pack(file, honest | {"data.pkl": pickle.dumps(command, protocol=2)}),
        lambda: file.write_bytes(pickle.dumps(command)),
        lambda: torch.save(command, file, _use_new_zipfile_serialization=False),
    ):
        content()
        with refused(tmp_path, name.rpartition("/")[2]):
            imported(form, path)


@pytest.mark.parametrize("form", FOLDERS)
def test_a_pickle_in_place_of_an_image_is_refused(tmp_path: Path, form: str) -> None:
    path = write(form, tmp_path / "set")
    torch.save(Command(f"touch {tmp_path / 'sentinel'}"), tmp_path / "set" / FILES[form][0])
    with refused(tmp_path, FILES[form][0]):
        imported(form, path)


# -- names -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("form", "name"), SAVED)
def test_an_archive_whose_names_lead_out_is_refused_and_not_unpacked(tmp_path: Path, form: str, name: str) -> None:
    path = write(form, tmp_path / "set")
    file = tmp_path / "set" / name
    for outside in ("../outside", "data/../../outside", "/../outside", f"/{tmp_path}/outside"):
        write_again(form, tmp_path)
        repack(file, {outside: b"x"})
        with refused(tmp_path, file.name):
            imported(form, path)


def write_again(form: str, tmp_path: Path) -> None:
    shutil.rmtree(tmp_path / "set")
    write(form, tmp_path / "set")


@pytest.mark.parametrize("form", FORMATS)
def test_a_tar_whose_names_lead_out_is_refused_and_not_unpacked(tmp_path: Path, form: str) -> None:
    path = write(form, tmp_path / "set")
    with tarfile.open(tmp_path / "set" / FILES[form][0], "w") as archive:
        for outside in ("../outside", f"{tmp_path}/outside"):
            member = tarfile.TarInfo(outside)
            member.size = 1
            archive.addfile(member, io.BytesIO(b"x"))
    with refused(tmp_path, FILES[form][0].rpartition("/")[2]):
        imported(form, path)


@pytest.mark.parametrize(("form", "name"), EVERY)
def test_a_symbolic_link_that_leads_out_is_not_followed(tmp_path: Path, form: str, name: str) -> None:
    path = write(form, tmp_path / "set")
    file = tmp_path / "set" / name
    file.rename(tmp_path / file.name)
    file.symlink_to(tmp_path / file.name)
    if form == "gift":
        path = tmp_path / "set"
    with refused(tmp_path):
        imported(form, path)


@pytest.mark.parametrize("form", [*FOLDERS, "fkd", "lpld"])  # files of the others lie in the folder that the user names
def test_a_folder_that_is_a_link_out_is_not_followed(tmp_path: Path, form: str) -> None:
    path = write(form, tmp_path / "set")
    folder = (tmp_path / "set" / FILES[form][0]).parent
    folder.rename(tmp_path / folder.name)
    folder.symlink_to(tmp_path / folder.name)
    with refused(tmp_path, "symbolic link"):
        imported(form, path)


@pytest.mark.parametrize("form", [*FOLDERS, *LABELS])
def test_links_that_lead_in_a_circle_are_refused(tmp_path: Path, form: str) -> None:
    path = write(form, tmp_path / "set")
    file = tmp_path / "set" / FILES[form][0]
    file.unlink()
    file.symlink_to(file.name)
    with refused(tmp_path):
        imported(form, path)


@pytest.mark.parametrize("form", [*FOLDERS, *LABELS])
@pytest.mark.parametrize("name", [b"class000\n.jpg", b"\xff\xfe.jpg", b"\x1b[2J.png"])
def test_names_that_would_break_the_line_or_have_no_encoding_are_refused(tmp_path: Path, form: str, name: bytes) -> None:
    path = write(form, tmp_path / "set")
    file = tmp_path / "set" / FILES[form][0]
    shutil.copy(file, os.fsencode(file.parent) + b"/" + name)
    with refused(tmp_path, str(file.parent)):
        imported(form, path)


# -- sizes -----------------------------------------------------------------------------------------------------------------


def png_bomb(side: int) -> bytes:
    """A sound PNG header of side x side pixels, and a little of their data."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(1 << 20))) + chunk(b"IEND", b"")


@pytest.mark.parametrize("form", [*FOLDERS, *LABELS])
def test_a_decompression_bomb_of_an_image_is_refused_by_its_header(tmp_path: Path, form: str) -> None:
    path = write(form, tmp_path / "set")
    name = FILES[form][0] if form not in LABELS else "images/new001/class001_id001.jpg"
    (tmp_path / "set" / name).write_bytes(png_bomb(60_000))
    with refused(tmp_path, name, "pixels"):
        imported(form, path)


@pytest.mark.parametrize(("form", "name"), SAVED)
def test_a_decompression_bomb_of_an_archive_is_refused(tmp_path: Path, form: str, name: str) -> None:
    path = write(form, tmp_path / "set")
    file = tmp_path / "set" / name
    pack(file, members(file) | {"data/0": bytes(30 << 20)}, compress=True)
    assert file.stat().st_size < 1 << 18
    with refused(tmp_path, file.name, "larger than the file"):
        imported(form, path)


@pytest.mark.parametrize(("form", "name"), SAVED)
def test_a_shape_of_a_hundred_gigabytes_is_refused_before_memory_is_taken(tmp_path: Path, form: str, name: str) -> None:
    path = write(form, tmp_path / "set")
    file, huge = tmp_path / "set" / name, torch.zeros(1).expand(10**6, 25_000)
    honest = members(file)
    for claim in (
        lambda: torch.save(huge, file),
        lambda: torch.save({"data": [[huge, huge]], "label": huge, "dataset": "small"}, file),
        lambda: torch.save([huge] * 6, file),
        lambda: with_pickle(file, b"\x80\x02c__builtin__\nbytearray\n" + long(10**11) + b"\x85R."),
        lambda: pack(file, honest | {"data.pkl": with_long_sizes(honest["data.pkl"])}),
    ):
        claim()
        with refused(tmp_path, file.name):
            imported(form, path)


def with_long_sizes(pickled: bytes) -> bytes:
    """Replace the sizes that end a tuple of one, two or three numbers by one of 25 thousand million."""
    place = pickled.index(b"QK\x00") + 3  # what follows the offset is the size
    place += pickled[place] == ord("(")
    return pickled[:place] + long(25 * 10**9) + pickled[place + 2 :]


def test_a_shape_of_a_hundred_gigabytes_in_a_sets_own_file_is_refused(tmp_path: Path) -> None:
    file = imported("mtt", write("mtt", tmp_path / "set")).save(tmp_path / "set.safetensors")
    whole = file.read_bytes()
    length = int.from_bytes(whole[:8], "little")
    header = whole[8 : 8 + length]
    for old, new in (
        (b'"shape":[4,1,4,4]', b'"shape":[25000000000,1,4,4]'),
        (b'"shape":[4,1,4,4]', b'"shape":[4611686018427387904,16]'),
        (b'\\"classes\\": 2', b'\\"classes\\": 99999999999'),
        (b'"data_offsets":[0,', b'"data_offsets":[-9,'),
    ):
        assert old in header, (old, header)
        changed = header.replace(old, new)
        file.write_bytes(len(changed).to_bytes(8, "little") + changed + whole[8 + length :])
        with refused(tmp_path, "set.safetensors"):
            DistilledSet.load(file)
    with pytest.raises(DataError, match="classes"):  # whoever writes a file can also give it the digest that fits
        DistilledSet(torch.zeros(1, 1, 1, 1), torch.tensor([0]), dataset="digits", method="b", classes=10**11)
    for claimed in (2**63, 10**11, len(whole)):
        file.write_bytes(claimed.to_bytes(8, "little") + whole[8:])
        with refused(tmp_path, "set.safetensors"):
            DistilledSet.load(file)


# -- damage ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("form", "name"), EVERY)
def test_a_file_cut_at_every_tenth_of_its_length_is_refused(tmp_path: Path, form: str, name: str) -> None:
    path = write(form, tmp_path / "set")
    file = tmp_path / "set" / name
    whole = file.read_bytes()
    for tenth in range(10):
        file.write_bytes(whole[: len(whole) * tenth // 10])
        with refused(tmp_path, file.name):
            imported(form, path)


def test_a_sets_own_file_cut_at_every_tenth_of_its_length_is_refused(tmp_path: Path) -> None:
    for form in ("datm", *LABELS):
        file = imported(form, write(form, tmp_path / form)).save(tmp_path / "set.safetensors")
        whole = file.read_bytes()
        for tenth in range(10):
            file.write_bytes(whole[: len(whole) * tenth // 10])
            with refused(tmp_path, "set.safetensors"):
                DistilledSet.load(file)


@pytest.mark.parametrize("form", FOLDERS)
@pytest.mark.parametrize("content", [b"", b"\xff\xd8\xff\xe0", b"not an image at all", bytes(3000)])
def test_an_unreadable_image_is_refused_by_its_name(tmp_path: Path, form: str, content: bytes) -> None:
    path = write(form, tmp_path / "set")
    (tmp_path / "set" / FILES[form][0]).write_bytes(content)
    with refused(tmp_path, FILES[form][0]):
        imported(form, path)


# -- what is in the tensors ------------------------------------------------------------------------------------------------


def change(form: str, folder: Path, what: str, edit: Callable[[Tensor], Any]) -> str:
    """Edit the images or the labels of a tensor format; return the name of the file that has them."""
    name = FILES[form][0] if form in ("dc", "gift") or what == "images" else FILES[form][1]
    file = folder / name
    content = torch.load(file, weights_only=True)
    if form == "dc":
        content["data"][-1][what == "labels"] = edit(content["data"][-1][what == "labels"])
    elif form == "gift":
        key = "data" if what == "images" else "label"
        content[key] = edit(content[key])
    else:
        content = edit(content)
    torch.save(content, file)
    return file.name


@pytest.mark.parametrize("form", TENSORS)
@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_images_that_are_not_finite_are_refused(tmp_path: Path, form: str, value: float) -> None:
    path = write(form, tmp_path / "set")
    name = change(form, tmp_path / "set", "images", lambda images: images.index_fill(2, torch.tensor(1), value))
    with refused(tmp_path, name, "finite"):
        imported(form, path)


@pytest.mark.parametrize("form", ["datm", "tesla", "gift"])
def test_soft_labels_that_are_not_finite_are_refused(tmp_path: Path, form: str) -> None:
    path = write(form, tmp_path / "set")
    name = change(form, tmp_path / "set", "labels", lambda labels: labels * float("nan"))
    with refused(tmp_path, name, "finite"):
        imported(form, path)


@pytest.mark.parametrize("form", TENSORS)
@pytest.mark.parametrize(
    "edit",
    {
        "truths": lambda labels: labels > 0,
        "fractions for whole numbers": lambda labels: labels.flatten()[:4].float() + 0.5,
        "numbers beyond all bounds": lambda labels: labels.flatten()[:4].double().abs().ceil() + 1e300,
        "whole numbers [N, C]": lambda labels: torch.zeros(4, 2, dtype=torch.int64),
        "names": lambda labels: ["cat", "dog"] * 2,
        "a number": lambda labels: 3,
        "one number": lambda labels: torch.tensor(3),
        "none": lambda labels: None,
        "three dimensions": lambda labels: torch.zeros(4, 2, 2),
        "out of range": lambda labels: torch.tensor([0, 0, 1, 2]),
        "below 0": lambda labels: torch.tensor([0, 0, 1, -1]),
        "no labels": lambda labels: labels[:0],
    }.items(),
    ids=lambda case: case[0],
)  # fmt: skip
def test_labels_of_the_wrong_kind_are_refused(tmp_path: Path, form: str, edit: tuple[str, Callable[[Tensor], Any]]) -> None:
    path = write(form, tmp_path / "set")
    name = change(form, tmp_path / "set", "labels", edit[1])
    with refused(tmp_path, name):
        imported(form, path)


@pytest.mark.parametrize("form", TENSORS)
@pytest.mark.parametrize("what", ["images", "labels"])
def test_counts_that_do_not_match_are_refused(tmp_path: Path, form: str, what: str) -> None:
    for edit in (lambda value: value[:-1], lambda value: torch.cat([value, value[:1]]), lambda value: value[:2]):
        if (tmp_path / "set").exists():
            shutil.rmtree(tmp_path / "set")
        path = write(form, tmp_path / "set")
        change(form, tmp_path / "set", what, edit)
        with refused(tmp_path):
            imported(form, path)


@pytest.mark.parametrize("form", TENSORS)
@pytest.mark.parametrize(
    "edit",
    [
        lambda images: images[:, :, :3],
        lambda images: images[:, :0],
        lambda images: images.flatten(1),
        lambda images: images.expand(-1, 3, -1, -1).contiguous(),
        lambda images: images.long(),
        lambda images: list(images),
        lambda images: images[:0],
    ],
    ids=["height", "no channels", "flat", "channels", "int64", "a list", "none"],
)
def test_images_of_another_shape_or_type_are_refused(tmp_path: Path, form: str, edit: Callable[[Tensor], Any]) -> None:
    path = write(form, tmp_path / "set")
    name = change(form, tmp_path / "set", "images", edit)
    with refused(tmp_path, name):
        imported(form, path)


@pytest.mark.parametrize(
    ("place", "value"),
    {
        "crops that are not finite": (0, torch.full((2, 4), float("nan"))),
        "crops beyond the image": (0, torch.full((2, 4), 1.5)),
        "crops of whole numbers": (0, torch.zeros(2, 4, dtype=torch.int64)),
        "too many crops": (0, torch.zeros(3, 4)),
        "flips that are numbers": (1, torch.zeros(2)),
        "partners of another batch": (2, torch.tensor([0, 2])),
        "partners below 0": (2, torch.tensor([0, -1])),
        "lam above 1": (3, 1.5),
        "lam that is not a number": (3, "half"),
        "lam that is NaN": (3, numpy.float64("nan")),
        "a box beyond the image": (4, [0, 0, 99, 1]),
        "a box turned over": (4, [3, 0, 1, 1]),
        "a box of fractions": (4, [0.5, 0, 1, 1]),
        "logits that are not finite": (5, torch.full((2, 2), float("inf")).half()),
        "logits that half precision cannot hold": (5, torch.full((2, 2), 1e6)),
        "logits of another dataset": (5, torch.zeros(2, 3).half()),
        "whole numbers for logits": (5, torch.zeros(2, 2, dtype=torch.int64)),
    }.values(),
)  # fmt: skip
def test_stored_augmentations_that_make_no_sense_are_refused(tmp_path: Path, place: int, value: Any) -> None:
    path = write("fkd", tmp_path / "set")
    file = tmp_path / "set/labels/epoch_1/batch_1.tar"
    content = torch.load(file, weights_only=True)
    content[place] = value
    if place == 3:
        content[4] = None
    torch.save(content, file)
    with refused(tmp_path):
        imported("fkd", path)


@pytest.mark.parametrize("index", [[0, 0], [0, 9], [0, -1]])
def test_a_stored_order_that_does_not_name_every_image_once_is_refused(tmp_path: Path, index: list[int]) -> None:
    path = write("fkd", tmp_path / "set")
    for file in sorted((tmp_path / "set/labels").rglob("*.tar")):
        content = torch.load(file, weights_only=True)
        torch.save([*content, torch.tensor(index)], file)
    with refused(tmp_path):
        imported("fkd", path)


# -- folders ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", FORMATS)
def test_an_empty_folder_and_none_at_all_are_refused(tmp_path: Path, form: str) -> None:
    with refused(tmp_path, "absent"):
        imported(form, tmp_path / "absent")
    (tmp_path / "empty").mkdir()
    with refused(tmp_path, "empty"):
        imported(form, tmp_path / "empty", **({"images": str(tmp_path)} if form in LABELS else {}))


@pytest.mark.parametrize("form", FOLDERS)
def test_a_class_folder_too_many_or_too_few_or_empty_is_refused(tmp_path: Path, form: str) -> None:
    path = write(form, tmp_path / "set")
    last = (tmp_path / "set" / FILES[form][0]).parent
    more = last.with_name(last.name.replace("1", "2"))
    shutil.copytree(last, more)
    with refused(tmp_path, str(more)):
        imported(form, path)
    shutil.rmtree(more)
    for file in last.iterdir():
        file.unlink()
    with refused(tmp_path, str(last), "empty"):
        imported(form, path)
    last.rmdir()
    with refused(tmp_path, "no folder of class 1"):
        imported(form, path)


@pytest.mark.parametrize("form", FOLDERS)
def test_classes_with_different_numbers_of_images_are_refused(tmp_path: Path, form: str) -> None:
    path = write(form, tmp_path / "set")
    file = tmp_path / "set" / FILES[form][0]
    file.unlink()
    with refused(tmp_path, str(file.parent)):
        imported(form, path)
    with refused(tmp_path, str(file.parent)):
        imported(form, path, ipc=2)


@pytest.mark.parametrize("missing", ["epoch_0", "epoch_1/batch_0.tar", "epoch_1/batch_1.tar", "epoch_0/batch_0.tar"])
def test_an_epoch_or_a_batch_too_few_is_refused(tmp_path: Path, missing: str) -> None:
    path = write("fkd", tmp_path / "set")
    gone = path / missing
    shutil.rmtree(gone) if gone.is_dir() else gone.unlink()
    with refused(tmp_path):
        imported("fkd", path)


@pytest.mark.parametrize("form", FORMATS)
def test_more_images_a_class_than_there_are_is_refused(tmp_path: Path, form: str) -> None:
    path = write(form, tmp_path / "set")
    with refused(tmp_path):
        imported(form, path, ipc=3)


@pytest.mark.parametrize("form", FORMATS)
def test_what_is_not_tampered_with_is_accepted(tmp_path: Path, form: str) -> None:
    made = imported(form, write(form, tmp_path / "set"))
    assert made.shape == SMALL.shape and made.labels.tolist() == [0, 0, 1, 1]
