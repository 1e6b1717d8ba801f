"""The section of a leaderboard that says who brought records to it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from harness.boards.submissions import Joined
from harness.leaderboard.text import code, escape


def section(submissions: Iterable[Joined], evidence: Mapping[str, str]) -> str:
    """Return the section, or nothing where nobody has brought any.

    Args:
        evidence: how far each record is to be believed, by id.
    """
    lines = [_line(each, evidence) for each in submissions]
    return "\n".join(["## Submissions", "", *lines]) if lines else ""


def _line(joined: Joined, evidence: Mapping[str, str]) -> str:
    who, count = joined.submission, len(joined.ids)
    verified = sum(evidence.get(name) == "verified" for name in joined.ids)
    words = (
        f"- {escape(who.name)} ({escape(who.contact)}), {escape(who.machine)}, {who.date}: {count} records, {verified} verified."
    )
    if not joined.conflicts:
        return words
    shown = "; ".join(code(str(conflict)) for conflict in joined.conflicts[:10])
    more = f"; and {len(joined.conflicts) - 10} more" if len(joined.conflicts) > 10 else ""
    return f"{words} Not taken, for the board has another record of the same trial: {shown}{more}."
