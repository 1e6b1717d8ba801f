"""`giftbench boards`: all leaderboards of a folder and the lists of them."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from harness.leaderboard.page.boards import END, START
from tests.conftest import Giftbench
from tests.leaderboard.conftest import BOARD, Planter
from tests.leaderboard.looking import a_few

FIGURED = BOARD.replace('"planted"', '"cross-optimizer"')


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two boards with records, one without, and a folder that is none."""
    place = tmp_path / "boards"
    for name, changes in (("b", {"scenario": "loss-comparison"}), ("a", {"scenario": "cross-optimizer"})):
        planter = Planter()
        a_few(planter, **changes)
        planter.board(place / name, FIGURED.replace("Planted", f"Board {name}"))
    Planter().board(place / "none", FIGURED)
    (place / "other").mkdir()
    (place / "README.md").write_text(f"# Boards\n\n{START}\n{END}\n\nMore.\n")
    return place


def files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_all_that_was_generated_comes_back_to_the_byte(giftbench: Giftbench, folder: Path) -> None:
    own = files(folder)
    printed = giftbench("boards", folder).out.splitlines()
    before = files(folder)
    generated = {Path(line).resolve().relative_to(folder.resolve()).as_posix() for line in printed}
    assert generated == {name for name, content in before.items() if own.get(name) != content}
    assert {"README.md", "index.html", "a/index.html", "a/README.md", "b/table.csv"} <= generated
    assert any(name.startswith("b/figures/") for name in generated)
    for name in generated - {"README.md"}:
        (folder / name).unlink()
    shutil.rmtree(folder / "b" / "figures")
    (folder / "README.md").write_bytes(own["README.md"])
    giftbench("boards", folder)
    assert files(folder) == before


def test_a_board_alone_gives_what_it_gives_among_others(giftbench: Giftbench, folder: Path) -> None:
    giftbench("boards", folder)
    before = files(folder)
    giftbench("table", folder / "b")
    giftbench("table", folder / "a")
    assert files(folder) == before


def test_boards_with_records_are_listed_by_name_but_those_left_out(giftbench: Giftbench, folder: Path) -> None:
    giftbench("boards", folder)
    text = (folder / "README.md").read_text()
    assert [line.partition("](")[0] for line in text.splitlines() if line.startswith("- ")] == ["- [Board a", "- [Board b"]
    assert text.endswith(f"{END}\n\nMore.\n")
    giftbench("boards", folder, "--without", "a")
    assert "Board a" not in (folder / "README.md").read_text()


def test_a_folder_without_boards_is_an_error(giftbench: Giftbench, tmp_path: Path) -> None:
    assert "none of the folders in it" in giftbench("boards", tmp_path, status=2).err
    assert "no such folder" in giftbench("boards", tmp_path / "nowhere", status=2).err
