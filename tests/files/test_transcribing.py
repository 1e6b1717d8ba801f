"""Pickles of later protocols as protocol 2 has them: the same values, and nothing that was refused passes."""

from __future__ import annotations

import argparse
import os
import pickle
import pickletools
import random
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy
import pytest
import torch
from torch import nn

from harness.core.errors import DataError
from harness.files import pickles
from harness.files.tensors import load_tensors
from harness.files.transcribing import protocol, transcribed
from tests.files.test_tensors import packed, refusal

LIMIT = 1 << 20
LATER = pytest.mark.parametrize("version", [3, 4, 5])


def content() -> dict[str, Any]:
    """What a training script keeps: weights, numbers, names that come again, a Namespace, numpy's numbers."""
    weights = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2)).state_dict()
    return {
        "state_dict": weights,
        "args": argparse.Namespace(arch="resnet18", name="state_dict", lr=0.1),
        "best": numpy.float64(71.5),
        "names": ["state_dict", "é", "state_dict", 2**40, -3, None, True],
        "shared": weights["0.weight"],
    }


@LATER
@pytest.mark.parametrize(
    "value", [{"a": ["a", "a", ("a", 1.5)]}, OrderedDict(x=[1, 2]), b"\x00\xffbytes", "x" * 300, [b"q", b"q"]]
)
def test_plain_values_are_the_same_afterwards(value: object, version: int) -> None:
    written = transcribed(pickle.dumps(value, version), LIMIT)
    assert protocol(written) == 2
    assert pickle.loads(written) == value
    assert max(opcode.proto for opcode, _, _ in pickletools.genops(written)) <= 2


@LATER
def test_saved_tensors_come_back_whatever_their_protocol(version: int, tmp_path: Path) -> None:
    torch.manual_seed(0)
    saved = content()
    torch.save(saved, tmp_path / "two.pt")
    torch.save(saved, tmp_path / "later.pt", pickle_protocol=version)
    expected, read = load_tensors(tmp_path / "two.pt"), load_tensors(tmp_path / "later.pt")
    assert isinstance(expected, dict) and isinstance(read, dict)
    assert torch.equal(read.pop("shared"), expected.pop("shared"))
    weights, others = read.pop("state_dict"), expected.pop("state_dict")
    assert weights.keys() == others.keys()
    assert all(torch.equal(weights[name], others[name]) for name in others)
    assert read == expected


def test_nothing_is_left_of_the_copy_that_was_read(cache: Path, tmp_path: Path) -> None:
    torch.save({"weight": torch.arange(6.0)}, tmp_path / "a.pt", pickle_protocol=4)
    read = load_tensors(tmp_path / "a.pt")
    assert [*(cache / "temporary").iterdir()] == []
    assert isinstance(read, dict)
    assert read["weight"].tolist() == [0, 1, 2, 3, 4, 5]


class Calls:
    """Pickled as the call of a function."""

    def __init__(self, *call: Any) -> None:
        self.call = call

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return self.call[0], self.call[1:]


@LATER
@pytest.mark.parametrize("trap", [Calls(os.system, "touch trapped"), Calls(eval, "1"), {1, 2}, bytearray(b"x")])
def test_what_is_no_tensor_is_refused_and_never_run(
    trap: object, version: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"weight": torch.ones(2, 2), "trap": trap}, "a.pt", pickle_protocol=version)
    assert refusal(tmp_path / "a.pt")
    assert not Path("trapped").exists()


def test_a_name_whose_words_are_not_written_before_it_is_refused() -> None:
    for pushed in (b"N\x8c\x06system", b"\x8c\x02os", b"\x8c\x06os\nsys\x8c\x06system", b"\x8c\x05po si\x8c\x06system"):
        with pytest.raises(DataError, match="pickle"):
            transcribed(b"\x80\x04" + pushed + b"\x93.", LIMIT)


def test_a_text_that_is_named_over_and_over_is_refused_before_memory_runs_out() -> None:
    text = b"X" + (10_000).to_bytes(4, "little") + b"a" * 10_000 + b"\x94"
    with pytest.raises(DataError, match="more than 1 MiB"):
        transcribed(b"\x80\x04](" + text + b"h\x00" * 5_000 + b"e.", LIMIT)
    with pytest.raises(DataError, match="more than 1000000 opcodes"):
        transcribed(b"\x80\x04](" + b"N" * 1_000_001 + b"e.", 1 << 24)


def test_a_changed_byte_is_refused_in_a_line_or_changes_a_value_and_runs_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    original = pickle.dumps({"a": Calls(os.getcwd), "b": OrderedDict(c=[1.5, "x" * 20])}, 4)
    monkeypatch.setattr(os, "getcwd", lambda: pytest.fail("the pickle was run"))
    draws = random.Random(0)
    for _ in range(400):
        changed = bytearray(original)
        changed[draws.randrange(2, len(changed))] = draws.randrange(256)
        try:
            pickles.check(transcribed(bytes(changed), LIMIT), {})
        except DataError as error:
            assert "\n" not in str(error)


def test_protocols_are_told_by_the_first_bytes() -> None:
    assert [protocol(pickle.dumps(1, version)) for version in range(6)] == [0, 0, 2, 3, 4, 5]
    assert protocol(b"") == 0


def test_a_compressed_archive_is_refused_as_before(tmp_path: Path) -> None:
    file = packed(tmp_path / "a.pt", {"data.pkl": pickle.dumps({}, 4)}, compress=True)
    assert "compressed" in refusal(file)
