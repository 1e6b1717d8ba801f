"""Sets since 2024, written as their authors write them: imported, inspected, trained on, in a table; damaged, refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from harness import DistilledSet
from harness.boards.records import RecordStore
from tests.conftest import Giftbench, board_text, toml
from tests.distilled.readers.layouts import LAYOUTS, labels_of
from tests.distilled.readers.published_files import DIGITS, pixels

pytestmark = pytest.mark.usefixtures("cache")


def classes_of(name: str, path: Path) -> list[str]:
    return ["--classes", str(path.parent / f"{path.name}.txt")] if LAYOUTS[name].stated else []


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_published_layout_is_imported_and_inspected(tmp_path: Path, name: str, giftbench: Giftbench) -> None:
    layout = LAYOUTS[name]
    path = layout.write(tmp_path / "published" / "set", DIGITS, 2)
    file = tmp_path / "set.safetensors"
    words = ["import", layout.format, path, "--dataset", "digits", "--ipc", 2, *classes_of(name, path)]
    printed = giftbench(*words, "-o", file).out
    made = DistilledSet.load(file)
    assert f"digest {made.digest}" in printed and made.ipc == 2 and made.classes == 10
    decoded = 4 if name == "NCFM" else 1
    assert torch.equal(made.labels, labels_of(DIGITS, 2 * decoded))
    images = made.images.float() / 255 if made.images.dtype == torch.uint8 else made.images
    near = pixels(DIGITS, 2 * decoded).float() / 255
    images = images * DIGITS.std[0] + DIGITS.mean[0] if made.normalised else images
    away = float((images - near).abs().mean())
    assert away < {"CaO2": 0.08, "NCFM": 0.15, "CDA.zip": 0.02}.get(name, 0.003), away  # resized, decoded, JPEG
    facts = giftbench("inspect", file).out
    assert made.digest in facts and "of 1x16x16" in facts
    assert ("as they are stored by its authors" in facts) == (name != "DataDAM")


def test_every_layout_stands_in_the_table_of_a_board_with_the_bytes_of_its_files(tmp_path: Path, giftbench: Giftbench) -> None:
    folder = tmp_path / "board"
    folder.mkdir()
    sets, sizes = "", {}
    for ipc, (name, layout) in enumerate(LAYOUTS.items(), 1):  # the same images under two names would be the same trial
        path = layout.write(tmp_path / name / "set", DIGITS, ipc)
        options = dict(part.split("=") for part in layout.options.split(", ") if part)
        options |= {"title": name, "format": layout.reader, "path": str(path), "ipc": ipc}
        options |= {"classes": str(path.parent / f"{path.name}.txt")} if layout.stated else {}
        options |= {"native": "ce"} if name == "CDA.zip" else {}
        options.pop("method", None)
        sets += "\n[[sets]]\n" + "".join(f"{key} = {toml(value)}\n" for key, value in options.items())
        sizes[name] = sum(file.stat().st_size for file in path.rglob("*.png"))
    board = {"losses": ["native"], "sets": None, "scenarios": [{"name": "cross-optimizer", "optimizers": ["adamw"]}]}
    (folder / "board.toml").write_text(board_text(**board) + sets)
    giftbench("run", folder, "--jobs", 1)
    records = {record.trial.labels.method: record for record in RecordStore(folder / "records")}
    assert {*records} == {*LAYOUTS}
    assert all(record.status == "done" for record in records.values()), [record.error for record in records.values()]
    for name, record in records.items():
        assert record.trial.labels.ipc == list(LAYOUTS).index(name) + 1
        assert record.provenance.image_bytes or name == "DataDAM"
    assert records["D4M"].provenance.image_bytes == sizes["D4M"]
    assert records["NCFM"].provenance.image_bytes == 9 * 10 * 256 * 4 and records["NCFM"].trial.labels.images == 4 * 90
    table = (folder / "README.md").read_text()
    assert [name for name in LAYOUTS if f"| {name} " not in table] == []
