"""The section of a leaderboard that says who brought records to it."""

from __future__ import annotations

from harness.boards.submissions import Conflict, Joined, Submission
from harness.leaderboard.joined import section
from tests.boards.test_records import METRICS, record


def test_who_brought_what_and_how_far_it_is_to_be_believed() -> None:
    submission = Submission(name="Ada <b>", contact="https://example.org", machine="EPYC", date="2026-01-31")
    conflict = Conflict(record(0), record(0, metrics=METRICS | {"accuracy": 55.0}))
    joined = Joined("ada", submission, ("a", "b", "c"), (conflict,))
    said = section([joined], {"b": "verified", "d": "verified"})
    assert said.startswith("## Submissions\n\n- Ada ")
    assert r"Ada \<b>" in said
    assert "EPYC, 2026-01-31: 3 records, 1 verified. Not taken" in said
    assert f"`{conflict.own.id}: 50.00 % here, 55.00 % there`" in said
    assert section([], {}) == ""
