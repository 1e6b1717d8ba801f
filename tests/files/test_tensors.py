"""Files that torch.save wrote elsewhere: tensors and plain values come back, all else is refused in one line and never run."""

from __future__ import annotations

import argparse
import builtins
import os
import pickle
import resource
import struct
import subprocess
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy
import pytest
import torch
from torch import Tensor, nn

from harness.core.errors import DataError
from harness.files import tensors
from harness.files.tensors import load_tensors


class Calls:
    """Pickled as the call of a function."""

    def __init__(self, function: Callable[..., Any], *given: Any) -> None:
        self.function, self.given = function, given

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return self.function, self.given


def saved(path: Path, content: Any) -> Path:
    torch.save(content, path)
    return path


def members(file: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(file) as archive:
        return {info.filename.partition("/")[2]: archive.read(info) for info in archive.infolist()}


def packed(file: Path, parts: dict[str, bytes], compress: bool = False) -> Path:
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED if compress else zipfile.ZIP_STORED) as archive:
        for name, content in parts.items():
            archive.writestr(f"archive/{name}", content)
    return file


def pickled(file: Path, content: bytes) -> Path:
    return packed(file, {"data.pkl": content, "byteorder": b"little", "data/0": bytes(24), "version": b"3\n"})


def refusal(path: Path) -> str:
    """Return the one line that a file is refused with."""
    with pytest.raises(DataError) as caught:
        load_tensors(path)
    message = str(caught.value)
    assert "\n" not in message and message.startswith(f"{path}: "), message
    return message


# -- what is accepted ------------------------------------------------------------------------------------------------------


def test_tensors_come_back_equal_in_plain_containers(tmp_path: Path) -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    half = torch.randn(2, 3).half()
    content = {
        "model": network.state_dict(),
        "list": [half, (half.t(), torch.arange(3))],
        "empty": torch.zeros(0, 3),
        "p": network[0].weight,
    }
    found = load_tensors(saved(tmp_path / "a.pt", content))
    assert type(found["model"]) is dict
    assert all(torch.equal(found["model"][name], tensor) for name, tensor in network.state_dict().items())
    assert torch.equal(found["list"][1][0], half.t()) and found["list"][0].dtype == torch.float16
    assert type(found["p"]) is Tensor and not found["p"].requires_grad and tuple(found["empty"].shape) == (0, 3)


@pytest.mark.parametrize(
    "dtype",
    [
        torch.float16,
        torch.bfloat16,
        torch.float32,
        torch.float64,
        torch.uint8,
        torch.int8,
        torch.int16,
        torch.int32,
        torch.int64,
        torch.bool,
    ],
)
def test_every_plain_dtype_is_read(tmp_path: Path, dtype: torch.dtype) -> None:
    value = torch.tensor([[0, 1], [1, 1]]).to(dtype)
    assert torch.equal(load_tensors(saved(tmp_path / "a.pt", value)), value)


def test_numbers_of_numpy_and_namespaces_are_read_as_plain_data(tmp_path: Path) -> None:
    """FKD stores lam as numpy draws it; checkpoints keep the arguments of their run."""
    lam = numpy.random.default_rng(0).beta(1, 1)
    content = [
        lam,
        numpy.int64(7),
        numpy.float32(0.5),
        numpy.bool_(True),
        argparse.Namespace(lr=0.1, names=["a"], deep=argparse.Namespace(b=2)),
    ]
    found = load_tensors(saved(tmp_path / "a.pt", content))
    assert found == [float(lam), 7, 0.5, True, {"lr": 0.1, "names": ["a"], "deep": {"b": 2}}]
    assert [type(value) for value in found[:4]] == [float, int, float, bool]


def test_numbers_that_an_older_numpy_pickled_are_read(tmp_path: Path) -> None:
    """Published FKD files are of numpy 1, which called its module numpy.core."""
    parts = members(saved(tmp_path / "new.pt", [numpy.float64(0.25), [numpy.int64(3)] * 4]))
    older = parts["data.pkl"].replace(b"cnumpy._core.multiarray\n", b"cnumpy.core.multiarray\n")
    assert older != parts["data.pkl"]
    assert load_tensors(packed(tmp_path / "old.pt", parts | {"data.pkl": older})) == [0.25, [3, 3, 3, 3]]


def test_views_that_share_a_storage_are_read(tmp_path: Path) -> None:
    whole = torch.arange(12.0).view(3, 4)
    found = load_tensors(saved(tmp_path / "a.pt", [whole, whole[1:, 1:], whole[:, ::2]]))
    assert torch.equal(found[1], whole[1:, 1:]) and torch.equal(found[2], whole[:, ::2])


# -- code ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "function",
    [os.system, builtins.eval, builtins.exec, subprocess.Popen, subprocess.check_output, os.popen, getattr, __import__, open],
    ids=lambda function: function.__name__,
)
def test_a_pickle_that_calls_a_function_is_refused_and_nothing_is_called(tmp_path: Path, function: Callable[..., Any]) -> None:
    sentinel = tmp_path / "sentinel"
    code = f"open({str(sentinel)!r}, 'w').close()"
    given: tuple[Any, ...] = {
        "eval": (code,),
        "exec": (code,),
        "Popen": (["touch", str(sentinel)],),
        "check_output": (["touch", str(sentinel)],),
        "getattr": ("", "join"),
        "__import__": ("antigravity",),
        "open": (str(sentinel), "w"),
    }.get(function.__name__, (f"touch {sentinel}",))
    for number, content in enumerate((Calls(function, *given), {"data": [torch.zeros(2), Calls(function, *given)]})):
        message = refusal(saved(tmp_path / f"{number}.pt", content))
        assert function.__name__ in message or "popen" in function.__name__, message
    assert not sentinel.exists()


def test_a_command_behind_a_state_or_a_new_object_is_not_run(tmp_path: Path) -> None:
    sentinel = tmp_path / "sentinel"
    command = f"touch {sentinel}".encode()
    words = b"X" + struct.pack("<I", len(command)) + command
    system = b"cposix\nsystem\n"
    tricks = {
        "reduce": system + words + b"\x85R.",
        "newobj": b"csubprocess\nPopen\n" + words + b"\x85\x81.",
        "newobj_ex": b"csubprocess\nPopen\n" + words + b"\x85}\x92.",
        "build": b"ctorch.nn.modules.module\nModule\n)\x81}X\x0c\x00\x00\x00__setstate__" + system + b"sb" + words + b"b.",
        "build on a Namespace": b"cargparse\nNamespace\n)\x81}X\x0c\x00\x00\x00__setstate__" + system + b"sb" + words + b"b.",
        "build on an OrderedDict": b"ccollections\nOrderedDict\n)R}X\x0c\x00\x00\x00__setstate__"
        + system
        + b"sb"
        + words
        + b"b.",
        "inst": b"(" + words + b"iposix\nsystem\n.",
        "obj": b"(" + system + words + b"o.",
        "stack global": b"X\x05\x00\x00\x00posixX\x06\x00\x00\x00system\x93" + words + b"\x85R.",
        "a name that hides a dot": b"ctorch\nos.system\n" + words + b"\x85R.",
        "hub": b"ctorch.hub\nload\n" + words + b"\x85R.",
    }
    for name, trick in tricks.items():
        refusal(pickled(tmp_path / f"{name}.pt", b"\x80\x02" + trick))
    assert not sentinel.exists()


@pytest.mark.parametrize("protocol", [0, 1, 2, 4])
def test_a_bare_pickle_is_refused(tmp_path: Path, protocol: int) -> None:
    sentinel = tmp_path / "sentinel"
    (tmp_path / "a.pt").write_bytes(pickle.dumps(Calls(os.system, f"touch {sentinel}"), protocol=protocol))
    refusal(tmp_path / "a.pt")
    assert not sentinel.exists()


def test_a_file_in_torchs_older_format_is_read_as_one_in_its_own(tmp_path: Path) -> None:
    torch.save({"a": torch.eye(3)}, tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    content: Any = load_tensors(tmp_path / "old.pt")
    assert torch.equal(content["a"], torch.eye(3))


def test_a_whole_module_and_a_scripted_one_are_refused(tmp_path: Path) -> None:
    refusal(saved(tmp_path / "module.pt", nn.Linear(2, 2)))
    torch.jit.save(torch.jit.script(nn.Linear(2, 2)), tmp_path / "scripted.pt")
    assert "TorchScript" in refusal(tmp_path / "scripted.pt")


@pytest.mark.parametrize(
    "value",
    [
        torch.eye(3).to_sparse(),
        torch.zeros(2, dtype=torch.complex64),
        torch.zeros(2, device="meta"),
        numpy.zeros(3),
        {1, 2},
        1j,
        {(1, 2): 3},
    ],
    ids=["sparse", "complex", "meta", "array", "set", "complex number", "tuple as key"],
)
def test_what_is_no_dense_tensor_or_plain_value_is_refused(tmp_path: Path, value: Any) -> None:
    refusal(saved(tmp_path / "a.pt", value))


# -- sizes -----------------------------------------------------------------------------------------------------------------


def long(number: int) -> bytes:
    return b"\x8a\x08" + number.to_bytes(8, "little", signed=True)


def test_no_number_in_a_file_allocates_memory(tmp_path: Path) -> None:
    honest = members(saved(tmp_path / "honest.pt", torch.zeros(7)))
    size, stored = b"K\x07\x85", b"K\x07tq\x05Q"
    assert size in honest["data.pkl"] and stored in honest["data.pkl"]
    larger = honest["data.pkl"].replace(size, long(25 * 10**9) + b"\x85")
    files = [
        packed(tmp_path / "sizes.pt", honest | {"data.pkl": larger}),
        packed(tmp_path / "both.pt", honest | {"data.pkl": larger.replace(stored, long(25 * 10**9) + b"tq\x05Q")}),
        saved(tmp_path / "expanded.pt", torch.zeros(1).expand(10**6, 25_000)),
        saved(tmp_path / "stride 0.pt", torch.zeros(2, 1).expand(2, 12_500_000_000)),
    ]
    for name, called in {
        "bytearray": b"c__builtin__\nbytearray\n",
        "bytes": b"c__builtin__\nbytes\n",
        "range": b"c__builtin__\nrange\n",
        "zeros": b"ctorch\nzeros\n",
        "storage": b"ctorch\nUntypedStorage\n",
        "typed": b"ctorch\nFloatStorage\n",
    }.items():
        files.append(pickled(tmp_path / f"{name}.pt", b"\x80\x02" + called + long(10**11) + b"\x85R."))
    files.append(pickled(tmp_path / "text.pt", b"\x80\x02X" + struct.pack("<I", 2**32 - 1) + b"abc."))
    files.append(pickled(tmp_path / "number.pt", b"\x80\x02\x8b" + struct.pack("<i", 2**31 - 1) + b"abc."))
    files.append(pickled(tmp_path / "memo.pt", b"\x80\x02Nr" + struct.pack("<I", 2**32 - 1) + b"j\x00\x00\x00\x00."))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for file in files:
        refusal(file)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # KiB


def test_lists_that_hold_one_another_many_times_are_refused(tmp_path: Path) -> None:
    nested: list[Any] = [0]
    for _ in range(40):
        nested = [nested] * 10
    assert "nested" in refusal(saved(tmp_path / "a.pt", nested))
    loop: list[Any] = []
    loop.append(loop)
    assert "nested" in refusal(saved(tmp_path / "b.pt", loop))
    deep: list[Any] = []
    for _ in range(100):
        deep = [deep]
    assert "nested" in refusal(saved(tmp_path / "c.pt", deep))


def test_a_file_above_the_limit_is_refused_unread(tmp_path: Path) -> None:
    saved(tmp_path / "a.pt", torch.zeros(1000))
    with pytest.raises(DataError, match="above the limit"):
        load_tensors(tmp_path / "a.pt", limit=2000)


# -- archives --------------------------------------------------------------------------------------------------------------


def test_a_compressed_entry_is_refused_before_it_is_inflated(tmp_path: Path) -> None:
    parts = members(saved(tmp_path / "a.pt", torch.zeros(4)))
    bomb = packed(tmp_path / "bomb.pt", parts | {"data/0": bytes(200 << 20)}, compress=True)
    assert bomb.stat().st_size < 1 << 20
    refusal(bomb)
    small = packed(tmp_path / "small.pt", parts, compress=True)
    small.write_bytes(small.read_bytes())
    refusal(small)


@pytest.mark.parametrize(
    "name", ["../outside", "data/../../outside", "/absolute", "data//0", "data\\0", "c:evil", "data/./0", ""]
)
def test_an_entry_whose_name_leaves_the_folder_is_refused_and_nothing_is_written(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    parts = members(saved(folder / "a.pt", torch.zeros(4)))
    packed(folder / "b.pt", parts | {name: b"x"})
    refusal(folder / "b.pt")
    with zipfile.ZipFile(folder / "c.pt", "w") as archive:
        for known, content in parts.items():
            archive.writestr(f"archive/{known}", content)
        archive.writestr(name or "elsewhere/x", b"x")
    refusal(folder / "c.pt")
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["a.pt", "b.pt", "c.pt", "folder"]


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("name", ["data.pkl", "DATA.PKL", "data/0", "Data/0"])
def test_an_entry_that_occurs_twice_is_refused(tmp_path: Path, name: str) -> None:
    saved(tmp_path / "a.pt", torch.zeros(4))
    with zipfile.ZipFile(tmp_path / "a.pt", "a") as archive:
        top = archive.namelist()[0].split("/")[0]
        archive.writestr(f"{top}/{name}", bytes(16))
    assert "two entries" in refusal(tmp_path / "a.pt")


def test_something_before_or_behind_the_archive_is_refused(tmp_path: Path) -> None:
    whole = saved(tmp_path / "a.pt", torch.zeros(4)).read_bytes()
    for name, content in {"before": b"#!/bin/sh\n" + whole, "behind": whole + b"more", "twice": whole + whole}.items():
        (tmp_path / f"{name}.pt").write_bytes(content)
        refusal(tmp_path / f"{name}.pt")


def test_a_file_cut_at_every_tenth_of_its_length_is_refused(tmp_path: Path) -> None:
    whole = saved(tmp_path / "a.pt", {"data": torch.arange(1000.0), "label": torch.arange(10)}).read_bytes()
    for tenth in range(10):
        (tmp_path / "a.pt").write_bytes(whole[: len(whole) * tenth // 10])
        refusal(tmp_path / "a.pt")


def test_a_bit_that_changed_in_a_tensor_is_noticed(tmp_path: Path) -> None:
    whole = saved(tmp_path / "a.pt", torch.full((1000,), 1.25)).read_bytes()
    place = whole.index(struct.pack("<4f", *[1.25] * 4)) + 400
    (tmp_path / "a.pt").write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
    assert "damaged" in refusal(tmp_path / "a.pt")


@pytest.mark.parametrize("content", [b"", b"PK", b"PK\x03\x04", b"PK\x05\x06" + bytes(18), b"not an archive", bytes(5000)])
def test_a_file_that_is_no_archive_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.pt").write_bytes(content)
    refusal(tmp_path / "a.pt")


def test_a_folder_a_pipe_and_nothing_at_all_are_refused(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    for name in ("folder", "pipe", "absent"):
        refusal(tmp_path / name)


def test_a_pickle_with_more_opcodes_than_any_set_needs_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tensors.pickles, "MAX_OPCODES", 1000)
    refusal(saved(tmp_path / "a.pt", list(range(2000))))


def test_an_ordered_dict_keeps_its_order(tmp_path: Path) -> None:
    names = [f"layer.{i}" for i in reversed(range(20))]
    found = load_tensors(saved(tmp_path / "a.pt", OrderedDict((name, torch.zeros(1)) for name in names)))
    assert list(found) == names
