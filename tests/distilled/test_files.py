"""The file of a distilled set: what is saved is loaded, and nothing else is taken for one."""

from __future__ import annotations

import json
import pickle
import struct
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from harness import DistilledSet
from harness.core.errors import DataError, WriteError
from harness.distilled.files import FORMAT, read_set_header

DRAWS = torch.Generator().manual_seed(0)
PIXELS = torch.randint(0, 256, (4, 1, 4, 4), dtype=torch.uint8, generator=DRAWS)
LABELS = torch.tensor([0, 0, 1, 1])
LOGITS = torch.randn(4, 2, generator=DRAWS)
STORY: dict[str, Any] = {"dataset": "digits", "method": "mine", "native_loss": "kl", "provenance": {"seed": 3, "note": "é\n"}}
SETS = {
    "uint8": DistilledSet(PIXELS, LABELS, **STORY),
    "float": DistilledSet(PIXELS / 255, LABELS, **STORY),
    "normalised": DistilledSet(PIXELS / 100 - 1, LABELS, normalised=True, **STORY),
    "logits": DistilledSet(PIXELS, LABELS, LOGITS, **STORY),
    "half": DistilledSet(PIXELS, LABELS, LOGITS.half(), **STORY),
    "probabilities": DistilledSet(PIXELS, LABELS, LOGITS.softmax(1), soft_kind="probabilities", **STORY),
    "mosaic": DistilledSet(PIXELS, LABELS, factor=2, classes=5, **STORY),
}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return SETS["logits"].save(tmp_path / "set.safetensors")


def parts(file: Path) -> tuple[dict[str, str], dict[str, Tensor]]:
    with safe_open(str(file), framework="pt") as opened:
        return dict(opened.metadata()), {name: opened.get_tensor(name).clone() for name in opened.keys()}  # noqa: SIM118


def rewrite(file: Path, description: dict[str, Any] | None = None, **tensors: Tensor | None) -> None:
    """Edit a file's tensors or its description and leave the digest that it states."""
    header, found = parts(file)
    found = {name: tensor for name, tensor in (found | tensors).items() if tensor is not None}
    header["set"] = json.dumps(json.loads(header["set"]) | (description or {}))
    file.unlink()
    save_file(found, str(file), metadata=header)


@pytest.mark.parametrize("kind", SETS)
def test_a_loaded_set_is_the_saved_one(tmp_path: Path, kind: str) -> None:
    saved = SETS[kind]
    loaded = DistilledSet.load(saved.save(tmp_path / "new folder" / "set.safetensors"))
    assert loaded.digest == saved.digest
    assert torch.equal(loaded.images, saved.images)
    assert torch.equal(loaded.labels, saved.labels)
    assert (loaded.soft_labels is None) == (saved.soft_labels is None)
    if saved.soft_labels is not None and loaded.soft_labels is not None:
        assert torch.equal(loaded.soft_labels, saved.soft_labels)
    assert loaded.metadata == saved.metadata
    assert loaded.provenance == STORY["provenance"]


def test_saving_again_replaces_the_file_and_leaves_nothing_else(tmp_path: Path) -> None:
    for kind in ("uint8", "logits"):
        SETS[kind].save(tmp_path / "set.safetensors")
    assert DistilledSet.load(tmp_path / "set.safetensors").digest == SETS["logits"].digest
    assert [path.name for path in tmp_path.iterdir()] == ["set.safetensors"]


def test_the_header_alone_says_what_a_set_is(file: Path) -> None:
    header = read_set_header(file)
    assert header.digest == SETS["logits"].digest
    assert header.images == 4
    assert header.ipc == 2
    assert header.metadata == SETS["logits"].metadata


def test_a_place_that_cannot_be_written_is_named_and_left_clean(tmp_path: Path, refused) -> None:
    (tmp_path / "plain").write_text("a file")
    with refused(WriteError, tmp_path / "plain", "cannot be written: file exists; a file has the place of a folder"):
        SETS["uint8"].save(tmp_path / "plain" / "set.safetensors")
    (tmp_path / "set.safetensors").mkdir()
    with refused(WriteError, tmp_path / "set.safetensors", "cannot be written"):
        SETS["uint8"].save(tmp_path / "set.safetensors")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["plain", "set.safetensors"]


def test_an_absent_file_or_a_folder_is_refused(tmp_path: Path, refused) -> None:
    for path in (tmp_path / "absent.safetensors", tmp_path):
        with refused(DataError, path, "no such file"):
            DistilledSet.load(path)


@pytest.mark.parametrize("content", [b"", b"images", b"\0" * 64, b"PK\x03\x04" * 9, struct.pack("<Q", 2**60) + b"{}"])
def test_what_is_not_safetensors_is_refused(file: Path, content: bytes, refused) -> None:
    file.write_bytes(content)
    for read in (DistilledSet.load, read_set_header):
        with refused(DataError, file, "truncated"):
            read(file)


def test_a_pickle_is_refused_and_not_run(tmp_path: Path, refused) -> None:
    class Trap:
        def __reduce__(self):
            return (pytest.fail, ("the pickle was run",))

    file = tmp_path / "set.pt"
    file.write_bytes(pickle.dumps(Trap()))
    with refused(DataError, file, "not a safetensors file"):
        DistilledSet.load(file)
    torch.save({"images": PIXELS, "labels": LABELS}, file)
    with refused(DataError, file, "not a safetensors file"):
        DistilledSet.load(file)


def test_a_file_cut_short_anywhere_is_refused(file: Path, refused) -> None:
    whole = file.read_bytes()
    for length in range(len(whole)):
        file.write_bytes(whole[:length])
        with refused(DataError, file):
            DistilledSet.load(file)


def test_a_file_above_the_limit_is_refused(file: Path, monkeypatch: pytest.MonkeyPatch, refused) -> None:
    monkeypatch.setattr("harness.distilled.set.MAX_BYTES", file.stat().st_size)
    DistilledSet.load(file)
    monkeypatch.setattr("harness.distilled.set.MAX_BYTES", file.stat().st_size - 1)
    with refused(DataError, file, "larger than"):
        DistilledSet.load(file)


@pytest.mark.parametrize("metadata", [None, {"format": "pt"}, {"format": "giftbench.teacher/1"}, {"format": FORMAT[:-1] + "2"}])
def test_safetensors_of_another_format_is_refused_by_its_format(tmp_path: Path, metadata: dict | None, refused) -> None:
    file = tmp_path / "other.safetensors"
    save_file({"images": PIXELS, "labels": LABELS}, str(file), metadata=metadata)
    with refused(DataError, file, "not a distilled set", FORMAT):
        DistilledSet.load(file)
    with refused(DataError, file, "not a distilled set"):
        read_set_header(file)


@pytest.mark.parametrize(
    "edit",
    [
        {"images": PIXELS.flip(0)},
        {"labels": LABELS.flip(0)},
        {"soft_labels": LOGITS + 1e-3},
        {"soft_labels": None},
        {"description": {"factor": 2}},
        {"description": {"classes": 2, "soft_kind": "logits", "normalised": True}, "images": PIXELS / 255},
    ],
)
def test_edited_content_is_refused_by_its_digest(file: Path, edit: dict[str, Any], refused) -> None:
    rewrite(file, **edit)
    with refused(DataError, file, "does not have the digest it states"):
        DistilledSet.load(file)


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        ({"images": None}, "no images"),
        ({"labels": None}, "no labels"),
        ({"labels": LABELS.float()}, "integers"),
        ({"labels": LABELS + 5}, "0..1"),
        ({"labels": LABELS[:3]}, "4 images and 3 hard labels"),
        ({"images": PIXELS.int()}, "uint8 or float"),
        ({"images": PIXELS.float().to(torch.float8_e4m3fn)}, "uint8 or float"),
        ({"description": {"soft_kind": "probabilities"}}, "sum to 1"),
        ({"description": {"factor": 3}}, "factor"),
        ({"description": {"factor": "2"}}, "factor"),
        ({"description": {"classes": "2"}}, "classes"),
        ({"description": {"classes": 3}}, "2 columns for 3 classes"),
        ({"description": {"colour": "red"}}, "colour"),
        ({"description": {"images": 1}}, "images"),
        ({"description": {"provenance": [1]}}, "provenance"),
        ({"description": {"provenance": ["abc"]}}, "provenance"),
    ],
)
def test_content_that_does_not_fit_is_refused_by_file_and_reason(file: Path, edit: dict[str, Any], words: str, refused) -> None:
    rewrite(file, **edit)
    with refused(DataError, file, words):
        DistilledSet.load(file)


@pytest.mark.parametrize("described", ["", "{", "[]", "3", '"x"', "{}", "null", "[" * 100_000, "1" * 5000, '{"provenance": 3}'])
def test_a_description_that_is_none_is_refused(file: Path, described: str, refused) -> None:
    header, tensors = parts(file)
    file.unlink()
    save_file(tensors, str(file), metadata=header | {"set": described})
    for read in (DistilledSet.load, read_set_header):
        with refused(DataError, file, "not a distilled set"):
            read(file)


@pytest.mark.parametrize("missing", ["format", "digest", "set"])
def test_a_header_without_a_key_is_refused(file: Path, missing: str, refused) -> None:
    header, tensors = parts(file)
    del header[missing]
    file.unlink()
    save_file(tensors, str(file), metadata=header)
    for read in (DistilledSet.load, read_set_header):
        with refused(DataError, file):
            read(file)


@settings(max_examples=400, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    kind=some.sampled_from(sorted(SETS)), changes=some.lists(some.tuples(some.floats(0, 1), some.integers(1, 255)), max_size=3)
)
def test_changed_bytes_give_a_clean_refusal_or_the_same_set(tmp_path: Path, kind: str, changes: list[tuple[float, int]]) -> None:
    file = tmp_path / "changed.safetensors"
    content = bytearray(SETS[kind].save(tmp_path / f"{kind}.safetensors").read_bytes())
    for place, mask in changes:
        content[int(place * (len(content) - 1))] ^= mask
    file.unlink(missing_ok=True)
    file.write_bytes(content)
    for read in (DistilledSet.load, read_set_header):
        try:
            found = read(file)
        except DataError as error:
            assert str(error).startswith(f"{file}: ")
            assert "\n" not in str(error)
        else:
            assert found.digest == SETS[kind].digest or read is read_set_header


@pytest.mark.parametrize("classes", [0, -1, True, 1.0, "2"])
def test_a_header_that_states_no_count_of_classes_is_refused(tmp_path: Path, classes: object, refused) -> None:
    described = json.dumps({"classes": classes, "provenance": {}})
    labels = {"labels": torch.zeros(4, dtype=torch.int64), "images": torch.zeros(4, 1, 2, 2)}
    save_file(labels, tmp_path / "x.safetensors", metadata={"format": FORMAT, "digest": "d", "set": described})
    with refused(DataError, tmp_path / "x.safetensors", "not a distilled set, or truncated: "):
        read_set_header(tmp_path / "x.safetensors")
