"""Files from before torch 1.6: what torch writes in that format is read, numbers of numpy too; what is damaged is one line."""

from __future__ import annotations

import os
import pickle
import random
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy
import pytest
import torch
from torch import Tensor, nn

from harness.core.errors import DataError
from harness.files.tensors import load_tensors


def saved(path: Path, content: Any, protocol: int = 2) -> Path:
    """Save as torch does in its older format."""
    torch.save(content, path, pickle_protocol=protocol, _use_new_zipfile_serialization=False)
    return path


def by_torch_1_2(path: Path) -> Path:
    """Turn a file into what torch 1.2 and the numpy of its time wrote: another module's name, numbers for truths in a dtype."""
    content = path.read_bytes()
    assert b"cnumpy._core.multiarray\n" in content and b"\x89\x88\x87" in content
    content = content.replace(b"cnumpy._core.multiarray\n", b"cnumpy.core.multiarray\n")
    path.write_bytes(content.replace(b"\x89\x88\x87", b"K\x00K\x01\x87"))
    return path


def published() -> dict[str, Any]:
    """What DC's code saves: runs of images and labels, accuracies as numpy makes them."""
    images = torch.randn(6, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    accuracies = {"ConvNet": [numpy.float64(0.123456789), numpy.float32(0.5), numpy.int64(7), numpy.bool_(True)]}
    return {"data": [[images, torch.arange(6)], [images.transpose(2, 3), torch.arange(6) // 2]], "accs_all_exps": accuracies}


class Trap:
    """Runs a command when it is unpickled."""

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.system, ("touch sentinel",)


def refusal(path: Path) -> str:
    """Return the one line that a file is refused with."""
    with pytest.raises(DataError) as caught:
        load_tensors(path)
    message = str(caught.value)
    assert "\n" not in message and message.startswith(f"{path}: "), message
    return message


@pytest.mark.parametrize("old", [False, True], ids=["by this torch", "by torch 1.2"])
def test_a_set_with_numbers_of_numpy_is_read(tmp_path: Path, old: bool) -> None:
    wanted = published()
    path = saved(tmp_path / "res.pt", wanted)
    content: Any = load_tensors(by_torch_1_2(path) if old else path)
    for run, (images, labels) in zip(content["data"], wanted["data"], strict=True):
        assert torch.equal(run[0], images) and torch.equal(run[1], labels)
    numbers = content["accs_all_exps"]["ConvNet"]
    assert numbers == [0.123456789, 0.5, 7, True] and [type(number) for number in numbers] == [float, float, int, bool]


@pytest.mark.parametrize("protocol", [3, 4, 5])
def test_what_was_saved_with_a_later_protocol_is_the_same_and_leaves_nothing(cache: Path, tmp_path: Path, protocol: int) -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    whole = torch.arange(12.0).view(3, 4)
    content = {"state_dict": network.state_dict(), "epoch": 3, "shared": [whole, whole[1:]], **published()}
    expected: Any = load_tensors(saved(tmp_path / "two.pt", content))
    read: Any = load_tensors(saved(tmp_path / "later.pt", content, protocol))
    assert read["state_dict"].keys() == expected["state_dict"].keys() == network.state_dict().keys()
    assert all(torch.equal(read["state_dict"][name], tensor) for name, tensor in network.state_dict().items())
    assert torch.equal(read["shared"][1], whole[1:]) and torch.equal(read["data"][1][0], expected["data"][1][0])
    assert (read["epoch"], read["accs_all_exps"]) == (3, expected["accs_all_exps"])
    assert [*(cache / "temporary").iterdir()] == []


@pytest.mark.parametrize("protocol", [3, 4, 5])
def test_what_runs_or_is_damaged_is_refused_before_torch_sees_it_whatever_its_protocol(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, protocol: int
) -> None:
    whole = saved(tmp_path / "a.pt", {"weight": torch.ones(4)}, protocol).read_bytes()
    saved(tmp_path / "a.pt", {"weight": torch.ones(4), "trap": Trap()}, protocol)
    running = (tmp_path / "a.pt").read_bytes()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(torch, "load", lambda *given, **named: pytest.fail("torch was asked"))
    for content in (running, whole[:-3], whole[: len(whole) // 2], whole + b"more", whole[:60]):
        (tmp_path / "a.pt").write_bytes(content)
        refusal(tmp_path / "a.pt")
    assert [path.name for path in tmp_path.iterdir()] == ["a.pt"]


def test_a_state_dict_and_every_plain_dtype_are_read(tmp_path: Path) -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    kinds = ("float16", "bfloat16", "float32", "float64", "uint8", "int8", "int16", "int32", "int64", "bool")
    each = {kind: torch.tensor([[0, 1], [1, 1]]).to(getattr(torch, kind)) for kind in kinds}
    content: Any = load_tensors(
        saved(tmp_path / "a.pt", {"state_dict": network.state_dict(), "each": each, "none": torch.zeros(0)})
    )
    assert all(torch.equal(content["state_dict"][name], tensor) for name, tensor in network.state_dict().items())
    assert all(torch.equal(content["each"][kind], tensor) for kind, tensor in each.items()) and content["none"].shape == (0,)


def test_tensors_that_share_a_storage_are_read(tmp_path: Path) -> None:
    whole = torch.arange(12.0).view(3, 4)
    content: Any = load_tensors(saved(tmp_path / "a.pt", [whole, whole[1:], whole.t(), whole[0, 0]]))
    assert all(
        torch.equal(mine, tensor) for mine, tensor in zip(content, [whole, whole[1:], whole.t(), whole[0, 0]], strict=True)
    )


# -- what is refused -------------------------------------------------------------------------------------------------------

FLOATS, COUNT = b"ctorch\nFloatStorage\n", struct.pack("<q", 6)
INFO = pickle.dumps({"protocol_version": 1001, "little_endian": True, "type_sizes": {"short": 2, "int": 4, "long": 4}}, 2)
START = pickle.dumps(0x1950A86A20F9469CFC6C, 2) + pickle.dumps(1001, 2)


def text(words: str) -> bytes:
    return b"X" + len(words).to_bytes(4, "little") + words.encode()


def number(value: int) -> bytes:
    return b"\x8a\x08" + value.to_bytes(8, "little", signed=True)


def tensor(key: str = "0", elements: int = 6, kind: bytes = FLOATS, view: bytes = b"N") -> bytes:
    """Build the tensor of six floats in the storage `key`."""
    storage = b"(" + text("storage") + kind + text(key) + text("cpu") + number(elements) + view + b"tQ"
    empty = b"ccollections\nOrderedDict\n)R"
    return b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + b"K\x00K\x06\x85K\x01\x85\x89" + empty + b"tR"


def file(
    saved_object: bytes = tensor(),
    keys: Any = ("0",),
    storages: bytes = COUNT + bytes(24),
    start: bytes = START,
    info: bytes = INFO,
) -> bytes:
    return start + info + b"\x80\x02" + saved_object + b"." + pickle.dumps(list(keys), 2) + storages


def test_the_file_that_is_damaged_below_is_read_whole(tmp_path: Path) -> None:
    (tmp_path / "a.pt").write_bytes(file())
    content = load_tensors(tmp_path / "a.pt")
    assert isinstance(content, Tensor) and torch.equal(content, torch.zeros(6))
    torch_reads = torch.load(tmp_path / "a.pt", weights_only=True)  # so does torch: what is damaged below is damaged for it, too
    assert torch.equal(torch_reads, torch.zeros(6))


DAMAGED: dict[str, bytes] = {
    "nothing after the start": START,
    "no object": START + INFO,
    "cut in the object": file()[:150],
    "a byte short": file()[:-1],
    "cut before a storage": file(storages=b""),
    "cut in a storage's length": file(storages=COUNT[:5]),
    "a byte too many": file() + b"\0",
    "another magic number": file(start=START.replace(b"P\x19", b"P\x18")),
    "another version": file(start=START.replace(b"M\xe9\x03", b"M\xe8\x03")),
    "the high byte first": file(info=INFO.replace(b"\x88", b"\x89")),
    "no facts of the machine": file(info=pickle.dumps([1], 2)),
    "a storage of another length": file(storages=struct.pack("<q", 5) + bytes(24)),
    "a storage of negative length": file(tensor(elements=-1), storages=struct.pack("<q", -1)),
    "a hundred gigabytes": file(tensor(elements=25 * 10**9), storages=struct.pack("<q", 25 * 10**9) + bytes(24)),
    "a storage that is not listed": file(keys=()),
    "a storage that is listed twice": file(keys=("0", "0"), storages=(COUNT + bytes(24)) * 2),
    "a storage that nothing lies in": file(keys=("0", "1"), storages=(COUNT + bytes(24)) * 2),
    "keys that are no names": file(keys=(0,)),
    "keys that are no list": file().replace(pickle.dumps(["0"], 2), pickle.dumps({"0": 1}, 2)),
    "one storage of two kinds": file(b"](" + tensor() + tensor(kind=b"ctorch\nIntStorage\n") + b"e"),
    "one storage of two lengths": file(b"](" + tensor() + tensor(elements=7) + b"e"),
    "a part of another storage": file(tensor(view=text("1") + b"K\x00K\x06\x87")),
    "a tensor beyond its storage": file(tensor(elements=5), storages=struct.pack("<q", 5) + bytes(20)),
    "a storage as in a zip archive": file(tensor().replace(b"NtQ", b"tQ")),
    "a class for a storage": file(tensor().replace(FLOATS, b"ctorch\nUntypedStorage\n")),
    "a module's class": file(b"(" + text("module") + FLOATS + b"NNtQ", keys=(), storages=b""),
    "a command": file(b"cposix\nsystem\n" + text("touch sentinel") + b"\x85R"),
    "a command for its facts": file(info=b"\x80\x02cposix\nsystem\n" + text("touch sentinel") + b"\x85R."),
    "a command for its keys": file()[: -32 - len(pickle.dumps(["0"], 2))]
    + b"\x80\x02cos\nsystem\n"
    + text("touch sentinel")
    + b"\x85R.",
}


@pytest.mark.parametrize("damage", DAMAGED)
def test_what_is_damaged_or_hostile_is_refused_in_one_line_before_torch_sees_it(
    tmp_path: Path, damage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(torch, "load", lambda *given, **named: pytest.fail("torch was asked"))
    (tmp_path / "a.pt").write_bytes(DAMAGED[damage])
    refusal(tmp_path / "a.pt")
    assert [path.name for path in tmp_path.iterdir()] == ["a.pt"]


def test_any_byte_may_be_another(tmp_path: Path) -> None:
    """It is refused in one line, or a number or a name in it is another; nothing else is raised, and nothing is run."""
    whole = by_torch_1_2(saved(tmp_path / "res.pt", published())).read_bytes()
    chance = random.Random(0)
    outcomes = {"read": 0, "refused": 0}
    for _ in range(300):
        content = bytearray(whole)
        content[chance.randrange(len(content))] = chance.randrange(256)
        (tmp_path / "a.pt").write_bytes(content)
        try:
            load_tensors(tmp_path / "a.pt")
            outcomes["read"] += 1
        except DataError as error:
            assert "\n" not in str(error)
            outcomes["refused"] += 1
    assert min(outcomes.values()) > 50, outcomes


@pytest.mark.parametrize("change", [lambda content: content[: len(content) // 2], lambda content: content + content[-64:]])
def test_a_published_file_that_is_cut_or_goes_on_is_refused(tmp_path: Path, change: Callable[[bytes], bytes]) -> None:
    path = saved(tmp_path / "res.pt", published())
    path.write_bytes(change(path.read_bytes()))
    assert "damaged" in refusal(path)


def test_an_object_whose_pickle_is_too_large_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from harness.files import legacy

    monkeypatch.setattr(legacy, "MAX_PICKLE", 500)
    assert "larger than" in refusal(saved(tmp_path / "a.pt", {f"name {i}": i for i in range(100)}))
