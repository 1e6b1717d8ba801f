"""IDX files, whole and broken."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy
import pytest

from harness.core.errors import DataError
from harness.datasets.idx import packed_or_plain, read_idx
from tests.datasets.test_fashion_mnist import idx


def test_the_gzipped_form_comes_first(tmp_path: Path) -> None:
    assert packed_or_plain(tmp_path, "labels") == tmp_path / "labels"
    (tmp_path / "labels.gz").touch()
    assert packed_or_plain(tmp_path, "labels") == tmp_path / "labels.gz"


def test_values_are_read_in_order(tmp_path: Path) -> None:
    values = numpy.arange(24, dtype=numpy.uint8).reshape(2, 3, 4)
    (tmp_path / "images").write_bytes(idx(values))
    assert read_idx(tmp_path / "images", 3).tolist() == values.tolist()


GOOD = idx(numpy.zeros((3, 4, 4), numpy.uint8))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "not an IDX file"),
        (GOOD[:10], "not an IDX file"),
        (GOOD[:-1], "47 bytes of data where its header promises 48"),
        (GOOD + b"x", "49 bytes of data where its header promises 48"),
        (b"\0\0\x0d\x03" + GOOD[4:], "not an IDX file of 3 dimensions of bytes"),
        (b"\0\0\x08\x01" + GOOD[4:], "not an IDX file of 3 dimensions of bytes"),
        (b"<html>not found</html>", "not an IDX file"),
        (b"\0\0\x08\x03" + struct.pack(">3I", 2**32 - 1, 2**32 - 1, 2**32 - 1), "0 bytes of data"),
        (b"\0\0\x08\x03" + struct.pack(">3I", 0, 2**32 - 1, 2**32 - 1), "promises no data"),
    ],
)
@pytest.mark.parametrize("packed", [True, False], ids=["gz", "plain"])
def test_broken_idx_file_is_named(tmp_path: Path, content: bytes, words: str, packed: bool, refused) -> None:
    file = tmp_path / ("images.gz" if packed else "images")
    file.write_bytes(gzip.compress(content) if packed else content)
    with refused(DataError, file, words):
        read_idx(file, 3)


@pytest.mark.parametrize("damage", [lambda b: b[:-9], lambda b: b[:40], lambda b: b"\x1f\x8b" + b[4:], lambda b: b"plain" + b])
def test_broken_gzip_file_is_named(tmp_path: Path, damage, refused) -> None:
    file = tmp_path / "images.gz"
    noise = numpy.random.default_rng(0).integers(0, 256, (3, 4, 4), dtype=numpy.uint8)
    file.write_bytes(damage(gzip.compress(idx(noise))))
    with refused(DataError, file, "cannot be read"):
        read_idx(file, 3)
