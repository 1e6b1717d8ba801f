"""Zip and tar archives are unpacked as files of plain names, within what they state; every other one is refused in one line."""

from __future__ import annotations

import io
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.core.errors import DataError, WriteError
from harness.files import archives

FILES = {"set/0/a.png": b"abc", "set/1/b.png": b"", "set/note.txt": b"x" * 5000}
KINDS = ("zip", "tar", "tar.gz", "tgz", "tar.bz2", "tar.xz")


def pack(file: Path, entries: dict[str, bytes]) -> Path:
    if file.suffix == ".zip":
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in entries.items():
                archive.writestr(name, content)
        return file
    way = {"gz": "w:gz", "tgz": "w:gz", "bz2": "w:bz2", "xz": "w:xz"}.get(file.name.rpartition(".")[2], "w")
    with tarfile.open(file, way) as archive:
        for name, content in entries.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return file


def unpacked(file: Path, into: Path) -> dict[str, bytes]:
    into.mkdir()
    archives.unpack(file, into)
    return {path.relative_to(into).as_posix(): path.read_bytes() for path in into.rglob("*") if path.is_file()}


@pytest.mark.parametrize("kind", KINDS)
def test_an_archive_is_unpacked_to_what_was_packed_without_strays(tmp_path: Path, kind: str) -> None:
    strays = {"__MACOSX/set/._a.png": b"x", "set/.DS_Store": b"x", "set/0/Thumbs.db": b"x", "set/train.log": b"x"}
    file = pack(tmp_path / f"set.{kind}", FILES | strays)
    assert archives.kind(file) == ("zip" if kind == "zip" else "tar")
    assert unpacked(file, tmp_path / "out") == FILES
    (tmp_path / "again").mkdir()
    assert archives.unpack(file, tmp_path / "again") == len(strays)


def test_folders_of_an_archive_are_no_files(tmp_path: Path) -> None:
    (tmp_path / "set" / "0").mkdir(parents=True)
    (tmp_path / "set" / "0" / "a.png").write_bytes(b"abc")
    with tarfile.open(tmp_path / "set.tar", "w") as archive:
        archive.add(tmp_path / "set", "./set")
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
        archive.mkdir("set")
        archive.write(tmp_path / "set" / "0" / "a.png", "set/0/a.png")
    for kind in ("tar", "zip"):
        assert unpacked(tmp_path / f"set.{kind}", tmp_path / f"out-{kind}") == {"set/0/a.png": b"abc"}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "name",
    ["../outside", "/tmp/outside", "a/../../outside", "a//b", "C:/outside", "a\\..\\b", "a/./b", "a\nb", "/".join("a" * 40)],
)
def test_names_that_are_not_plain_are_refused_and_nothing_lies_outside(tmp_path: Path, kind: str, name: str, refused) -> None:
    file, inner = pack(tmp_path / f"set.{kind}", {name: b"x"}), tmp_path / "inner" / "inner"
    inner.mkdir(parents=True)
    with refused(DataError, file, "not a plain name"):
        archives.unpack(file, inner)
    assert [path for path in (tmp_path / "inner").rglob("*") if path.is_file()] == []


def tar_of(file: Path, change: Callable[[tarfile.TarInfo], None]) -> Path:
    with tarfile.open(file, "w") as archive:
        info = tarfile.TarInfo("set/a")
        change(info)
        archive.addfile(info, io.BytesIO(b""))
    return file


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE])
def test_links_and_devices_in_a_tar_are_refused(tmp_path: Path, kind: bytes, refused) -> None:
    def change(info: tarfile.TarInfo) -> None:
        info.type, info.linkname = kind, "/etc/passwd"

    file = tar_of(tmp_path / "set.tar", change)
    with refused(DataError, file, "'set/a' is a link, a device"):
        archives.unpack(file, tmp_path)


def test_links_in_a_zip_and_encrypted_entries_are_refused(tmp_path: Path, refused) -> None:
    for mode, flags, words in ((0o120777, 0, "a link or a device"), (0o100644, 1, "encrypted")):
        file = tmp_path / "set.zip"
        with zipfile.ZipFile(file, "w") as archive:
            info = zipfile.ZipInfo("set/a")
            info.external_attr = mode << 16
            archive.writestr(info, "/etc/passwd")
        content = bytearray(file.read_bytes())
        content[content.index(b"PK\x01\x02") + 8] |= flags
        file.write_bytes(content)
        with refused(DataError, file, "'set/a' is", words):
            archives.unpack(file, tmp_path)


@pytest.mark.parametrize("kind", KINDS)
def test_more_than_the_limit_is_refused_before_it_is_written(
    tmp_path: Path, kind: str, refused, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archives, "FREE", 1 << 20)
    monkeypatch.setattr(archives, "MAX_RATIO", 1)
    file = pack(tmp_path / f"set.{kind}", {"set/a": bytes(4 << 20), "set/.b": bytes(4 << 20)})
    (tmp_path / "out").mkdir()
    if kind == "tar":  # as large as it says
        assert archives.unpack(file, tmp_path / "out") == 1
        return
    with refused(DataError, file, "its content claims", "above the limit"):
        archives.unpack(file, tmp_path / "out")
    assert [*(tmp_path / "out").iterdir()] == []
    monkeypatch.setattr(archives, "MAX_ENTRIES", 1)
    file = pack(tmp_path / f"small.{kind}", FILES)
    with refused(DataError, file):
        archives.unpack(file, tmp_path / "out")


def test_a_description_that_claims_gigabytes_takes_no_memory(tmp_path: Path, refused) -> None:
    info = tarfile.TarInfo("x")
    info.type, info.size = tarfile.XHDTYPE, 8 << 30
    file = tmp_path / "set.tar"
    file.write_bytes(info.tobuf(tarfile.GNU_FORMAT) + bytes(10_240))
    with refused(DataError, file, "a description of 8589934592 bytes, above the limit"):
        archives.unpack(file, tmp_path)


@pytest.mark.parametrize("kind", KINDS)
def test_an_archive_cut_at_every_tenth_is_refused_or_lacks_only_its_end(tmp_path: Path, kind: str, refused) -> None:
    file = pack(tmp_path / f"set.{kind}", {f"set/{i}": bytes([i]) * 5000 for i in range(8)})
    whole = file.read_bytes()
    for tenth in range(10):
        file.write_bytes(whole[: len(whole) * tenth // 10])
        into = tmp_path / f"out-{tenth}"
        into.mkdir()
        if kind == "tar" and len(whole) * tenth // 10 >= 8 * 5632:  # the blocks of zeros at its end
            assert archives.unpack(file, into) == 0
            continue
        with refused(DataError, file):
            archives.unpack(file, into)


def test_one_name_twice_and_a_file_that_is_a_folder_are_refused(tmp_path: Path, refused) -> None:
    with pytest.warns(UserWarning, match="Duplicate name"), zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
        archive.writestr("a", "x")
        archive.writestr("a", "y")
    with refused(DataError, "set.zip", "two entries are named 'a'"):
        archives.unpack(tmp_path / "set.zip", tmp_path)
    (tmp_path / "out").mkdir()
    with refused(DataError, "set.tar", "is a file and a folder"):
        archives.unpack(pack(tmp_path / "set.tar", {"b": b"x", "b/c": b"y"}), tmp_path / "out")


def test_what_is_no_archive_is_none(tmp_path: Path, refused) -> None:
    import torch

    torch.save([1], tmp_path / "batch_0.tar")
    (tmp_path / "notes.txt").write_text("x")
    assert [archives.kind(tmp_path / name) for name in ("batch_0.tar", "notes.txt", "absent.zip")] == ["", "", ""]
    (tmp_path / "set.zip").write_text("no zip")
    with refused(DataError, "set.zip", "damaged or truncated"):
        archives.unpack(tmp_path / "set.zip", tmp_path)
    for name in ("set.rar", "set.tar.zst"):
        (tmp_path / name).write_bytes(b"x")
        with refused(DataError, name, "unpack it, and give the folder"):
            archives.kind(tmp_path / name)
    with refused(DataError, "empty.zip", "no files in it"):
        archives.unpack(pack(tmp_path / "empty.zip", {".hidden": b"x"}), tmp_path)


def test_a_full_disk_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import errno

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    file = pack(tmp_path / "set.zip", FILES)
    monkeypatch.setattr(Path, "mkdir", full)
    with pytest.raises(WriteError, match="cannot be written: No space left"):
        archives.unpack(file, tmp_path)
