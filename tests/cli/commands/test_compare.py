"""`giftbench compare`: reported and measured numbers side by side."""

from __future__ import annotations

from pathlib import Path

from tests.conftest import Giftbench

NUMBERS = """\
table,dataset,method,distilled_on,ipc,network,optimizer,loss,refine,native,accuracy,std
5,digits,RDED,convnet,1,convnet,adamw,kl,0,1,47.5,0.3
"""


def test_published_numbers_are_shown_and_written_beside_the_board(giftbench: Giftbench, board: Path) -> None:
    numbers = board.parent / "numbers.csv"
    numbers.write_text(NUMBERS)
    printed = giftbench("compare", board, "--reported", numbers).out.splitlines()
    assert any("47.5" in line for line in printed)
    assert [Path(line).name for line in printed[-2:]] == ["comparison.md", "comparison.csv"]
    assert "47.5" in (board.parent / "comparison.md").read_text()


def test_a_board_without_numbers_is_one_line(giftbench: Giftbench, board: Path) -> None:
    said = giftbench("compare", board, status=2).err
    assert "reported" in said
    assert said.count("\n") == 1
