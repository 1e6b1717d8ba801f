"""Files that torch.save wrote before version 1.6: five pickles, then the bytes of storages. All is checked, nothing is run."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from typing import Protocol

from harness.core.errors import DataError
from harness.files import pickles, transcribing

#: torch's magic number and the format's version, each a pickle of its own, as torch.save writes them in each protocol.
MAGIC, VERSION = 0x1950A86A20F9469CFC6C, 1001
STARTS = {protocol: pickle.dumps(MAGIC, protocol) + pickle.dumps(VERSION, protocol) for protocol in (2, *transcribing.PROTOCOLS)}
START = STARTS[2]
#: Pickles that a file begins with: magic number, version, facts of the machine, the object, the keys of its storages.
PICKLES = 5
MAX_PICKLE = 16 << 20
MAX_INFO = 1 << 10


class Content(Protocol):
    """A file's bytes: `bytes` themselves, or a map of the file."""

    def __len__(self) -> int: ...
    def __getitem__(self, place: slice, /) -> bytes: ...


def protocol(content: Content) -> int:
    """Return the protocol of the pickles of a file in this format, by how it begins; 0 for any other file."""
    return next((number for number, start in STARTS.items() if content[: len(start)] == start), 0)


def transcribed(content: Content) -> tuple[bytes, int]:
    """Return the pickles of a file of a later protocol, written in protocol 2, and the place where these end in the file.

    Raises: DataError, without the file's name, as `transcribing.first`.
    """
    parts, place = [], 0
    for _ in range(PICKLES):
        part, end = transcribing.first(content[place : place + MAX_PICKLE], MAX_PICKLE)
        parts.append(part)
        place += end
    return b"".join(parts), place


def check(content: Content) -> set[str]:
    """Follow a file's pickles without running them, and return the globals that its object names ("module name").

    Magic number, version, facts of the machine, the object, the keys of its storages; then, key by key, how many elements a
    storage has in 8 bytes, and these. Torch takes memory for what the object claims before it reads any of it.

    Raises: DataError, without the file's name, unless the file holds the storages that its object names and nothing else, on a
        machine that stores the low byte first; and as `pickles.follow`.
    """
    if content[: len(START)] != START:
        raise DataError("its first bytes are not those of torch.save's files from before version 1.6")
    place = len(START)
    machine = _followed(content, place, MAX_INFO, {})
    if type(machine.value) is not dict or machine.value.get("little_endian") is not True:
        raise DataError("it does not say that it was saved by a machine that stores the low byte first")
    place += machine.end
    saved = _followed(content, place, MAX_PICKLE, None)
    place += saved.end
    listed = _followed(content, place, MAX_PICKLE, {})
    keys = listed.value if type(listed.value) is list else []
    if not all(type(key) is str for key in keys) or sorted(keys) != sorted(saved.claims):
        raise DataError("the storages that it lists are not those that its tensors lie in")
    _check_storages(content, place + listed.end, keys, saved.claims)
    return saved.used


def _followed(content: Content, place: int, limit: int, storages: Mapping[str, int] | None) -> pickles.Followed:
    """Follow the pickle at `place`, which may have `limit` bytes."""
    part = content[place : place + limit]
    try:
        return pickles.follow(part, storages)
    except DataError as error:
        if len(part) == limit and "damaged" in str(error):
            raise DataError(f"a pickle in it is damaged, or larger than {limit >> 10} KiB; {pickles.INSTEAD}") from None
        raise


def _check_storages(content: Content, place: int, keys: list[str], claims: Mapping[str, tuple[str, int]]) -> None:
    """Raise DataError unless the storages lie from `place` to the end, in the order of `keys`, with the elements they should."""
    for key in keys:
        name, length = claims[key]
        stored = int.from_bytes(content[place : place + 8], "little", signed=True)
        if stored != length or len(content) < place + 8:
            raise DataError(f"storage {key[:80]!r} has {stored} elements, its tensors want {length}; damaged or truncated")
        place += 8 + length * pickles.STORAGES[name]
    if place != len(content):
        raise DataError(f"damaged or truncated: its storages would end at byte {place}, the file at {len(content)}")
