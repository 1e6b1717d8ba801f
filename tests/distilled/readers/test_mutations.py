"""Valid files of every format, changed at random thousands of times: a refusal in one line, or a set that passes every check."""

from __future__ import annotations

import gzip
import io
import json
import os
import shutil
import struct
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as some

from harness import DistilledSet
from harness.core.errors import GiftbenchError
from tests.distilled.readers.published_files import FORMATS, NEWER, SMALL, imported, members, pack, write

#: Cases of each format, and of each kind of this project's own file; `GIFTBENCH_FUZZ=5000` makes so many (`tox run -e faults`).
CASES = int(os.environ.get("GIFTBENCH_FUZZ", "300"))
#: Formats of which a suite's run has a fifth: what is new in them lies in few parts.
FEW = (*NEWER, "lpld", "lpqld", "hald", "own with a pool")
OWN = ("own", "own with replay", "own with a pool")
FILE = "set.safetensors"
cases: dict[str, int] = {}

#: One change: what, where (a share of the length), how many bytes, which bytes.
Change = tuple[str, float, int, bytes]
KINDS = ("flip", "overwrite", "insert", "delete", "duplicate", "swap", "truncate")
shares = some.floats(0, 1, exclude_max=True)
change = some.tuples(some.sampled_from(KINDS), shares, some.integers(1, 40), some.binary(min_size=1, max_size=8))
changes = some.lists(change, min_size=1, max_size=3)


def changed(content: bytes, edits: list[Change]) -> bytes:
    for kind, share, length, given_bytes in edits:
        at = int(share * len(content))
        before, block, after = content[:at], content[at : at + length], content[at + length :]
        if kind == "flip":
            content = before + bytes([(content[at] if at < len(content) else 0) ^ (1 << length % 8)]) + content[at + 1 :]
        elif kind == "overwrite":
            content = before + given_bytes + content[at + len(given_bytes) :]
        elif kind == "insert":
            content = before + given_bytes + content[at:]
        elif kind == "delete":
            content = before + after
        elif kind == "duplicate":
            content = before + block + block + after
        elif kind == "swap":
            content = before + after[:length] + block + after[length:]
        else:
            content = before
    return content


# -- what is changed: bytes of a file, or of a part of it whose lengths and checksums are then made right again --------------

Rebuild = Callable[[bytes], bytes]


@dataclass(frozen=True)
class Part:
    """Bytes that are changed, and how the file is made of them."""

    file: Path
    content: bytes
    rebuild: Rebuild


def parts_of(file: Path) -> list[Part]:
    whole = file.read_bytes()
    found = [Part(file, whole, lambda content: content)]
    if file.suffix in (".pt", ".tar"):
        inner = members(file)
        found += [_member(file, inner, name) for name in inner if name == "data.pkl" or name.startswith("data/")]
    if file.suffix in (".zip", ".npz"):
        found += _zipped(file, whole)
    if file.suffix == ".gz":
        found.append(Part(file, gzip.decompress(whole), gzip.compress))
    if file.suffix == ".parquet":
        found += _parquet(file, whole)
    if file.suffix == ".png":
        found.append(_png(file, whole))
    if file.suffix == ".safetensors":
        found += _safetensors(file, whole)
    return found


def _member(file: Path, inner: dict[str, bytes], name: str) -> Part:
    """One entry of an archive: the checksum fits whatever it becomes."""
    scratch = file.with_name("scratch")

    def rebuild(content: bytes) -> bytes:
        made = pack(scratch, inner | {name: content}).read_bytes()
        scratch.unlink()
        return made

    return Part(file, inner[name], rebuild)


def _zipped(file: Path, whole: bytes) -> list[Part]:
    """Entries of a zip archive, whose checksums fit whatever they become, and what it says of all of them at its end."""
    with zipfile.ZipFile(io.BytesIO(whole)) as archive:
        inner = {info.filename: archive.read(info) for info in archive.infolist()}
    central = whole.index(b"PK\x01\x02")

    def rebuilt(name: str, content: bytes) -> bytes:
        stream = io.BytesIO()
        with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
            for each, own in (inner | {name: content}).items():
                archive.writestr(each, own)
        return stream.getvalue()

    ends = Part(file, whole[central:], lambda content: whole[:central] + content)
    return [ends, *(Part(file, own, partial(rebuilt, name)) for name, own in inner.items())]


def _parquet(file: Path, whole: bytes) -> list[Part]:
    """What a parquet file says of itself at its end, with its length made right."""
    length = int.from_bytes(whole[-8:-4], "little")
    rows, footer = whole[: -8 - length], whole[-8 - length : -8]
    return [Part(file, footer, lambda content: rows + content + len(content).to_bytes(4, "little") + b"PAR1")]


def _png(file: Path, whole: bytes) -> Part:
    """The chunks of a PNG without their checksums."""
    chunks, at = [], 8
    while at < len(whole):
        (length,) = struct.unpack(">I", whole[at : at + 4])
        chunks.append(whole[at + 4 : at + 8 + length])
        at += 12 + length

    def rebuild(content: bytes) -> bytes:
        made, start = whole[:8], 0
        for chunk in chunks:
            one = content[start : start + len(chunk)]
            start += len(chunk)
            made += struct.pack(">I", max(0, len(one) - 4)) + one + struct.pack(">I", zlib.crc32(one))
        return made

    return Part(file, b"".join(chunks), rebuild)


def _safetensors(file: Path, whole: bytes) -> list[Part]:
    """The header with its length made right, and the description in it."""
    length = int.from_bytes(whole[:8], "little")
    header, rest = whole[8 : 8 + length], whole[8 + length :]
    read = json.loads(header)

    def of_header(content: bytes) -> bytes:
        return len(content).to_bytes(8, "little") + content + rest

    def of_description(content: bytes) -> bytes:
        told = read | {"__metadata__": read["__metadata__"] | {"set": content.decode("latin1")}}
        return of_header(json.dumps(told).encode())

    return [Part(file, header, of_header), Part(file, read["__metadata__"]["set"].encode(), of_description)]


# -- what comes of it --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Whole:
    """A valid set: how it is read, and the parts of its files."""

    load: Callable[[], DistilledSet]
    parts: list[Part]


@pytest.fixture(scope="module")
def wholes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Whole]:
    found: dict[str, Whole] = {}
    paths: dict[str, Path] = {}
    root = tmp_path_factory.mktemp("wholes")
    for form in (*FORMATS, *NEWER):
        path = paths[form] = write(form, root / form)
        files = sorted(file for file in (root / form).rglob("*") if file.is_file())
        parts = [part for file in files for part in parts_of(file)]
        found[form] = Whole(partial(imported, form, path), parts)
    for name, form in zip(OWN, ("datm", "fkd", "lpqld"), strict=True):
        file = imported(form, paths[form]).save(root / name / FILE)
        found[name] = Whole(partial(DistilledSet.load, file), parts_of(file))
    return found


def check(made: DistilledSet, folder: Path) -> None:
    """A set that a changed file gave: the right counts, finite values, and equal to itself after a round trip."""
    assert isinstance(made, DistilledSet)
    each = 2 * made.provenance.get("decoded", 1)
    assert made.shape == SMALL.shape and made.classes == SMALL.classes and len(made) == 2 * each
    assert made.labels.bincount(minlength=made.classes).tolist() == [each, each]
    assert made.images.dtype == torch.uint8 or bool(made.images.isfinite().all())
    if made.soft_labels is not None:
        assert tuple(made.soft_labels.shape) == (4, 2) and bool(made.soft_labels.isfinite().all())
    if made.replay is not None:
        made.replay.check(4, 2)
    folder.mkdir(exist_ok=True)
    again = DistilledSet.load(made.save(folder / FILE))
    assert again.digest == made.digest and again.metadata == made.metadata
    shutil.rmtree(folder)


@pytest.mark.parametrize("form", [*FORMATS, *NEWER, *OWN])
def test_a_changed_file_is_refused_in_one_line_or_read_right(
    form: str, wholes: dict[str, Whole], tmp_path_factory: pytest.TempPathFactory
) -> None:
    whole, scratch = wholes[form], tmp_path_factory.mktemp("scratch")
    wanted = CASES // 5 if form in FEW and CASES <= 300 else CASES
    cases[form] = 0

    @settings(
        max_examples=wanted, derandomize=True, deadline=None, database=None, phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(some.integers(0, len(whole.parts) - 1), changes)
    def one(which: int, edits: list[Change]) -> None:
        part = whole.parts[which]
        before = part.file.read_bytes()
        cases[form] += 1
        try:
            part.file.write_bytes(part.rebuild(changed(part.content, edits)))
            made = whole.load()
        except GiftbenchError as error:
            message = str(error)
            assert len(message) < 500 and message.startswith("/") and message.isprintable(), message
        else:
            check(made, scratch / "round trip")
        finally:
            part.file.write_bytes(before)

    one()
    print(f"{cases[form]} cases of {form}")
    assert cases[form] >= wanted
    check(whole.load(), scratch / "round trip")  # the case before left nothing behind


def test_they_are_more_than_two_thousand_cases() -> None:
    assert CASES * len({*FORMATS, *OWN} - {*FEW}) >= 2000
