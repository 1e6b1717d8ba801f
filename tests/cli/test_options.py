"""What commands share: an option of one name is the same option everywhere, and is heeded by every command that has it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from harness.cli import options
from harness.cli.main import app
from tests.conftest import Giftbench, board_text

COMMANDS: dict[str, Any] = typer.main.get_command(app).commands  # type: ignore[attr-defined]
SHARED = {"--plugin": "plugin", "--device": "device", "--data-dir": "data_dir", "--follow-links": "follow_links"}


def parameters(option: str) -> dict[str, Any]:
    """Return the parameter of this option of every command that has it, by the command's name."""
    found = {name: [one for one in command.params if option in one.opts] for name, command in COMMANDS.items()}
    return {name: one for name, (one,) in ((name, some) for name, some in found.items() if some)}


def taken(*words: str) -> dict[str, Any]:
    """Return what a command that has all that is shared is given."""
    given: dict[str, Any] = {}
    command = typer.Typer(add_completion=False)

    @command.command()
    def take(
        board: options.BoardArgument,
        plugin: options.PluginOption = None,
        device: options.DeviceOption = "auto",
        data_dir: options.DataOption = None,
    ) -> None:
        given.update(board=board, plugin=plugin, device=device, data_dir=data_dir)

    result = CliRunner().invoke(command, list(words))
    assert result.exit_code == 0, result.output
    return given


def test_what_is_left_out_is_what_the_help_says() -> None:
    assert taken("some/board.toml") == {"board": Path("some/board.toml"), "plugin": None, "device": "auto", "data_dir": None}


def test_files_and_folders_are_paths_and_plugins_come_in_their_order() -> None:
    given = taken("here", "--plugin", "b.py", "--data-dir", "some/data", "--plugin", "a.py", "--device", "cuda:1")
    assert given == {"board": Path("here"), "plugin": ["b.py", "a.py"], "device": "cuda:1", "data_dir": Path("some/data")}


@pytest.mark.parametrize("option", SHARED)
def test_an_option_of_one_name_is_one_option_in_every_command(option: str) -> None:
    found = parameters(option)
    assert len(found) > 1
    assert {one.name for one in found.values()} == {SHARED[option]}
    for fact in ("opts", "help", "metavar", "multiple", "default", "required"):
        assert len({str(getattr(one, fact)) for one in found.values()}) == 1, fact


def test_a_board_is_called_the_same_wherever_one_alone_is_taken() -> None:
    boards = [one for command in COMMANDS.values() for one in command.params if one.name == "board" and one.nargs == 1]
    assert len(boards) > 2
    assert {(one.metavar, one.help) for one in boards} == {("BOARD", "board.toml, or the folder that holds it")}
    optional = {name for name, command in COMMANDS.items() for one in command.params if one in boards and not one.required}
    assert optional == {"rerun"}  # which is of the working folder where none is named


def words(command: str, folder: Path) -> list[object]:
    """Return what a command cannot do without."""
    board, output = folder / "board.toml", folder / "set.safetensors"
    board.write_text(board_text())
    distilled = ["--dataset", "digits", "--method", "random", "--ipc", 1, "-o", output]
    imported = ["rded", folder, "--dataset", "digits", "-o", output]
    several = {"rerun": ["abc", board], "submit": [folder, board]}
    return ({"list": ["losses"], "distill": distilled, "import": imported} | several).get(command, [board])


@pytest.mark.parametrize("command", parameters("--plugin"))
def test_every_command_that_takes_a_plugin_loads_it_first(command: str, giftbench: Giftbench, tmp_path: Path) -> None:
    told = words(command, tmp_path)
    said = giftbench(command, *told, "--plugin", tmp_path / "absent.py", status=2)
    assert "absent.py" in said.err and said.err.count("\n") == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["board.toml"], "nothing is made before"


@pytest.mark.parametrize("command", parameters("--device"))
def test_every_command_that_takes_a_device_checks_it(command: str, giftbench: Giftbench, tmp_path: Path) -> None:
    said = giftbench(command, *words(command, tmp_path), "--device", "gpu", status=2)
    assert "device must be auto, cpu, cuda or cuda:N, not 'gpu'" in said.err.splitlines()[-1]


def test_whatever_reads_a_dataset_may_be_allowed_to_follow_its_links() -> None:
    assert parameters("--follow-links").keys() == parameters("--data-dir").keys()


def test_links_are_followed_by_this_process_and_those_that_it_starts_where_that_is_asked(
    giftbench: Giftbench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from harness.datasets import links

    monkeypatch.setenv(links.VARIABLE, "")
    giftbench("doctor", *words("doctor", tmp_path))
    assert not links.followed()
    giftbench("doctor", *words("doctor", tmp_path), "--follow-links")
    assert links.followed()
