"""Pickles are followed, not run: what torch.save writes of tensors passes, everything else is refused before torch sees it."""

from __future__ import annotations

import pickle
from collections import Counter, OrderedDict

import pytest

from harness.core.errors import DataError
from harness.files import pickles

FLOATS = b"ctorch\nFloatStorage\n"
REBUILD = b"ctorch._utils\n_rebuild_tensor_v2\n"


def text(words: str) -> bytes:
    return b"X" + len(words.encode()).to_bytes(4, "little") + words.encode()


def number(value: int) -> bytes:
    return b"\x8a\x08" + value.to_bytes(8, "little", signed=True)


def tensor(
    elements: int = 6, size: bytes = b"K\x02K\x03\x86", stride: bytes = b"K\x03K\x01\x86", offset: bytes = b"K\x00"
) -> bytes:
    """The pickle of one float tensor over storage "0"."""
    storage = b"(" + text("storage") + FLOATS + text("0") + text("cpu") + number(elements) + b"tQ"
    empty = b"ccollections\nOrderedDict\n)R"
    return b"\x80\x02" + REBUILD + b"(" + storage + offset + size + stride + b"\x89" + empty + b"tR."


def test_a_tensor_within_its_storage_passes_and_says_which_globals_it_needs() -> None:
    used = pickles.check(tensor(), {"0": 24})
    assert used == {"torch._utils _rebuild_tensor_v2", "torch FloatStorage", "collections OrderedDict"}


@pytest.mark.parametrize(
    "broken",
    {
        "more elements than its storage": tensor(size=b"K\x04K\x03\x86"),
        "further apart than its storage": tensor(stride=b"K\x09K\x01\x86"),
        "begins behind its storage": tensor(offset=b"K\x07"),
        "a hundred gigabytes by sizes": tensor(size=number(10**11) + b"K\x03\x86"),
        "a hundred gigabytes by expansion": tensor(size=number(10**11) + b"K\x03\x86", stride=b"K\x00K\x00\x86"),
        "sizes whose product overflows": tensor(size=number(2**61) + number(8) + b"\x86", stride=b"K\x00K\x00\x86"),
        "a negative size": tensor(size=number(-2) + b"K\x03\x86"),
        "a size that is no number": tensor(size=b"NK\x03\x86"),
        "a truth for a size": tensor(size=b"\x88K\x03\x86"),
        "fewer strides than sizes": tensor(stride=b"K\x03\x85"),
        "a storage larger than the file": tensor(elements=25 * 10**9),
        "seventeen dimensions": tensor(size=b"(" + b"K\x01" * 17 + b"t", stride=b"(" + b"K\x01" * 17 + b"t"),
    }.items(),
    ids=lambda case: case[0],
)
def test_a_tensor_that_claims_more_than_is_stored_is_refused(broken: tuple[str, bytes]) -> None:
    with pytest.raises(DataError):
        pickles.check(broken[1], {"0": 24})


@pytest.mark.parametrize(
    "name",
    [
        "os system",
        "posix system",
        "builtins eval",
        "builtins exec",
        "__builtin__ getattr",
        "subprocess Popen",
        "torch load",
        "torch UntypedStorage",
        "builtins bytearray",
        "harness.files.pickles check",
        "numpy load",
        "pickle loads",
        "torch.hub load",
    ],
)
def test_a_global_that_is_no_part_of_a_tensor_is_refused_by_its_name(name: str) -> None:
    named = "c" + name.replace(" ", "\n") + "\n."
    with pytest.raises(DataError, match=name.replace(" ", ".")):
        pickles.check(b"\x80\x02" + named.encode(), {})


@pytest.mark.parametrize(
    "opcode", [b"0.", b"2.", b"\x93.", b"ios\nsystem\n.", b"o.", b"P0\n.", b"\x82\x01.", b"\x8f.", b"\x8c\x01a."]
)
def test_opcodes_that_torch_does_not_write_are_refused(opcode: bytes) -> None:
    with pytest.raises(DataError):
        pickles.check(b"\x80\x02](K\x01K\x02" + opcode, {})


@pytest.mark.parametrize(
    "content",
    [
        b"\x80\x02ctorch\nFloatStorage\n}b.",  # a state for a class
        b"\x80\x02" + REBUILD + b"}" + text("__code__") + b"K\x01sb.",  # a state for a function
        b"\x80\x02ccollections\nOrderedDict\n)R" + b"K\x01b.",  # a state that is no dict
        b"\x80\x02ccollections\nOrderedDict\n)\x81.",  # made by NEWOBJ
        b"\x80\x02ctorch._utils\n_rebuild_parameter\n)\x81.",
        b"\x80\x02cargparse\nNamespace\n)R.",  # called, not made
        b"\x80\x02cargparse\nNamespace\nK\x01\x85\x81.",
        b"\x80\x02]K\x01\x85R.",  # a call of something that is no function
        b"\x80\x02" + REBUILD + b")R.",  # too few arguments
        b"\x80\x02c_codecs\nencode\n" + text("a") + text("rot13") + b"\x86R.",
    ],
)
def test_objects_are_not_made_nor_given_a_state(content: bytes) -> None:
    with pytest.raises(DataError):
        pickles.check(content, {"0": 24})


@pytest.mark.parametrize("value", [{"a": 1, "b": [2.5, None, True]}, [("x", -3)], OrderedDict(a=1), Counter(a=2), "é", 2**40])
def test_plain_values_pass(value: object) -> None:
    pickles.check(pickle.dumps(value, protocol=2), {})


def test_what_is_copied_over_and_over_is_refused_before_memory_runs_out() -> None:
    """A megabyte that is named a hundred thousand times would become a hundred gigabytes in the reader that follows."""
    encode = b"c_codecs\nencode\nq\x01" + text("a" * 1000) + b"q\x00" + text("latin1") + b"q\x02\x86R"
    again = b"h\x01h\x00h\x02\x86R"
    with pytest.raises(DataError, match="over and over"):
        pickles.check(b"\x80\x02](" + encode + again * 2000 + b"e.", {})
    state = b"(" + b"".join(text(f"k{i}") + b"K\x01" for i in range(1000)) + b"u"
    made = b"ccollections\nOrderedDict\nq\x01)R}q\x00" + state + b"b"
    with pytest.raises(DataError, match="over and over"):
        pickles.check(b"\x80\x02](" + made + b"h\x01)Rh\x00b" * 2000 + b"e.", {})
    count = b"ccollections\nCounter\nq\x01}q\x00" + state + b"\x85R"
    with pytest.raises(DataError, match="over and over"):
        pickles.check(b"\x80\x02](" + count + b"h\x01h\x00\x85R" * 2000 + b"e.", {})


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b".",
        b"\x80\x02",
        b"\x80\x04N.",
        b"\x80\x02(.",
        b"\x80\x02N",
        b"\x80\x02NN.",
        b"\x80\x02h\x05.",
        b"\x80\x02e.",
        b"\xff",
    ],
)
def test_damaged_pickles_are_refused(content: bytes) -> None:
    with pytest.raises(DataError):
        pickles.check(content, {})
