"""Lists of boards."""

from __future__ import annotations

import pytest

from harness.core.errors import BoardError
from harness.leaderboard.page.boards import END, START, Listed, boards_page, write_list
from tests.leaderboard.page.planted import HOSTILE, SHOWN
from tests.leaderboard.page.reading import read

BOARDS = [Listed("a", "Board [A]", "`gift` is best.", 1, 1), Listed("b c", "B", "", 600, 200)]
LINES = (
    "- [Board \\[A\\]](a/README.md): `gift` is best. 1 record, 1 cell; [page](a/index.html).\n"
    "- [B](b%20c/README.md): 600 records, 200 cells; [page](b%20c/index.html)."
)


def test_boards_are_listed_between_the_markers_and_the_rest_stays(tmp_path):
    readme = tmp_path / "README.md"
    readme.write_text(f"# Mine\n\n{START}\nold\n{END}\n\nmore\n")
    assert write_list(tmp_path, BOARDS) == [readme, tmp_path / "index.html"]
    assert readme.read_text() == f"# Mine\n\n{START}\n\n{LINES}\n\n{END}\n\nmore\n"
    before = readme.read_bytes()
    write_list(tmp_path, BOARDS)
    assert readme.read_bytes() == before


def test_line_ends_stay_what_they_are(tmp_path):
    readme = tmp_path / "README.md"
    readme.write_bytes(f"# Mine\r\n{START}\r\n{END}\r\n".encode())
    write_list(tmp_path, BOARDS)
    assert b"\n" not in readme.read_bytes().replace(b"\r\n", b"")


def test_a_readme_is_made_where_there_is_none(tmp_path):
    write_list(tmp_path, BOARDS)
    assert LINES in (tmp_path / "README.md").read_text()


@pytest.mark.parametrize("text", ["# Mine\n", f"{START}\n{END}\n{START}\n{END}\n", f"{END}\n{START}\n"])
def test_a_readme_without_one_place_for_the_list_is_refused_and_stays(tmp_path, refused, text):
    (tmp_path / "README.md").write_text(text)
    with refused(BoardError, "README.md", START, END):
        write_list(tmp_path, BOARDS)
    assert (tmp_path / "README.md").read_text() == text


def test_the_page_shows_the_same_and_runs_nothing():
    root = read(boards_page([*BOARDS, Listed("c", HOSTILE, "", 3, 1)]))
    assert [head.text for head in root.all("h2")] == ["Board [A]", "B", HOSTILE]
    assert " ".join(root.all("h2")[2].text.split()) == SHOWN
    assert [head.find("a").attributes["href"] for head in root.all("h2")] == ["a/index.html", "b%20c/index.html", "c/index.html"]
    assert [node.text for node in root.all("p", **{"class": "size"})][1].startswith("600 records, 200 cells")
    policy = root.find("meta", **{"http-equiv": "Content-Security-Policy"}).attributes["content"]
    assert "default-src 'none'; script-src 'none'; style-src 'sha256-" in policy
    assert root.all("script") == []
