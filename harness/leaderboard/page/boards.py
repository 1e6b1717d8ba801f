"""The boards of a folder, listed: in its README.md between two markers, and as its index.html."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from harness.core.errors import BoardError
from harness.files.atomic import update
from harness.leaderboard.page.document import document, part
from harness.leaderboard.page.inline import html
from harness.leaderboard.text import escape

START, END = "<!-- boards -->", "<!-- /boards -->"
NEW = f"# Leaderboards\n\n{START}\n{END}\n"


@dataclass(frozen=True)
class Listed:
    """One board of a list.

    Attributes:
        folder: its name; the board's README.md and index.html lie there.
        title: plain.
        sentence: the board in one sentence, Markdown; may be empty.
        records, cells: how many there are.
    """

    folder: str
    title: str
    sentence: str
    records: int
    cells: int

    @property
    def size(self) -> str:
        """How large the board is, in words."""
        counts = ((self.records, "record"), (self.cells, "cell"))
        return ", ".join(f"{count} {word}{'s' * (count != 1)}" for count, word in counts)


def write_list(folder: Path, boards: Sequence[Listed]) -> list[Path]:
    """Write both lists into a folder, in the order given, and return their paths; a README.md is made where there is none.

    Raises: BoardError when there is a README.md with no place for the list.
    """
    readme = folder / "README.md"
    try:
        text = readme.read_bytes().decode("utf-8") if readme.is_file() else NEW
    except UnicodeDecodeError:
        raise BoardError(f"{readme}: not UTF-8 text, so no list of boards can be put into it") from None
    update(readme, listed_in(text, boards, readme))
    update(folder / "index.html", boards_page(boards))
    return [readme, folder / "index.html"]


def listed_in(text: str, boards: Sequence[Listed], readme: Path) -> str:
    """Return a README's text with the list between its markers, in the file's own line ends. Raises BoardError."""
    marked = re.compile(rf"(?<={re.escape(START)}).*?(?={re.escape(END)})", re.DOTALL)
    if len(marked.findall(text)) != 1:
        raise BoardError(f"{readme}: no place for the list of boards; put the lines {START} and {END} once where it shall stand")
    lines = "\n\n" + "\n".join(map(_line, boards)) + "\n\n"
    return marked.sub(lambda _: lines.replace("\n", "\r\n") if "\r\n" in text else lines, text)


def boards_page(boards: Sequence[Listed]) -> str:
    """Return the list as an HTML page that runs no script."""
    values = [
        {
            "title": board.title,
            "sentence": html(board.sentence),
            "size": board.size,
            "link": f"{quote(board.folder)}/index.html",
            "text": f"{quote(board.folder)}/README.md",
            "csv": f"{quote(board.folder)}/table.csv",
        }
        for board in boards
    ]
    return document("boards.html", scripts=[], styles=[part("page.css")], boards=values)


def _line(board: Listed) -> str:
    title = re.sub(r"[\[\]]", r"\\\g<0>", escape(board.title))
    place = quote(board.folder)
    sentence = f" {board.sentence}" if board.sentence else ""
    return f"- [{title}]({place}/README.md):{sentence} {board.size}; [page]({place}/index.html)."
