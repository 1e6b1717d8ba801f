"""A board opened: read, its plugins loaded as far as they may run, what it says of its scenarios checked."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from harness.boards.board import Board, board_path, load_board
from harness.core import plugins
from harness.core.errors import BoardError, PluginError, UnknownName, at
from harness.running import permission
from harness.running.scenario import named

log = logging.getLogger("giftbench")


def open_board(
    path: str | Path, extra_plugins: Iterable[str] = (), allow_plugins: bool = False
) -> tuple[Path, Board, tuple[str, ...]]:
    """Read a board, load its plugins and the command line's, and return its file, itself and the plugin files.

    Args:
        extra_plugins: files that the command line names: they may run from now on.
        allow_plugins: whether the board's own may, too; those in or below the working folder may.
    Raises: BoardError for a plugin that is not there, does not load, or was not allowed to run (`harness.running.permission`).
    """
    file = board_path(path)
    board = load_board(file)
    files = given(extra_plugins)
    for i, place in _places(file, board):
        if not place.is_file():
            raise BoardError(f"{file}: plugins[{i}]: no file {place}")
        if allow_plugins or permission.is_at_work(place):
            permission.allow(place)
        elif str(place) not in files and not permission.allowed(place):
            raise BoardError(f"{file}: plugins[{i}]: {permission.refusal(place)}")
        files.append(str(place))
    return file, board, _load(files)


def read_board(
    path: str | Path, extra_plugins: Iterable[str] = (), allow_plugins: bool = False
) -> tuple[Path, Board, tuple[str, ...]]:
    """As `open_board`, for those who only look at records: what may not run, or is not there, is left out.

    Returns: the board's file, itself, and a line for each plugin that was left out.
    """
    file = board_path(path)
    board = load_board(file)
    files, lines = given(extra_plugins), []
    for i, place in _places(file, board):
        if not place.is_file():
            lines.append(f"{file}: plugins[{i}]: no file {place}")
            continue
        if allow_plugins:
            permission.allow(place)
        elif str(place) not in files and not permission.allowed(place):
            lines.append(f"{file}: plugins[{i}]: {permission.refusal(place)}")
            continue
        files.append(str(place))
    _load(files)
    return file, board, tuple(lines)


def given(files: Iterable[str]) -> list[str]:
    """Return the paths of plugin files that the command line names, in full; they may run from now on."""
    places = [Path(file).expanduser().resolve() for file in files]
    for place in places:
        if place.is_file():
            permission.allow(place)
    return [str(place) for place in places]


def say(lines: Iterable[str]) -> None:
    """Warn of each plugin that was left out, where tables do without it."""
    for line in lines:
        log.warning("%s; without it its scenarios have the default layout", line)


def _places(file: Path, board: Board) -> Iterator[tuple[int, Path]]:
    """Yield number and place of each plugin file that a board names."""
    for i, plugin in enumerate(board.plugins):
        yield i, (file.parent / plugin).expanduser().resolve()


def _load(files: Sequence[str]) -> tuple[str, ...]:
    try:
        plugins.load_files(files)
    except PluginError as error:
        raise BoardError(f"{error}") from error.__cause__
    return tuple(dict.fromkeys(files))


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
