"""Safetensors: the header is read without torch, checked against the file, and whatever is wrong is one line that names it."""

from __future__ import annotations

import errno
import json
import os
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from harness.core.errors import DataError
from harness.files import safetensors
from harness.files.safetensors import Stored

TENSORS = {
    "images": torch.arange(24, dtype=torch.uint8).reshape(2, 3, 2, 2),
    "labels": torch.tensor([1, 0]),
    "half": torch.tensor([0.5, 2.0]).bfloat16(),
    "number": torch.tensor(3.0),
    "none": torch.empty(0, 4),
}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    save_file(TENSORS, tmp_path / "x.safetensors", metadata={"format": "é\n", "other": ""})
    return tmp_path / "x.safetensors"


def packed(path: Path, header: Any, content: bytes = b"") -> Path:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + content)
    return path


def tensor(dtype: str = "F32", shape: Any = (1,), offsets: Any = (0, 4)) -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets}


def test_a_header_says_what_the_file_holds(file: Path) -> None:
    header = safetensors.read_header(file)
    assert header.metadata == {"format": "é\n", "other": ""}
    assert header.tensors == {
        "images": Stored("U8", (2, 3, 2, 2)),
        "labels": Stored("I64", (2,)),
        "half": Stored("BF16", (2,)),
        "number": Stored("F32", ()),
        "none": Stored("F32", (0, 4)),
    }


def test_a_file_without_metadata_has_none(tmp_path: Path) -> None:
    save_file({"x": torch.zeros(1)}, tmp_path / "x.safetensors")
    assert safetensors.read_header(tmp_path / "x.safetensors").metadata == {}


def test_tensors_are_those_that_were_saved(file: Path) -> None:
    header, tensors = safetensors.load(file)
    assert header == safetensors.read_header(file)
    assert tensors.keys() == TENSORS.keys()
    assert all(torch.equal(tensors[name], kept) and tensors[name].dtype == kept.dtype for name, kept in TENSORS.items())


def test_reading_a_header_loads_neither_torch_nor_numpy(file: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from harness.files.safetensors import read_header; "
        "read_header(Path(sys.argv[1])); print(*{'torch', 'numpy'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code, str(file)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


@pytest.mark.parametrize("dtype", [*safetensors.BITS])
def test_the_library_knows_the_same_types(tmp_path: Path, dtype: str) -> None:
    size = safetensors.BITS[dtype]  # of eight values, in bytes
    for length, fits in ((size, True), (size + 1, False)):
        path = packed(tmp_path / "x", {"x": tensor(dtype, [8], [0, length])}, b"0" * length)
        try:
            load_file(path)
            known = True
        except SafetensorError as error:
            known = "invalid" not in str(error).lower()
        except (KeyError, ValueError, RuntimeError, TypeError):  # a type that torch lacks
            known = True
        assert known == fits
        if fits:
            assert safetensors.read_header(path).tensors["x"] == Stored(dtype, (8,))
        else:
            with pytest.raises(DataError):
                safetensors.read_header(path)


@pytest.mark.parametrize(
    ("header", "content", "words"),
    [
        (b"", b"", "Expecting value"),
        (b"[]", b"", "no mapping"),
        (b"{", b"", "Expecting"),
        (b"\xff\xfe\xfd\xfc", b"", "codec"),
        (b"[" * 100_000, b"", "recursion"),
        ({"__metadata__": [1]}, b"", "metadata"),
        ({"__metadata__": {"format": 1}}, b"", "metadata"),
        ({"x": 3}, b"", ""),
        ({"x": {"dtype": "F32", "shape": [1]}}, b"0000", "data_offsets"),
        ({"x": tensor("F128", [1], [0, 4])}, b"0000", "F128"),
        ({"x": tensor(["F32"], [1], [0, 4])}, b"0000", ""),
        ({"x": tensor(shape=[-1])}, b"0000", "'x'"),
        ({"x": tensor(shape=[True])}, b"0000", "'x'"),
        ({"x": tensor(shape=[1.0])}, b"0000", "'x'"),
        ({"x": tensor(shape="1")}, b"0000", "'x'"),
        ({"x": tensor(shape=[2])}, b"0000", "4 bytes for [2] of F32"),
        ({"x": tensor(offsets=[0, 4, 8])}, b"0000", "unpack"),
        ({"x": tensor(offsets=[4, 0])}, b"0000", "'x'"),
        ({"x": tensor(offsets=[4, 8])}, b"0" * 8, "room between"),
        ({"x": tensor(), "y": tensor()}, b"0000", "overlap"),
        ({"x": tensor()}, b"000", "tensors of 4 bytes in 3"),
        ({"x": tensor()}, b"00000", "tensors of 4 bytes in 5"),
        (b'{"x": %b, "x": %b}' % ((json.dumps(tensor()).encode(),) * 2), b"0000", "twice"),
        ({"x": tensor(shape=[2**40, 2**40])}, b"0000", "4 bytes for"),
    ],
)
def test_a_header_that_does_not_fit_its_file_is_refused(
    tmp_path: Path, header: Any, content: bytes, words: str, refused: Any
) -> None:
    path = packed(tmp_path / "x.safetensors", header, content)
    for read in (safetensors.read_header, safetensors.load):
        with refused(DataError, path, "not a safetensors file, or truncated: ", words):
            read(path)


def test_the_length_of_a_header_is_bounded_before_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refused: Any
) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes(struct.pack("<Q", 2**63) + b"{}")
    with refused(DataError, path, "a header of 9223372036854775808 bytes in a file of 10"):
        safetensors.read_header(path)
    packed(path, {"x": tensor()}, b"0000")
    monkeypatch.setattr(safetensors, "MAX_HEADER", 10)
    with refused(DataError, path, "a header of"):
        safetensors.read_header(path)


def test_what_is_no_file_is_named(tmp_path: Path, refused: Any) -> None:
    os.mkfifo(tmp_path / "pipe")  # which nobody waits for
    reasons = {
        "absent": "absent: cannot be read: no such file or directory",
        ".": ": not a teacher file: not a regular file",
        "pipe": "pipe: not a teacher file: not a regular file",
    }
    for name, words in reasons.items():
        for read in (safetensors.read_header, safetensors.load):
            with refused(DataError, words):
                read(tmp_path / name, "a teacher file")


def test_a_file_that_may_not_be_read_is_called_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refused: Any) -> None:
    path = packed(tmp_path / "x.safetensors", {"x": tensor()}, b"0000")

    def refuse(*_: Any, **__: Any) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(Path, "open", refuse)  # whoever runs the tests may be allowed to read everything
    for read in (safetensors.read_header, safetensors.load):
        with refused(DataError, f"{path}: cannot be read: permission denied"):
            read(path, "a teacher file")


@settings(max_examples=300, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(changes=some.lists(some.tuples(some.floats(0, 1), some.integers(1, 255)), min_size=1, max_size=3))
def test_what_is_taken_the_library_takes_too(file: Path, tmp_path: Path, changes: list[tuple[float, int]]) -> None:
    content = bytearray(file.read_bytes())
    for place, mask in changes:
        content[int(place * (len(content) - 1))] ^= mask
    path = tmp_path / "changed.safetensors"
    path.unlink(missing_ok=True)
    path.write_bytes(content)
    try:
        header, tensors = safetensors.load(path)
    except DataError as error:
        assert str(error).startswith(f"{path}: ")
        assert "\n" not in str(error)
    else:
        assert {name: tuple(tensor.shape) for name, tensor in tensors.items()} == {n: s.shape for n, s in header.tensors.items()}
