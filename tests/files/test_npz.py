"""Arrays of .npz files are numbers, as large as their file; nothing in one is run, and no number in it takes memory."""

from __future__ import annotations

import io
import os
import zipfile
from pathlib import Path
from typing import Any

import numpy
import pytest

from harness.core.errors import DataError
from harness.files import npz


def save(file: Path, **arrays: Any) -> Path:
    numpy.savez(file, **arrays)
    return file


def read(file: Path, name: str = "x") -> numpy.ndarray:
    with npz.opened(file) as arrays:
        return arrays.read(name)


@pytest.mark.parametrize("kind", ["u1", "i8", ">i4", "<f2", ">f8", "?", "u8"])
@pytest.mark.parametrize("packed", [False, True])
def test_arrays_are_read_as_numpy_wrote_them(tmp_path: Path, kind: str, packed: bool) -> None:
    array = numpy.arange(24).reshape(2, 3, 4).astype(kind)
    for each in (array, numpy.asfortranarray(array), array[:, ::2]):
        (numpy.savez_compressed if packed else numpy.savez)(tmp_path / "a.npz", x=each)
        made = read(tmp_path / "a.npz")
        assert numpy.array_equal(made, each) and made.dtype == each.dtype.newbyteorder("=") and made.flags.c_contiguous


def test_what_is_stored_is_described_before_it_is_read(tmp_path: Path) -> None:
    numpy.savez_compressed(tmp_path / "a.npz", x=numpy.zeros((100, 100)), y=numpy.arange(3))
    with npz.opened(tmp_path / "a.npz") as arrays:
        assert {name: stored.shape for name, stored in arrays.stored.items()} == {"x": (100, 100), "y": (3,)}
        assert 0 < arrays.stored["x"].packed < 1000


class Command:
    def __reduce__(self) -> Any:
        return os.system, ("touch sentinel",)


def test_objects_are_refused_and_not_run(tmp_path: Path, refused, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    file = save(tmp_path / "a.npz", x=numpy.array([Command()], dtype=object))
    with refused(DataError, file, "Python objects, which would have to be run"):
        read(file)
    assert not (tmp_path / "sentinel").exists()
    for array in (numpy.array(["a"]), numpy.zeros(2, "f8,i4"), numpy.zeros(2, "M8[s]"), numpy.zeros(2, "c16")):
        with refused(DataError, file, "expected numbers"):
            read(save(file, x=array))


def header(shape: str, kind: str = "<f4") -> bytes:
    text = f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}".encode().ljust(117) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text


@pytest.mark.parametrize(
    "content",
    [
        header("(1000000, 25000)"),
        header("(2**62, 16)"),
        header("(-1, 4)"),
        header("(True, 4)") + bytes(16),
        header("__import__('os')"),
        header("(4,)") + bytes(15),
        header("(4,)") + bytes(17),
        header("(4,)", "|O") + bytes(32),
        b"\x93NUMPY\x03\x00" + bytes(100),
        b"\x93NUMPY\x01\x00\xff\xff{",
        b"no array",
        b"",
        header("(" * 60 + ")" * 40),
    ],
)
def test_a_description_that_does_not_fit_is_refused(tmp_path: Path, content: bytes, refused) -> None:
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("x.npy", content)
    with refused(DataError, tmp_path / "a.npz"):
        read(tmp_path / "a.npz")


def test_a_bomb_other_files_and_damage_are_refused(tmp_path: Path, refused, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "a.npz"
    numpy.savez_compressed(file, x=numpy.zeros((4 << 20,), numpy.uint8))
    whole = file.read_bytes()
    for tenth in range(10):
        file.write_bytes(whole[: len(whole) * tenth // 10])
        with refused(DataError, file):
            read(file)
    file.write_bytes(whole[:300] + bytes([whole[300] ^ 1]) + whole[301:])
    with refused(DataError, file):
        read(file)
    file.write_bytes(whole)
    monkeypatch.setattr(npz, "FREE", 1000)
    with refused(DataError, file, "its arrays claim more than"):
        read(file)
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("notes.txt", "x")
    file.write_bytes(stream.getvalue())
    with refused(DataError, file, "is no array"):
        read(file)
