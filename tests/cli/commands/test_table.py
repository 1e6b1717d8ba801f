"""`giftbench table`: a leaderboard from records; nothing is trained."""

from __future__ import annotations

from pathlib import Path

from tests.conftest import Giftbench


def test_files_are_written_without_training(giftbench: Giftbench, board: Path) -> None:
    printed = giftbench("table", board).out.splitlines()
    assert [Path(line).name for line in printed] == ["README.md", "table.csv", "table.tex", "timing.csv", "index.html"]
    assert not (board.parent / "records").exists()


def test_a_file_is_not_compared_where_there_are_no_records(giftbench: Giftbench, board: Path) -> None:
    page = board.parent / "page.md"
    page.write_text("# Page\n")
    assert giftbench("table", board, "--check", page).out.startswith(f"{page}: not compared")
