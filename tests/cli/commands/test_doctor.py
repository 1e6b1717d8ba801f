"""`giftbench doctor`: what is at hand, and what a board lacks."""

from __future__ import annotations

from pathlib import Path

from tests.conftest import Giftbench


def test_a_board_on_digits_lacks_nothing(giftbench: Giftbench, board: Path) -> None:
    printed = giftbench("doctor", board).out
    assert "digits" in printed
    assert "Tiny" in printed or str(board.parent.name) in printed
