"""Sets as parquet files: what is read back has the digest of what was written, and what is damaged is refused in a line."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy
import pyarrow.parquet
import pytest
import torch
from PIL import Image

from harness import datasets
from harness.core.errors import DataError
from harness.distilled import exporting, readers
from harness.distilled.exporting import as_pictures, read, write
from harness.distilled.reading import Reading
from harness.distilled.set import DistilledSet
from harness.training.replay import Replay


def a_set(kind: str = "pixels", **changed: Any) -> DistilledSet:
    """A set of three classes, two images each, of one of the kinds that there are."""
    draws = torch.Generator().manual_seed(3)
    labels = torch.tensor([0, 0, 1, 1, 2, 2])
    pixels = torch.randint(0, 256, (6, 3, 8, 8), generator=draws, dtype=torch.uint8)
    floats = torch.rand(6, 3, 8, 8, generator=draws)
    soft = torch.randn(6, 10, generator=draws)
    common: dict[str, Any] = {"dataset": "cifar10", "method": "mine", "classes": 10, "provenance": {"made": "here"}}
    kinds: dict[str, tuple[torch.Tensor, torch.Tensor | None, dict[str, Any]]] = {
        "pixels": (pixels, None, {}),
        "grey": (pixels[:, :1], None, {"dataset": "digits"}),
        "two channels": (pixels[:, :2], None, {"dataset": "folder:pairs"}),
        "mosaic": (pixels, None, {"factor": 2, "native_loss": "kl"}),
        "logits": (pixels, soft, {}),
        "half logits": (pixels, soft.half(), {}),
        "bfloat16 logits": (pixels, soft.bfloat16(), {}),
        "double logits": (pixels, soft.double(), {}),
        "probabilities": (pixels, soft.softmax(1), {"soft_kind": "probabilities"}),
        "floats": (floats, None, {}),
        "normalised": (floats * 4 - 2, None, {"mean": (0.5, 0.4, 0.3), "std": (0.2, 0.2, 0.3)}),
        "whitened": (floats * 9 - 5, soft, {"normalised": True, "whitening": "zca"}),
    }
    images, labels_too, more = kinds[kind]
    return DistilledSet(images, labels, labels_too, **{**common, **more, **changed})


KINDS = (
    *("pixels", "grey", "two channels", "mosaic", "logits", "half logits", "bfloat16 logits", "double logits", "probabilities"),
    *("floats", "normalised", "whitened"),
)


@pytest.mark.parametrize("kind", KINDS)
def test_what_was_written_is_read_back_the_same(kind: str, tmp_path: Path) -> None:
    original = a_set(kind)
    (file,) = write(original, tmp_path)
    back = read(tmp_path)
    assert back.digest == original.digest
    assert back.metadata == original.metadata
    assert torch.equal(back.images, original.images)
    assert read(file.path).digest == original.digest
    assert (file.rows, file.size) == (6, file.path.stat().st_size)


def test_the_files_are_what_hugging_face_shows_as_images_and_classes(tmp_path: Path) -> None:
    original = a_set()
    names = [f"class {i}" for i in range(10)]
    write(original, tmp_path, names)
    table = pyarrow.parquet.read_table(tmp_path / "train-00000-of-00001.parquet")
    features = json.loads(table.schema.metadata[b"huggingface"])["info"]["features"]
    assert features == {"image": {"_type": "Image"}, "label": {"names": names, "_type": "ClassLabel"}}
    assert table.column("label").to_pylist() == original.labels.tolist()
    for row, image in zip(table.column("image").to_pylist(), original.images, strict=True):
        with Image.open(io.BytesIO(row["bytes"])) as opened:
            assert opened.format == "PNG"
            assert numpy.array_equal(numpy.asarray(opened), image.permute(1, 2, 0).numpy())


def test_a_large_set_is_several_files_one_of_which_must_not_be_absent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refused
) -> None:
    monkeypatch.setattr(exporting, "GROUP", 2)
    monkeypatch.setattr(exporting, "SHARD", 1)
    original = a_set("logits")
    files = write(original, tmp_path)
    assert [file.path.name for file in files] == [f"train-0000{i}-of-00003.parquet" for i in range(3)]
    assert read(tmp_path).digest == original.digest
    files[1].path.unlink()
    with refused(DataError, tmp_path, "2 of 3 parquet files"):
        read(tmp_path)


def test_floats_are_shown_as_the_pixels_they_stand_for() -> None:
    floats = a_set("floats")
    expected = (floats.images * 255).round().to(torch.uint8)
    assert torch.equal(as_pictures(floats, slice(0, 6)), expected)
    mean, std = (0.5, 0.4, 0.3), (0.2, 0.2, 0.3)
    columns = [torch.tensor(values).view(1, 3, 1, 1) for values in (mean, std)]
    normalised = DistilledSet(
        (floats.images - columns[0]) / columns[1], floats.labels, dataset="cifar10", method="x", mean=mean, std=std
    )
    assert int((as_pictures(normalised, slice(0, 6)).int() - expected.int()).abs().max()) <= 1
    assert as_pictures(a_set("two channels"), slice(1, 3)).shape == (2, 1, 8, 8)


def test_stored_augmentations_are_refused_with_what_to_publish_instead(tmp_path: Path, refused) -> None:
    steps = {"crops": torch.zeros(1, 6, 4), "flips": torch.zeros(1, 6, dtype=torch.bool), "lam": torch.ones(1, 1)}
    whole = {"index": torch.arange(6)[None], "partners": torch.arange(6)[None], "boxes": torch.full((1, 1, 4), -1)}
    steps["crops"][..., 2:] = 1
    original = a_set(replay=Replay(**steps, **whole, logits=torch.zeros(1, 6, 10, dtype=torch.float16), batch=6))
    with refused(DataError, "stored augmentation", ".safetensors"):
        write(original, tmp_path)
    assert not list(tmp_path.iterdir())


def changed(file: Path, **columns: Any) -> None:
    """Write a file anew with other values of some columns; one that is None is left out."""
    table = pyarrow.parquet.read_table(file)
    for name, values in columns.items():
        place = table.schema.names.index(name)
        field = table.schema.field(name)
        table = table.remove_column(place)
        if values is not None:
            table = table.add_column(place, field, [pyarrow.array(values, field.type)])
    pyarrow.parquet.write_table(table, file)


def test_another_label_is_found_by_the_digest(tmp_path: Path, refused) -> None:
    (file,) = write(a_set(), tmp_path)
    changed(file.path, label=[0, 0, 1, 1, 2, 1])
    with refused(DataError, tmp_path, "digest"):
        read(tmp_path)


@pytest.mark.parametrize("kind", ["pixels", "whitened"])
def test_a_damaged_file_is_one_line(kind: str, tmp_path: Path, refused) -> None:
    (file,) = write(a_set(kind), tmp_path)
    whole = file.path.read_bytes()
    for content in (b"", whole[:-9], whole[: len(whole) // 2], b"PAR1" + bytes(40) + b"PAR1"):
        file.path.write_bytes(content)
        with refused(DataError, file.path):
            read(tmp_path)


def test_what_a_file_says_of_its_set_is_checked(tmp_path: Path, refused) -> None:
    (file,) = write(a_set(), tmp_path)
    table = pyarrow.parquet.read_table(file.path)
    about = json.loads(table.schema.metadata[exporting.KEY])
    for said in (b"[]", b"{", json.dumps({**about, "set": 3}).encode(), json.dumps({**about, "format": "x/9"}).encode()):
        pyarrow.parquet.write_table(table.replace_schema_metadata({exporting.KEY: said}), file.path)
        with refused(DataError, file.path, "format"):
            read(tmp_path)
    for change in ({"shape": [3]}, {"shape": [3, 9, 9]}, {"set": {**about["set"], "classes": -1}}, {"set": {"x": 1}}):
        said = json.dumps(about | change).encode()
        pyarrow.parquet.write_table(table.replace_schema_metadata({exporting.KEY: said}), file.path)
        with refused(DataError, tmp_path):
            read(tmp_path)
    pyarrow.parquet.write_table(table.replace_schema_metadata({}), file.path)
    assert not exporting.is_exported(file.path)
    with refused(DataError, file.path, "no distilled set was exported to it"):
        read(tmp_path)


@pytest.mark.parametrize(
    "columns", [{"label": None}, {"label": [0, None, 1, 1, 2, 2]}, {"soft_labels": [[0.0] * 10] * 5 + [None]}]
)
def test_columns_without_all_values_are_refused(columns: dict[str, Any], tmp_path: Path, refused) -> None:
    (file,) = write(a_set("logits"), tmp_path)
    changed(file.path, **columns)
    with refused(DataError, tmp_path):
        read(tmp_path)


def test_nothing_to_read_is_named(tmp_path: Path, refused) -> None:
    with refused(DataError, tmp_path, "no .parquet files"):
        read(tmp_path)


# -- by the reader of parquet files ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in ("grey", "two channels")])
def test_the_reader_of_parquet_files_gives_the_set_that_was_exported(kind: str, tmp_path: Path) -> None:
    original = whole(kind)
    write(original, tmp_path / "data")
    said: list[str] = []
    back = readers.create("parquet")(Reading(tmp_path, datasets.card("cifar10"), say=said.append))
    assert back.digest == original.digest
    assert "as it was exported" in said[0]


def whole(kind: str) -> DistilledSet:
    """A set that has two images of each class of CIFAR-10."""
    small = a_set(kind)
    times = torch.arange(20) % len(small)
    soft = None if small.soft_labels is None else small.soft_labels[times]
    return small.changed(images=small.images[times], labels=torch.arange(20) // 2, soft_labels=soft)


def test_a_lower_ipc_is_the_first_images_of_each_class(tmp_path: Path) -> None:
    original = whole("logits")
    write(original, tmp_path)
    first = readers.create("parquet")(Reading(tmp_path, datasets.card("cifar10"), 1))
    assert first.labels.tolist() == list(range(10))
    assert torch.equal(first.images, original.images[::2])
    assert original.soft_labels is not None and first.soft_labels is not None
    assert torch.equal(first.soft_labels, original.soft_labels[::2])


def test_a_set_of_another_dataset_is_refused(tmp_path: Path, refused) -> None:
    write(whole("pixels"), tmp_path)
    for name in ("cifar100", "svhn"):
        with refused(DataError, tmp_path, name):
            readers.create("parquet")(Reading(tmp_path, datasets.card(name)))


def test_a_stated_column_reads_the_rows_as_those_of_any_file(tmp_path: Path) -> None:
    original = whole("pixels")
    write(original, tmp_path)
    card = replace(datasets.card("cifar10"), shape=(3, 8, 8))
    back = readers.create("parquet(column=label)")(Reading(tmp_path, card))
    assert back.digest == original.digest
    assert back.method == "parquet"
