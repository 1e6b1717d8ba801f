"""Files of soft labels: read to the bit, bounded, and of no consequence where they are damaged, gone or not to be written."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from torch import Tensor

from harness.training.kept import KeptLabels, of_batch
from harness.training.label_files import LabelFiles
from tests.training.test_kept import Teacher, batches


def said(count: int, width: int = 10, dtype: torch.dtype = torch.float32) -> dict[bytes, Tensor]:
    drawn = torch.Generator().manual_seed(count)
    return {bytes([number] * 32): torch.randn(3 + number, width, generator=drawn).to(dtype) for number in range(count)}


def same(one: dict[bytes, Tensor], other: dict[bytes, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_what_was_written_is_read_to_the_bit_by_whoever_asks_the_same(tmp_path: Path, dtype: torch.dtype) -> None:
    answers = said(5, dtype=dtype)
    LabelFiles(tmp_path / "labels").write("stream", answers)
    files = LabelFiles(tmp_path / "labels")
    assert same(files.read("stream"), answers)
    assert files.read("another") == {}


def test_a_file_of_another_stream_under_this_ones_name_is_passed_over(tmp_path: Path) -> None:
    files = LabelFiles(tmp_path)
    files.write("stream", said(2))
    files.path("stream").replace(files.path("another"))
    assert files.read("another") == {}


@pytest.mark.parametrize("place", [0.0, 0.3, 0.6, 0.9, 0.999])
def test_a_damaged_file_is_passed_over_and_made_again(tmp_path: Path, place: float) -> None:
    files, teacher = LabelFiles(tmp_path), Teacher()
    for batch in batches(5):
        kept = KeptLabels(files=files)
        kept.teacher("stream", teacher, "stream")(batch)
        kept.settle()
    whole = files.path("stream").read_bytes()
    at = int(place * (len(whole) - 1))
    for damaged in (whole[:at], whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :]):
        files.path("stream").write_bytes(damaged)
        kept, again = KeptLabels(files=files), Teacher()
        asking = kept.teacher("stream", again, "stream")
        assert all(torch.equal(asking(batch), Teacher()(batch)) for batch in batches(5))
        assert again.calls == 5
        kept.settle()
        assert same(files.read("stream"), {of_batch(batch): Teacher()(batch) for batch in batches(5)})


def test_a_process_reads_what_another_was_told_adds_to_it_and_writes_no_more_than_it_must(tmp_path: Path) -> None:
    files, teacher = LabelFiles(tmp_path), Teacher()

    def train(count: int) -> None:
        kept = KeptLabels(files=files)
        asking = kept.teacher("stream", teacher, "stream")
        for batch in batches(count):
            asking(batch)
        kept.settle()

    for count, asked in ((3, 3), (5, 5), (4, 5)):
        train(count)
        assert teacher.calls == asked
    before = files.path("stream").stat().st_ino
    train(5)
    assert files.path("stream").stat().st_ino == before


def test_what_has_no_name_lies_in_no_file(tmp_path: Path) -> None:
    kept = KeptLabels(files=LabelFiles(tmp_path))
    kept.teacher("stream", Teacher())(batches(1)[0])
    kept.settle()
    assert not [*tmp_path.iterdir()]


def test_files_have_no_more_bytes_than_allowed_and_the_one_longest_not_used_goes_first(tmp_path: Path) -> None:
    files = LabelFiles(tmp_path, most=20_000)
    for number, name in enumerate(("one", "two", "three")):
        files.write(name, said(20, 8))
        os.utime(files.path(name), (number, number)) if files.path(name).exists() else None
        assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= files.most
    size = files.path("three").stat().st_size
    assert size * 2 <= files.most < size * 3
    assert [files.path(name).exists() for name in ("one", "two", "three")] == [False, True, True]
    assert files.read("two")  # used just now
    files.write("four", said(20, 8))
    assert [files.path(name).exists() for name in ("two", "three", "four")] == [True, False, True]
    files.write("large", said(200, 8))
    assert not files.path("large").exists()
    assert files.path("four").exists()


def test_a_folder_that_cannot_be_written_is_done_without(tmp_path: Path) -> None:
    (tmp_path / "labels").write_text("a file has its place")
    files = LabelFiles(tmp_path / "labels")
    files.write("stream", said(2))
    assert files.read("stream") == {}


def test_what_a_killed_process_has_left_half_written_goes_with_the_next_file(tmp_path: Path) -> None:
    files = LabelFiles(tmp_path)
    left, writing = (files.path(name).with_name(f".{files.path(name).name}.0123abcd.tmp") for name in ("left", "writing"))
    for path in (left, writing):
        path.write_bytes(b"half")
    os.utime(left, (0, 0))
    files.write("stream", said(2))
    assert [path.exists() for path in (left, writing)] == [False, True]
