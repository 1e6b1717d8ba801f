"""Sets since 2024, written as their authors write them: imported, inspected, trained on, in a table; damaged, refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from harness import DistilledSet
from harness.boards.records import RecordStore
from harness.core.errors import DataError
from harness.core.spec import Spec
from harness.distilled.order import Order
from harness.planning.published_sets import read
from tests.conftest import Giftbench, board_text, toml
from tests.distilled.readers.layouts import LAYOUTS, labels_of
from tests.distilled.readers.published_files import DIGITS, SMALL, pixels
from tests.distilled.readers.test_damage import ANY, Damage
from tests.distilled.readers.test_hostile_files import png_bomb, snapshot

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


# -- damaged ---------------------------------------------------------------------------------------------------------------

#: What is done to a file of images, of whatever format.
DAMAGES: dict[str, Damage] = ANY | {
    "a blank beginning": lambda file: file.write_bytes(bytes(64) + file.read_bytes()[64:]),
    "an image of another kind, too large": lambda file: file.write_bytes(png_bomb(60_000)),
    "a link that leads out": lambda file: linked(file),
}


def linked(file: Path) -> None:
    """Put a file outside of the set, and a link to it in its place."""
    root = next(folder for folder in file.parents if folder.name == "set").parent
    file.symlink_to(file.rename(root / "outside"))


#: What NCFM and D3HR have beside the set of two images a class.
OTHERS = {"data_2000.pt", "small_11ipc"}


def images_file(path: Path) -> Path:
    """Return a file of the images that are read, in the middle of them; other iterations and IPCs beside them are none."""
    kinds = (".png", ".jpg", ".parquet", ".pt", ".npz")
    files = (
        sorted(file for file in path.rglob("*") if file.suffix in kinds and not OTHERS & {*file.parts})
        if path.is_dir()
        else [path]
    )
    return files[len(files) // 2]


def imported(name: str, path: Path) -> DistilledSet:
    layout = LAYOUTS[name]
    options = dict(part.split("=") for part in layout.options.split(", ") if part)
    order = Order.of(classes_of(name, path)[1]) if layout.stated else None
    return read(Spec(name=layout.reader, options=options), path, SMALL, 2, lambda line: None, 1, order)


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_published_layout_that_is_damaged_in_ten_ways_is_refused_in_a_line(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    assert len(DAMAGES) >= 10
    for number, (what, damage) in enumerate(DAMAGES.items()):
        path = LAYOUTS[name].write(tmp_path / str(number) / "set", SMALL, 2)
        assert number or imported(name, path).ipc == 2
        if name == "NCFM":
            (path / "data_2000.pt").unlink()  # which would be read in its stead
        file = images_file(path)
        if what == "a link that leads out" and file == path:  # what the user names itself may be a link
            continue
        damage(file)
        before = snapshot(tmp_path / str(number))
        with pytest.raises(DataError) as caught:
            imported(name, path)
        message = str(caught.value)
        assert len(message) < 500 and message.isprintable() and message.startswith(str(tmp_path)), (what, message)
        assert snapshot(tmp_path / str(number)) == before
    assert [*(tmp_path / "here").iterdir()] == []
