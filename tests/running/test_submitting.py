"""Records that others bring: what verifies lands, what does not is refused, and nothing is overwritten."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from harness.boards import faults, seals, submissions
from harness.core.errors import BoardError
from harness.running.options import Options
from harness.running.submitting import join, look, own_store
from tests.boards.test_submissions import TEXT
from tests.committed import copied, spoil
from tests.conftest import Refused

OPTIONS = Options(device="cpu")


@pytest.fixture
def board(tmp_path: Path) -> Path:
    """A committed board, sealed, of which a contributor has made three records anew."""
    folder = copied("rded-choices", tmp_path)
    seals.write(folder, seals.made(folder))
    return folder


@pytest.fixture
def mine(board: Path) -> Path:
    """Three records that the board lacks, as the documented steps have a contributor lay them down."""
    place = board / "submissions" / "ada"
    (place / "records").mkdir(parents=True)
    (place / submissions.FILE).write_text(TEXT)
    for path in sorted((board / "records").glob("*.json"))[:3]:
        path.rename(place / "records" / path.name)
    seals.write(board, seals.made(board))
    return place


def names(folder: Path) -> set[str]:
    return {path.stem for path in folder.glob("*.json")}


def test_a_submission_lands_and_keeps_who_brought_it(board: Path, mine: Path) -> None:
    before, brought_ids = seals.made(board), names(mine / "records")
    brought = look(mine, board, OPTIONS)
    assert brought.report.faults == ()
    assert ({record.id for record in brought.new}, brought.known, brought.conflicts) == (brought_ids, (), ())
    join(brought, board)
    seal = seals.read(board)
    assert seal is not None
    assert seal.keys() == before.keys() | brought_ids
    assert seal == seals.made(board)
    (joined,) = submissions.joined(board)
    assert (joined.submission.name, {*joined.ids}) == ("Ada", brought_ids)
    assert not (mine / "records").exists()


def test_the_same_folder_elsewhere_lands_as_well_and_stays_as_it_is(board: Path, mine: Path, tmp_path: Path) -> None:
    elsewhere = mine.rename(tmp_path / "ada")
    content = {path: path.read_bytes() for path in elsewhere.rglob("*") if path.is_file()}
    join(look(elsewhere, board, OPTIONS), board)
    assert {path: path.read_bytes() for path in elsewhere.rglob("*") if path.is_file()} == content
    assert len(names(board / "records")) == 72
    assert [joined.folder for joined in submissions.joined(board)] == ["ada"]
    again = look(elsewhere, board, OPTIONS)
    assert (len(again.new), len(again.known)) == (0, 3)
    (elsewhere / submissions.FILE).write_text(TEXT.replace("/ada", "/another"))
    with pytest.raises(BoardError, match=r"ada: is of https://example\.org/ada; give the folder .* another name"):
        look(elsewhere, board, OPTIONS)


def forge(content: dict[str, Any]) -> None:
    content["metrics"]["accuracy"] = 99.0


def test_one_forged_record_keeps_all_from_landing(board: Path, mine: Path, refused: Refused) -> None:
    path = sorted((mine / "records").glob("*.json"))[0]
    spoil(path, forge)
    before = {path: path.read_bytes() for path in board.rglob("*") if path.is_file()}
    brought = look(mine, board, OPTIONS)
    assert any("its history says" in str(fault) for fault in brought.report.faults)
    with refused(BoardError, mine, path.name, "metrics."):
        join(brought, board)
    assert {path: path.read_bytes() for path in board.rglob("*") if path.is_file()} == before


def test_records_that_conflict_are_shown_and_overwrite_nothing(board: Path, mine: Path) -> None:
    ids = sorted(names(mine / "records"))
    own = board / "records" / f"{ids[0]}.json"
    own.write_bytes((mine / "records" / own.name).read_bytes())
    spoil(mine / "records" / own.name, lambda content: content["environment"].update(device="CPU of Ada"))
    before = own.read_bytes()
    brought = look(mine, board, OPTIONS)
    assert [conflict.own.id for conflict in brought.conflicts] == ids[:1]
    join(brought, board)
    assert own.read_bytes() == before
    assert names(mine / "records") == {ids[0]}
    (joined,) = submissions.joined(board)
    assert ([*joined.ids], [conflict.own.id for conflict in joined.conflicts]) == (ids[1:], ids[:1])


def test_a_folder_of_nothing_is_a_line(board: Path, tmp_path: Path, refused: Refused) -> None:
    folder = tmp_path / "ada"
    folder.mkdir()
    with refused(BoardError, folder / submissions.FILE, "not there"):
        look(folder, board, OPTIONS)
    (folder / submissions.FILE).write_text(TEXT)
    with refused(BoardError, folder, "no records; they are files ID.json"):
        look(folder, board, OPTIONS)


def test_stacks_are_found_among_the_boards_and_the_brought_records(board: Path, mine: Path, tmp_path: Path) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    store = own_store(look(mine, board, OPTIONS), board, scratch)
    assert len(faults.read(store.folder).records) == 72


def test_links_to_other_files_are_not_taken(board: Path, mine: Path, refused: Refused) -> None:
    before = seals.made(board)
    for path in (mine / "records").glob("*.json"):
        path.unlink()
    (mine / "records").rmdir()
    (mine / "records").symlink_to(board / "records")
    with refused(BoardError, mine / "records", "no links"):
        look(mine, board, OPTIONS)
    (mine / "records").unlink()
    (mine / "records").mkdir()
    (mine / "records" / "a.json").symlink_to(next((board / "records").glob("*.json")))
    with refused(BoardError, mine / "records" / "a.json", "no links"):
        look(mine, board, OPTIONS)
    (board / submissions.FILE).write_text(TEXT)
    with refused(BoardError, board / "records", "not the board's"):
        look(board, board, OPTIONS)
    assert seals.made(board) == before
