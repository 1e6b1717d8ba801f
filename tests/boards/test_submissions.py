"""Who brought records to a board, and what they brought."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.boards import seals, submissions
from harness.boards.records import RecordStore
from harness.boards.submissions import Submission
from harness.core.errors import BoardError
from tests.boards.test_records import METRICS, record
from tests.conftest import Refused

TEXT = 'name = "Ada"\ncontact = "https://example.org/ada"\nmachine = "EPYC 9354"\ndate = 2026-01-31\n'


def test_who_it_is_of_is_read_with_a_date_as_toml_has_it(tmp_path: Path) -> None:
    (tmp_path / submissions.FILE).write_text(TEXT)
    expected = Submission(name="Ada", contact="https://example.org/ada", machine="EPYC 9354", date="2026-01-31")
    assert submissions.read(tmp_path) == expected
    (tmp_path / submissions.FILE).write_text(TEXT.replace("2026-01-31", '"2026-01-31"'))
    assert submissions.read(tmp_path) == expected
    (tmp_path / submissions.FILE).write_bytes(b"\xef\xbb\xbf" + TEXT.encode())
    assert submissions.read(tmp_path) == expected


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, "not there; expected name ="),
        ("name = ", "expected name ="),
        ('name = "Ada"', "contact: Field required"),
        (TEXT + 'licence = "MIT"', "licence: Extra inputs are not permitted"),
        (TEXT.replace("Ada", "A\\nda"), "name: String should match"),
        (TEXT.replace("2026-01-31", '"yesterday"'), "date: String should match"),
    ],
)
def test_what_does_not_say_who_it_is_of_is_a_line(tmp_path: Path, text: str | None, words: str, refused: Refused) -> None:
    if text is not None:
        (tmp_path / submissions.FILE).write_text(text)
    with refused(BoardError, tmp_path / submissions.FILE, words):
        submissions.read(tmp_path)


def test_what_joined_and_what_conflicts_is_told_by_folder(tmp_path: Path) -> None:
    own, place = tmp_path / "records", tmp_path / "submissions" / "ada"
    for seed in range(2):
        RecordStore(own).write(record(seed))
    same, other = record(0), record(1, metrics=METRICS | {"accuracy": 55.0})
    RecordStore(place / "records").write(other)
    (place / "records" / f"{same.id}.json").write_bytes((own / f"{same.id}.json").read_bytes())
    (place / submissions.FILE).write_text(TEXT)
    assert [*submissions.joined(tmp_path)] == []  # nobody has looked at it
    seals.write(place, {"a": "0" * 64})
    (joined,) = submissions.joined(tmp_path)
    assert (joined.folder, joined.submission.name, joined.ids) == ("ada", "Ada", ("a",))
    assert [str(conflict) for conflict in joined.conflicts] == [f"{other.id}: 50.00 % here, 55.00 % there"]
