"""Parquet files from elsewhere are opened within limits."""

from __future__ import annotations

import sys
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from harness import datasets
from harness.core.errors import DataError
from tests.datasets.hugging_face import encoded, with_rows


def test_truncated_parquet_is_refused_at_every_tenth(tmp_path: Path, refused) -> None:
    with_rows(tmp_path)
    file = tmp_path / "data" / "test-00000-of-00001.parquet"
    whole = file.read_bytes()
    for tenth in range(10):
        file.write_bytes(whole[: len(whole) * tenth // 10])
        with refused(DataError, file):
            datasets.load(f"folder:{tmp_path}")


def test_parquet_of_other_columns_is_refused(tmp_path: Path, refused) -> None:
    file = with_rows(tmp_path) / "data" / "test-00000-of-00001.parquet"
    for columns, word in (
        ({"text": ["a"], "label": [0]}, "expected image and label"),
        ({"image": ["a.png"], "label": [0]}, "no encoded images"),
        ({"image": [b"a"], "label": [0.5]}, "expected class numbers or names"),
        ({"image": [b"a"], "fine": [0], "coarse": [0]}, "which is the label? State it: column=NAME"),
    ):
        pyarrow.parquet.write_table(pyarrow.table(columns), file)
        with refused(DataError, file, word):
            datasets.load(f"folder:{tmp_path}")


def test_row_group_larger_than_the_limit_is_not_read(tmp_path: Path, refused, monkeypatch: pytest.MonkeyPatch) -> None:
    from harness.files import parquet

    monkeypatch.setattr(parquet, "MAX_GROUP", 100)
    with refused(DataError, "row group 0 has", "above the limit of 100"):
        datasets.load(f"folder:{with_rows(tmp_path)}")


def test_large_value_that_few_bytes_repeat_a_hundred_times_is_not_unfolded(
    tmp_path: Path, refused, monkeypatch: pytest.MonkeyPatch
) -> None:
    from harness.files import parquet

    monkeypatch.setattr(parquet, "MAX_GROUP", 1 << 23)
    with_rows(tmp_path)
    file = tmp_path / "data" / "test-00000-of-00001.parquet"
    repeated = pyarrow.DictionaryArray.from_arrays(pyarrow.array([0] * 100, pyarrow.int32()), pyarrow.array([bytes(1 << 20)]))
    table = pyarrow.table({"image": repeated, "label": [0] * 100})
    pyarrow.parquet.write_table(table, file, store_schema=False)
    assert file.stat().st_size < 1 << 18
    with refused(DataError, file, "row group 0", "bytes of images"):
        datasets.load(f"folder:{tmp_path}(size=8)")
    repeated = pyarrow.DictionaryArray.from_arrays(pyarrow.array([0] * 100, pyarrow.int32()), pyarrow.array(["c" * (1 << 20)]))
    table = pyarrow.table({"image": [encoded(0)] * 100, "label": repeated})
    pyarrow.parquet.write_table(table, file, store_schema=False)
    with refused(DataError, file, "row group 0", "a label of more than 1000 bytes"):
        datasets.load(f"folder:{tmp_path}")


def test_without_pyarrow_the_remedy_is_said(tmp_path: Path, refused, monkeypatch: pytest.MonkeyPatch) -> None:
    with_rows(tmp_path)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.delitem(sys.modules, "pyarrow.parquet")
    with refused(DataError, ".parquet", "pip install 'giftbench[huggingface]'"):
        datasets.load(f"folder:{tmp_path}")
