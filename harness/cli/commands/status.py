"""`giftbench status`: what of a board is done, running and where, left, failed."""

from __future__ import annotations

from collections import defaultdict

from harness.cli.options import BoardArgument


def status(
    board: BoardArgument,
) -> None:
    """Say how many of a board's trials are done, running and where, left and failed; nothing is trained."""
    from harness.boards.trial import describe
    from harness.files.claims import Holder
    from harness.running.status import status as standing

    now = standing(board)
    counts = f"{now.done} done, {len(now.running)} running, "
    if now.left is None:
        print(f"{counts}{len(now.failed)} failed; how many are left is known once giftbench run has planned the board")
    else:
        print(f"{now.planned} trials: {counts}{now.left} left, {len(now.failed)} failed")
    by_process: dict[tuple[str, int], list[Holder]] = defaultdict(list)
    for holder in now.running.values():
        by_process[holder.host, holder.pid].append(holder)
    for holders in by_process.values():
        print(f"running: {len(holders)} by {holders[0]}, since {min(holder.since for holder in holders)}")
    if now.planning is not None:
        print(f"planning: {now.planning}, since {now.planning.since}")
    for record in now.failed:
        print(f"failed: {describe(record.trial)}: {record.error}")
