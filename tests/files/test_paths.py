"""Names in files from elsewhere stay in their folder; sizes are known before memory is taken."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from harness.core.errors import DataError
from harness.files import paths


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Return a folder with a file of each of two endings, a folder, and a hidden file."""
    root = tmp_path.resolve() / "root"
    (root / "inner").mkdir(parents=True)
    for name in ("b.PNG", "a.txt", ".hidden"):
        (root / name).write_bytes(b"xyz")
    return root


def test_a_line_is_one_line_that_can_be_printed_and_is_cut() -> None:
    assert paths.line("a\n  b\tc") == "a b c"
    assert paths.line("red\x1b[31m\ud800") == "red?[31m?"
    assert paths.line("x" * 1000) == "x" * 300


def test_a_folder_is_resolved_and_what_is_none_is_refused(root: Path, refused) -> None:
    assert paths.folder(root / "inner" / "..") == root
    with refused(DataError, root / "absent", "no such folder"):
        paths.folder(root / "absent")
    with refused(DataError, root / "a.txt", "expected a folder"):
        paths.folder(root / "a.txt")


@pytest.mark.parametrize("name", ["", "/etc/passwd", "\\share", "C:\\x", "a\0b"])
def test_a_name_that_is_no_relative_path_is_refused(root: Path, name: str, refused) -> None:
    with refused(DataError, root, "is no relative path"):
        paths.inside(root, name)


def test_a_name_stays_inside_its_folder_links_included(root: Path, refused) -> None:
    assert paths.inside(root, "inner/../a.txt") == root / "a.txt"
    (root / "link").symlink_to(root.parent)
    for name in ("../a.txt", "inner/../../a.txt", "link"):
        with refused(DataError, root, repr(name), "leaves the folder"):
            paths.inside(root, name)


def test_entries_are_sorted_and_hidden_ones_passed_over(root: Path) -> None:
    assert [entry.name for entry in paths.entries(root)] == ["a.txt", "b.PNG", "inner"]
    assert paths.entries(root, root / "inner") == []
    assert paths.folders(root) == [root / "inner"]
    assert paths.files(root) == [root / "a.txt", root / "b.PNG"]
    assert paths.files(root, endings={".png"}) == [root / "b.PNG"]


def test_what_no_folder_should_hold_is_refused(root: Path, monkeypatch: pytest.MonkeyPatch, refused) -> None:
    with refused(DataError, root / "absent", "cannot be listed"):
        paths.entries(root, root / "absent")
    monkeypatch.setattr(paths, "MAX_ENTRIES", 3)
    assert len(paths.entries(root)) == 3
    (root / "more").touch()
    with refused(DataError, root, "more than 3 entries"):
        paths.entries(root)
    (root / "more").unlink()
    (root / "a\nb").touch()
    with refused(DataError, root, "characters that no name should have"):
        paths.entries(root)
    (root / "a\nb").unlink()
    (root / "a.txt").unlink()
    (root / "out").symlink_to(root.parent)
    with refused(DataError, root / "out", "a symbolic link that leaves"):
        paths.entries(root)


def test_a_size_is_that_of_a_regular_file_within_the_limit(root: Path, refused) -> None:
    assert paths.size(root / "a.txt", 3) == 3
    with refused(DataError, root / "a.txt", "above the limit"):
        paths.size(root / "a.txt", 2)
    with refused(DataError, root / "inner", "not a regular file"):
        paths.size(root / "inner", 1 << 20)
    with refused(DataError, root / "absent", "no such file"):
        paths.size(root / "absent", 3)
    (root / "a.txt").write_bytes(b"")
    with refused(DataError, root / "a.txt", "empty"):
        paths.size(root / "a.txt", 3)
    os.mkfifo(root / "pipe")
    with refused(DataError, root / "pipe", "not a regular file"):
        paths.size(root / "pipe", 3)
