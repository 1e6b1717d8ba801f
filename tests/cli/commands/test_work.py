"""`giftbench work`: a share of a board, or what is free of it, and no leaderboard."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.boards.records import RecordStore
from harness.cli.commands.work import parsed
from harness.core.errors import BadOption
from harness.files.claims import Claims
from tests.conftest import Giftbench, Refused, board_text
from tests.large_boards import planned


@pytest.mark.parametrize(("words", "expected"), [("0/1", (0, 1)), ("31/32", (31, 32))])
def test_a_share_is_said_by_its_index_and_how_many_there_are(words: str, expected: tuple[int, int]) -> None:
    assert parsed(words) == expected


@pytest.mark.parametrize("words", ["1", "1/1", "-1/2", "a/2", "0/0", "1/2/3", "/", "0/" + "9" * 30, "½/2"])
def test_what_says_no_share_is_a_line(words: str, refused: Refused) -> None:
    with refused(BadOption, "--shard", "0/32 to 31/32"):
        parsed(words)


def test_shares_are_the_board_and_what_is_claimed_is_left_and_nothing_is_rendered(giftbench: Giftbench, tmp_path: Path) -> None:
    board = tmp_path / "board.toml"
    board.write_text(board_text(losses=["ce"], seeds=3, scenarios=[{"name": "cross-optimizer", "optimizers": ["sgd"]}]))
    words, store = (board, "--device", "cpu", "--jobs", 1, "--stack", 1), RecordStore(tmp_path / "records")
    ids = [trial.id for trial in planned(board)]
    giftbench("work", *words, "--shard", "1/2")
    (share,) = store.ids()
    with Claims(tmp_path / "claims") as claims:
        (other, left) = (name for name in ids if name != share)
        assert claims.take([other])
        giftbench("work", *words)
        assert store.ids() == {share, left}
    assert not (tmp_path / "README.md").exists()
    assert {path.name for path in (tmp_path / "claims").iterdir()} == {"planned.json"}
