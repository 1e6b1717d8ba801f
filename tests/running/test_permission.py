"""Which plugin files of a board may run: the user's own, and those that were allowed once, by digest."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.cli import main
from harness.core import shipped
from harness.core.errors import BoardError
from harness.running import permission
from harness.running.opening import open_board, read_board
from tests.conftest import Giftbench, Refused, board_text

RAN = "from pathlib import Path\nPath(__file__).with_suffix('.ran').touch()\n"
WORDS = ("plugins[0]", "plugin.py (sha256 ", "was not allowed to run here", "--allow-plugins", "GIFTBENCH_OWN")


@pytest.fixture
def foreign(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder of a board from elsewhere, whose plugin leaves a file behind when it runs."""
    monkeypatch.delenv("GIFTBENCH_OWN")
    folder = tmp_path / "foreign"
    folder.mkdir()
    (folder / "plugin.py").write_text(RAN)
    (folder / "board.toml").write_text(board_text(plugins=["plugin.py"], teacher=None, losses=["ce"]))
    return folder


def ran(folder: Path) -> bool:
    """Tell whether the plugin ran since it was asked last; it may do so again in this process."""
    for name in [name for name in sys.modules if name.startswith("giftbench_plugin_plugin_")]:
        del sys.modules[name]
    trace = folder / "plugin.ran"
    known = trace.exists()
    trace.unlink(missing_ok=True)
    return known


def test_a_foreign_plugin_stops_whoever_would_run_it_and_nobody_else(foreign: Path, refused: Refused) -> None:
    with refused(BoardError, foreign / "board.toml", *WORDS):
        open_board(foreign)
    _, board, (line,) = read_board(foreign)
    assert board.plugins == ("plugin.py",)
    assert all(word in line for word in WORDS)
    assert not ran(foreign)


def test_a_plugin_that_was_allowed_once_runs_until_it_changes(foreign: Path) -> None:
    open_board(foreign, allow_plugins=True)
    assert ran(foreign)
    open_board(foreign)
    assert ran(foreign)
    assert read_board(foreign)[2] == ()
    assert ran(foreign)
    (foreign / "plugin.py").write_text(f"{RAN}\n")
    with pytest.raises(BoardError, match="was not allowed"):
        open_board(foreign)
    assert not ran(foreign)


def test_so_does_one_that_the_command_line_has_named(foreign: Path, giftbench: Giftbench) -> None:
    giftbench("list", "losses", "--plugin", foreign / "plugin.py")
    assert ran(foreign)
    open_board(foreign)
    assert ran(foreign)


def test_a_file_that_a_plugin_imports_beside_itself_is_part_of_what_was_allowed(foreign: Path) -> None:
    (foreign / "helper.py").write_text("answer = 1\n")
    (foreign / "plugin.py").write_text("def later():\n    import helper\n" + RAN)
    open_board(foreign, allow_plugins=True)
    assert ran(foreign)
    (foreign / "helper.py").write_text("answer = 2\n")
    with pytest.raises(BoardError, match="was not allowed"):
        open_board(foreign)


@pytest.mark.parametrize(
    ("place", "own"),
    [
        (lambda folder: folder / "plugin.py", True),
        (lambda folder: folder / "below" / "plugin.py", True),
        (lambda folder: folder.parent / "plugin.py", False),
        (lambda folder: folder / ".." / "plugin.py", False),
        (lambda folder: folder.parent / f"{folder.name}-2" / "plugin.py", False),
        (lambda folder: folder / "link.py", False),
        (lambda folder: shipped.ROOT / "leaderboards" / "precision" / "precision.py", True),
    ],
)
def test_own_is_what_lies_in_a_folder_of_the_users_or_in_giftbenchs_checkout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: Callable[[Path], Path], own: bool
) -> None:
    folder, other = tmp_path / "mine", tmp_path / "other"
    for each in (folder, other):
        each.mkdir()
    (folder / "link.py").symlink_to(tmp_path / "plugin.py")
    monkeypatch.setenv("GIFTBENCH_OWN", f"{other}:{folder}")
    assert permission.is_own(place(folder)) is own


def test_a_board_in_an_own_folder_runs_its_plugin_unasked(foreign: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIFTBENCH_OWN", str(foreign))
    open_board(foreign)
    assert ran(foreign)


def test_a_run_in_the_folder_where_a_person_works_allows_what_lies_there(foreign: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(foreign)
    read_board(foreign)
    assert not ran(foreign), "reading records is no such call"
    open_board(foreign)
    assert ran(foreign)
    monkeypatch.chdir(foreign.parent)
    read_board(foreign)
    assert ran(foreign)


@pytest.mark.parametrize("where", ["root", "home", "beside"])
def test_what_lies_below_everything_or_beside_is_not_where_a_person_works(
    foreign: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    beside = foreign.parent / "beside"
    beside.mkdir()
    monkeypatch.setenv("HOME", str(foreign.parent))
    monkeypatch.chdir({"root": "/", "home": foreign.parent, "beside": beside}[where])
    with pytest.raises(BoardError, match="was not allowed"):
        open_board(foreign)
    assert not ran(foreign)


def test_a_cache_that_cannot_be_written_forgets_what_was_allowed(foreign: Path, cache: Path) -> None:
    cache.write_text("no folder")
    open_board(foreign, allow_plugins=True)
    assert ran(foreign)
    with pytest.raises(BoardError, match="was not allowed"):
        open_board(foreign)


@pytest.mark.parametrize("command", ["table", "doctor", "compare", "remove"])
def test_commands_that_read_records_run_nothing_of_a_foreign_board_and_say_so(
    foreign: Path, giftbench: Giftbench, command: str
) -> None:
    words = {"remove": ["--all"]}.get(command, [])
    said = giftbench(command, foreign, *words, status=2 if command == "compare" else 0)  # there is nothing reported to compare
    assert not ran(foreign)
    assert all(word in " ".join((said.out + said.err).split()) for word in WORDS)
    assert "Traceback" not in said.err


@pytest.mark.parametrize("words", [("run",), ("run", "--rerun")])
def test_a_run_of_a_foreign_board_stops_in_a_line(foreign: Path, giftbench: Giftbench, words: tuple[str, ...]) -> None:
    said = giftbench(words[0], foreign, *words[1:], status=2)
    assert len(said.err.splitlines()) == 1
    assert all(word in said.err for word in WORDS)
    assert not ran(foreign)
    assert sorted(path.name for path in foreign.iterdir()) == ["board.toml", "plugin.py"]


def test_table_runs_a_plugin_that_it_is_told_to_allow(foreign: Path, giftbench: Giftbench) -> None:
    said = giftbench("table", foreign, "--allow-plugins")
    assert ran(foreign)
    assert said.err == ""


def test_doctor_says_that_a_scenario_is_not_known_for_want_of_a_plugin(foreign: Path, giftbench: Giftbench) -> None:
    (foreign / "board.toml").write_text(board_text(plugins=["plugin.py"], teacher=None, losses=["ce"], scenarios=["own"]))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(main, "LONGEST", 10_000)  # whatever the path's length, the line is looked at whole
        said = giftbench("doctor", foreign, status=2)
    assert not ran(foreign)
    assert all(word in said.err for word in (*WORDS, "no scenario 'own'"))
