"""`giftbench rerun`: one record's trial, trained again the way that its record says."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli.options import AllowPluginsOption, BoardArgument, DataOption, FollowLinksOption, PluginOption

if TYPE_CHECKING:
    from harness.boards.records import RecordStore


def rerun(
    name: Annotated[str, typer.Argument(help="a record's id, or how it begins (giftbench show)", metavar="ID")],
    board: BoardArgument = Path(),
    save: Annotated[Path | None, typer.Option(help="where to keep the trained student, as safetensors", metavar="FILE")] = None,
    data_dir: DataOption = None,
    follow_links: FollowLinksOption = False,
    plugin: PluginOption = None,
    allow_plugins: AllowPluginsOption = False,
) -> None:
    """Train one record's trial again, alone or in the stack that it was made in, and say whether its number is the same.

    The record stays as it is. Exit status 1 where the number is another.
    """
    from harness.boards.records import RecordStore
    from harness.cli.commands.verify import compared
    from harness.core.errors import BoardError
    from harness.running import students
    from harness.running.opening import open_board
    from harness.running.reruns import keep, repeats

    file, _, _ = open_board(board, plugin or (), allow_plugins)
    store = RecordStore(file.parent / "records")
    record = store.get(_whole(name, store))
    if record is None:
        raise BoardError(f"{store.folder}: the record {name} cannot be read; giftbench verify {file.parent} says why")
    repeat = next(repeats([record], file, data_dir, keep=save is not None))
    print(f"{record.id}: {compared(repeat)}")
    if save is not None:
        if repeat.student is None:
            raise BoardError(f"record {record.id}: no student to save: {repeat.new.error or 'its scenario keeps none'}")
        print(f"{save}: the student, sha {students.save(repeat.student, repeat.new, save)}")
    kept = keep(file.parent, [repeat])
    if kept is not None:
        print(kept)
    if not repeat.same:
        raise typer.Exit(1)


def _whole(name: str, store: RecordStore) -> str:
    """Return the id that begins so. Raises UnknownName where none does, or several do."""
    from harness.core.errors import UnknownName, suggest

    ids = store.ids()
    fitting = sorted(each for each in ids if each.startswith(name)) if name else []
    if len(fitting) > 1 and name not in ids:
        raise UnknownName(
            f"{store.folder}: {len(fitting)} records begin with {name!r}: {', '.join(fitting[:4])}; give more of it"
        )
    if not fitting:
        raise UnknownName(f"{store.folder}: no record {name!r}; {suggest(name, ids)}")
    return name if name in ids else fitting[0]
