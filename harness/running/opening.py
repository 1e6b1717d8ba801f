"""A board opened: read, its plugins loaded."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from harness.boards.board import Board, board_path, load_board
from harness.core import plugins
from harness.core.errors import BoardError, PluginError

if TYPE_CHECKING:
    pass


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
