"""`giftbench new`: a plugin and its test, written."""

from __future__ import annotations

from pathlib import Path

from tests.conftest import Giftbench


def test_files_and_the_next_commands_are_printed(giftbench: Giftbench, tmp_path: Path) -> None:
    printed = giftbench("new", "loss", "mine", "--folder", tmp_path).out.splitlines()
    assert all(Path(line).is_file() for line in printed[:2])
    assert printed[2] == "next:"
    assert printed[3].strip() == f"giftbench list losses --plugin {printed[0]}"
    assert printed[4].strip() == f"pytest {printed[1]}"
