"""From what authors publish to a table: every format is imported, inspected, trained on, and stands in a leaderboard."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness import DistilledSet
from harness.boards.records import RecordStore
from tests.conftest import Giftbench, board_text
from tests.distilled.readers.published_files import DIGITS, FORMATS, LABELS, write

BOARD = board_text(losses=["native"], sets=None, scenarios=[{"name": "cross-optimizer", "optimizers": ["adamw"]}])


def format_of(form: str, path: Path) -> str:
    return f"{form}(images={path.parent / 'images'})" if form in LABELS else form


pytestmark = pytest.mark.usefixtures("cache")


@pytest.mark.parametrize("form", FORMATS)
def test_a_set_is_imported_and_inspected(tmp_path: Path, form: str, giftbench: Giftbench) -> None:
    path = write(form, tmp_path / form, DIGITS, 2)
    file = tmp_path / "set.safetensors"
    printed = giftbench("import", format_of(form, path), path, "--dataset", "digits", "--ipc", 2, "-o", file).out
    made = DistilledSet.load(file)
    assert f"digest {made.digest}" in printed
    assert "a class" in printed
    assert made.dataset == "digits" and len(made) == 20
    assert made.method == ("rded" if form == "gift" else form)  # GIFT's folder names the method
    facts = giftbench("inspect", file).out
    assert made.digest in facts and "20 of 1x16x16" in facts
    assert ("ZCA-whitened" in facts) == (made.whitening == "zca")
    assert ("augmentations" in facts) == (form in LABELS)
    assert (tmp_path / "set.png").stat().st_size > 100


def test_every_format_stands_in_the_table_of_a_board(tmp_path: Path, giftbench: Giftbench) -> None:
    folder = tmp_path / "board"
    folder.mkdir()
    sets = ""
    for form in FORMATS:
        ipc = {"rded": 1, "cda": 3}.get(form, 2)  # the same images under two names would be the same trial
        path = write(form, tmp_path / form, DIGITS, ipc)
        images = f"images = '{path.parent / 'images'}'\n" if form in LABELS else ""
        sets += f"\n[[sets]]\nformat = '{form}'\ntitle = '{form.upper()}'\npath = '{path}'\nipc = {ipc}\n{images}"
    (folder / "board.toml").write_text(BOARD + sets)
    giftbench("run", folder, "--jobs", 1)
    records = {record.trial.labels.method: record for record in RecordStore(folder / "records")}
    assert {*records} == {form.upper() for form in FORMATS}
    assert all(record.status == "done" for record in records.values()), [record.error for record in records.values()]
    natives = {form.lower(): record.trial.labels.loss for form, record in records.items()}
    assert natives["datm"] == "soft_ce" and natives["gvbsm"] == "mse_ce" and natives["rded"] == "kl" and natives["mtt"] == "ce"
    table = (folder / "README.md").read_text()
    assert [form for form in FORMATS if f"| {form.upper()} " not in table] == []
