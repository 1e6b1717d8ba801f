"""Publishing a set: a new folder, there whole or not at all, whose content was read back."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.core.errors import BadOption, DataError, WriteError
from harness.distilled import exporting, publishing
from harness.distilled.publishing import publish
from tests.distilled.test_exporting import a_set


def test_a_folder_has_card_metadata_and_files(tmp_path: Path) -> None:
    original = a_set("logits")
    written = publish(original, tmp_path / "out", "mit")
    assert [Path(path).relative_to(tmp_path / "out").as_posix() for path in written] == [
        "README.md",
        "croissant.json",
        "data/train-00000-of-00001.parquet",
    ]
    assert all(Path(path).is_file() for path in written)
    assert exporting.read(tmp_path / "out").digest == original.digest
    assert "airplane" in (tmp_path / "out" / "README.md").read_text()
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_an_empty_folder_is_taken_and_no_other(tmp_path: Path, refused) -> None:
    (tmp_path / "out").mkdir()
    publish(a_set(), tmp_path / "out", "mit")
    with refused(DataError, tmp_path / "out", "new folder"):
        publish(a_set(), tmp_path / "out", "mit")
    (tmp_path / "file").touch()
    with refused(DataError, tmp_path / "file"):
        publish(a_set(), tmp_path / "file", "mit")


@pytest.mark.parametrize("fault", ["write", "digest"])
def test_what_fails_leaves_nothing(fault: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> None:
        raise WriteError("the disk is full")

    if fault == "write":
        monkeypatch.setattr(publishing, "card", fails)
    else:
        monkeypatch.setattr(exporting, "read", lambda _: a_set("grey"))
    with pytest.raises((WriteError, DataError)):
        publish(a_set(), tmp_path / "out", "mit")
    assert not list(tmp_path.iterdir())


def test_a_wrong_licence_or_place_is_refused_before_anything_is_written(tmp_path: Path, refused) -> None:
    with refused(BadOption, "--licence"):
        publish(a_set(), tmp_path / "out", "")
    with refused(BadOption, "--push", "hub:USER/NAME"):
        publish(a_set(), tmp_path / "out", "mit", place="user/name")
    assert not list(tmp_path.iterdir())


def test_classes_of_a_folder_or_a_plugin_are_numbers(tmp_path: Path) -> None:
    publish(a_set("two channels"), tmp_path / "out", "mit")
    assert "class_label" not in (tmp_path / "out" / "README.md").read_text()
