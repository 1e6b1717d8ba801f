"""`giftbench verify`: a board's records held against their ids, the board, what they rest on, and a second training."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli.options import AllowPluginsOption, BoardArgument, DataOption, FollowLinksOption, PluginOption

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from harness.boards.records import Record, RecordStore
    from harness.running.reruns import Repeat
    from harness.running.verification import Report


def verify(
    board: BoardArgument,
    rerun: Annotated[
        int, typer.Option("--rerun", help="train so many records, drawn at random, again and compare", min=0, metavar="N")
    ] = 0,
    draw: Annotated[int, typer.Option("--draw", help="the number that the drawing starts from", min=0, metavar="SEED")] = 0,
    seal: Annotated[
        bool, typer.Option("--seal", help="write records.sha256 anew, once all else is right: what is meant is what is here")
    ] = False,
    data_dir: DataOption = None,
    follow_links: FollowLinksOption = False,
    plugin: PluginOption = None,
    allow_plugins: AllowPluginsOption = False,
) -> None:
    """Say what is wrong with a board's records, a line each: file, what, what would be right; then exit status is 1.

    Checked are their form, ids, plan, labels, sets, teachers, plugins, numbers that cannot be, copies, and records.sha256.
    --rerun trains some again, the way they say that they were made, and keeps in verified.json which came out the same.
    """
    from harness.boards.board import board_path
    from harness.running.options import Options
    from harness.running.verification import seal as sealed
    from harness.running.verification import verify as verified

    options = Options(device="cpu", data_dir=data_dir, plugins=tuple(plugin or ()), allow_plugins=allow_plugins)
    place: Path | None = None
    if seal:
        report, place = sealed(board, options)
    else:
        report = verified(board, options)
    _print(report)
    if place is not None:
        print(f"{place}: the SHA-256 of {report.sealed} records")
    if report.faults:
        raise typer.Exit(1)
    if rerun:
        from harness.running.reruns import drawn

        sample = drawn(report.records, rerun, draw)
        print(f"drawn with --draw {draw}: {len(sample)} of {len(report.records)} records are trained again")
        file = board_path(board)
        done = again(sample, file, options.data_dir)
        from harness.running.reruns import keep

        kept = keep(file.parent, done)
        if kept is not None:
            print(kept)
        if not all(repeat.same for repeat in done):
            raise typer.Exit(1)


def again(records: Sequence[Record], file: Path, data_dir: Path | None, store: RecordStore | None = None) -> list[Repeat]:
    """Train records again, and print a line on each when it ends; arguments as of `repeats`."""
    from harness.boards.trial import describe
    from harness.running.reruns import repeats

    done = []
    for repeat in repeats(records, file, data_dir, store=store):
        done.append(repeat)
        record = repeat.record
        print(f"{record.id}: {compared(repeat)} [{describe(record.trial)}]", flush=True)
    same = sum(repeat.same for repeat in done)
    print(f"{same} of {len(done)} came out the same")
    return done


def compared(repeat: Repeat) -> str:
    """Return what came of training a record again, in words."""
    before, now = repeat.record, repeat.new
    said = [each.error or f"{each.metrics.get('accuracy', float('nan')):.2f} %" for each in (before, now)]
    verdict = "same" if repeat.same else "DIFFERS"
    reason = f"; not equal to the digit: {repeat.why}" if repeat.why and not repeat.same else ""
    return f"{verdict}: {said[0]} in the record, {said[1]} again, {repeat.rule}{reason}"


def _print(report: Report) -> None:
    for line in _lines(report):
        print(line)


def _lines(report: Report) -> Iterable[str]:
    yield from map(str, report.faults)
    yield from (f"note: {note}" for note in report.notes)
    count = len(report.records)
    sealed = "" if report.sealed is None else f", {report.sealed} sealed"
    wrong = f"{len(report.faults)} fault{'s' * (len(report.faults) != 1)}"
    yield f"{count} records: {wrong}{sealed}; {report.verified} verified, {count - report.verified} claimed"
