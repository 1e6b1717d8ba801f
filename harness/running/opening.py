"""A board opened: read, its plugins loaded, what it says of its scenarios checked."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from harness.boards.board import Board, board_path, load_board
from harness.core import plugins
from harness.core.errors import BoardError, PluginError, UnknownName, at
from harness.running.scenario import named


def open_board(path: str | Path, extra_plugins: Iterable[str] = ()) -> tuple[Path, Board, tuple[str, ...]]:
    """Read a board, load its plugins and the command line's, and return its file, itself and the plugin files."""
    file = board_path(path)
    board = load_board(file)
    files = [str(Path(p).expanduser().resolve()) for p in extra_plugins]
    for i, plugin in enumerate(board.plugins):
        place = (file.parent / plugin).expanduser().resolve()
        if not place.is_file():
            raise BoardError(f"{file}: plugins[{i}]: no file {place}")
        files.append(str(place))
    try:
        plugins.load_files(files)
    except PluginError as error:
        raise BoardError(f"{error}") from error.__cause__
    return file, board, tuple(dict.fromkeys(files))


def check_scenarios(board: Board, source: str, asked: Sequence[str] = ()) -> None:
    """Check name and options of every scenario on a board, those too that wait for request.

    Args:
        board: as its file has it, no override applied.
        source: the board's file.
        asked: the scenarios that the command line names, if any: of the others, those that are not to be had here are let pass.
    Raises: UnknownName, PluginError, BoardError or BadOption with the place in the file.
    """
    for k, part in enumerate(board.boards):
        whole = f"{source}: parts[{k}]" if board.parts else source
        for i, entry in enumerate(part.scenarios):
            place = f"{whole}: scenarios[{i}]"
            try:
                with at(f"{place}.name"):
                    scenario = named(entry.name)
            except (UnknownName, PluginError):
                if asked and entry.name not in asked:
                    continue
                raise
            scenario.Options.read(entry.name, entry.options, place)
