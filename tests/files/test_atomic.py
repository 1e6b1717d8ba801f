"""Files are written whole or not at all: their content is on the disk before it has its name, and a failure leaves what was."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from harness.core.errors import WriteError
from harness.files import atomic


def by_stream(path: Path) -> None:
    with atomic.writing(path) as stream:
        stream.write(b"new")


def by_path(path: Path) -> None:
    with atomic.replacing(path) as temporary:
        temporary.write_bytes(b"new")


WRITERS: dict[str, Callable[[Path], object]] = {
    "text": lambda path: atomic.write(path, "new"),
    "bytes": lambda path: atomic.write(path, b"new"),
    "update": lambda path: atomic.update(path, "new"),
    "stream": by_stream,
    "path": by_path,
}
every_writer = pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS)


@contextmanager
def umask(mask: int) -> Iterator[None]:
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


def crash(*_: Any) -> None:
    raise KeyboardInterrupt


@every_writer
def test_a_file_has_its_content_and_nothing_lies_beside_it(tmp_path: Path, write: Callable[[Path], object]) -> None:
    for _ in range(2):
        write(tmp_path / "file")
        assert (tmp_path / "file").read_bytes() == b"new"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@every_writer
@pytest.mark.parametrize(("owner", "moment"), [(os, "fsync"), (Path, "replace")])
@pytest.mark.parametrize("before", [None, b"old"])
def test_a_crash_before_the_rename_leaves_what_was(
    tmp_path: Path,
    write: Callable[[Path], object],
    owner: object,
    moment: str,
    before: bytes | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    file = tmp_path / "file"
    if before is not None:
        file.write_bytes(before)
    monkeypatch.setattr(owner, moment, crash)
    with pytest.raises(KeyboardInterrupt):
        write(file)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == ({} if before is None else {"file": before})


@pytest.mark.parametrize("give", [atomic.writing, atomic.replacing])
def test_a_block_that_raises_leaves_what_was(tmp_path: Path, give: Callable[[Path], Any]) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"old")

    def half(target: Any) -> None:
        (target.write if hasattr(target, "write") else target.write_bytes)(b"ne")
        raise RuntimeError("planted")

    with pytest.raises(RuntimeError, match="planted"), give(file) as target:
        half(target)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"file": b"old"}


@every_writer
def test_content_is_on_the_disk_before_it_has_its_name(
    tmp_path: Path, write: Callable[[Path], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[str] = []
    fsync, replace = os.fsync, Path.replace

    def noted(number: int) -> None:
        steps.append(f"fsync {os.fstat(number).st_size}")
        fsync(number)

    monkeypatch.setattr(os, "fsync", noted)
    monkeypatch.setattr(Path, "replace", lambda self, target: (steps.append("rename"), replace(self, target))[1])
    write(tmp_path / "file")
    assert steps == ["fsync 3", "rename"]


@every_writer
@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_the_mode_follows_the_umask(tmp_path: Path, write: Callable[[Path], object], mask: int, mode: int) -> None:
    with umask(mask):
        write(tmp_path / "file")
    assert (tmp_path / "file").stat().st_mode & 0o777 == mode


def test_so_does_that_of_a_file_whose_writer_has_a_mode_of_its_own(tmp_path: Path) -> None:
    with umask(0o022), atomic.replacing(tmp_path / "file") as temporary:
        save_file({"x": torch.zeros(1)}, temporary)
        temporary.chmod(0o600)
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o644


def test_an_equal_file_is_not_touched(tmp_path: Path) -> None:
    file = tmp_path / "file"
    assert atomic.update(file, "é")
    before = file.stat()
    assert not atomic.update(file, "é".encode())
    assert (file.stat().st_ino, file.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert atomic.update(file, "e")
    assert file.read_text("utf-8") == "e"


@every_writer
def test_what_is_no_file_is_not_replaced_by_one(tmp_path: Path, write: Callable[[Path], object]) -> None:
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    for name in ("folder", "pipe"):
        with pytest.raises(WriteError, match=f"{name}: cannot be written: there is something else than a file in its place"):
            write(tmp_path / name)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder", "pipe"]


def test_two_who_write_the_same_file_do_not_meet(tmp_path: Path) -> None:
    file = tmp_path / "file"
    with atomic.writing(file) as first, atomic.writing(file) as second:
        first.write(b"first")
        second.write(b"second")
    assert file.read_bytes() == b"first"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
