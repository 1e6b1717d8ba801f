"""Names in files from elsewhere stay in their folder; sizes are known before memory is taken; stamps tell of changes."""

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


# -- stamps ----------------------------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "folder"
    for name in ("b", "a/z", "a/b/c", ".hidden"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)
    return folder


def test_a_folder_gives_every_file_in_and_below_it_by_name(folder: Path) -> None:
    assert [(name, size) for name, size, _ in paths.stamps(folder)] == [(".hidden", 7), ("a/b/c", 5), ("a/z", 3), ("b", 1)]
    assert {changed for _, _, changed in paths.stamps(folder)} == {
        (folder / name).stat().st_mtime_ns for name in ("b", "a/z", "a/b/c", ".hidden")
    }


def test_a_file_gives_itself_and_nothing_gives_nothing(folder: Path) -> None:
    assert paths.stamps(folder / "b") == [(".", 1, (folder / "b").stat().st_mtime_ns)]
    assert paths.stamps(folder / "absent") == []


def test_a_change_shows_by_size_or_by_time(folder: Path) -> None:
    before = paths.stamps(folder)
    os.utime(folder / "b", ns=(1, 1))
    touched = paths.stamps(folder)
    (folder / "a" / "z").write_text("longer")
    assert before != touched != paths.stamps(folder) != before


def test_links_are_followed_and_one_that_leads_in_a_circle_ends(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "file").write_text("1234")
    (folder / "link").symlink_to(tmp_path / "elsewhere")
    (folder / "file").symlink_to(tmp_path / "elsewhere" / "file")
    (folder / "broken").symlink_to(tmp_path / "nowhere")
    (folder / "a" / "up").symlink_to(folder)
    names = {name: size for name, size, _ in paths.stamps(folder)}
    assert names["link/file"] == names["file"] == 4
    assert "broken" not in names
    assert not any(name.count("up/") > 1 for name in names)
    assert paths.stamps(folder / "link") == paths.stamps(tmp_path / "elsewhere")


STRAYS = (
    "Thumbs.db",
    "desktop.ini",
    "Icon\r",
    "__MACOSX",
    ".DS_Store",
    "train.log",
    "events.out.tfevents.1",
    "wandb",
    "lost+found",
)


@pytest.mark.parametrize("name", STRAYS)
def test_strays_are_passed_over_by_all_that_lists_a_folder(tmp_path: Path, name: str) -> None:
    root = paths.folder(tmp_path)
    (root / "0").mkdir()
    for place in (root, root / "0"):
        (place / "a.png").write_bytes(b"x")
        (place / name).mkdir() if name.endswith(("X", "b", "d")) and name != "Thumbs.db" else (place / name).write_bytes(b"x")
    assert [entry.name for entry in paths.entries(root)] == ["0", "a.png"]
    assert [path.name for path in paths.folders(root)] == ["0"] and [path.name for path in paths.files(root)] == ["a.png"]
    listed, others = paths.below(root, root, {".png"})
    assert ([place for place, _ in listed], others) == (["a.png", "0/a.png"], 2)


def test_a_folder_of_logs_is_a_stray_where_there_is_nothing_else_in_it(tmp_path: Path) -> None:
    root = paths.folder(tmp_path)
    (root / "logs" / "run").mkdir(parents=True)
    (root / "logs" / "run" / "args.json").write_text("{}")
    assert paths.folders(root) == []
    (root / "logs" / "run" / "0.png").write_bytes(b"x")  # a class of logs, of wood
    assert paths.folders(root) == [root / "logs"]
