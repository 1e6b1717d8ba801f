"""Plugin files: loaded once, and named in one line when they fail."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

import pytest

from harness import losses
from harness.core import plugins
from harness.core.errors import BoardError, PluginError
from harness.running.opening import open_board

LOSS = """
from harness import losses

@losses.register("{name}")
def loss(logits, targets, *, beta=1.0):
    '''A loss of the tests.'''
    return beta * logits.square().mean()
"""


def written(folder: Path, text: str, name: str = "plugin.py") -> Path:
    file = folder / name
    file.write_text(text)
    return file


def test_a_plugin_file_registers_what_it_holds(tmp_path: Path) -> None:
    plugins.load_file(written(tmp_path, LOSS.format(name="from-file")))
    try:
        found = losses.describe("from-file")
        assert (found.origin, found.summary, found.parameters) == ("plugin.py", "A loss of the tests.", {"beta": "1.0"})
    finally:
        losses.registry.remove("from-file")


def test_a_plugin_file_is_loaded_once_whatever_it_is_called(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = written(tmp_path, LOSS.format(name="once"))
    monkeypatch.chdir(tmp_path)
    plugins.load_files([file, "plugin.py", str(file)])
    losses.registry.remove("once")


def test_two_plugin_files_of_one_name_are_two_plugins(tmp_path: Path) -> None:
    for name in ("left", "right"):
        (tmp_path / name).mkdir()
        plugins.load_file(written(tmp_path / name, LOSS.format(name=name)))
        assert name in losses.registry
        losses.registry.remove(name)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = 1\ndef broken(:\n", r"line 2: .+"),
        ("raise RuntimeError('no luck')", "RuntimeError: no luck"),
        ("import no_such_package", "ModuleNotFoundError: No module named 'no_such_package'"),
        ("raise SystemExit('gone')", "SystemExit: gone"),
        (LOSS.format(name="gift"), "two losss are named 'gift'|two losses are named 'gift'"),
    ],
)
def test_a_plugin_file_that_fails_is_named_with_its_error(tmp_path: Path, text: str, message: str) -> None:
    file = written(tmp_path, text)
    with pytest.raises(PluginError, match=rf"plugin .*plugin\.py: (PluginError: )?({message})"):
        plugins.load_file(file)
    assert not [name for name, module in sys.modules.items() if getattr(module, "__file__", None) == str(file)]


def test_a_failed_plugin_file_is_tried_again_once_it_is_mended(tmp_path: Path) -> None:
    file = written(tmp_path, "raise RuntimeError")
    with pytest.raises(PluginError):
        plugins.load_file(file)
    written(tmp_path, LOSS.format(name="mended"))
    plugins.load_file(file)
    assert "mended" in losses.registry
    losses.registry.remove("mended")


def test_an_absent_plugin_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(PluginError, match=r"plugin .*absent\.py: no such file"):
        plugins.load_file(tmp_path / "absent.py")
    with pytest.raises(PluginError, match="no such file"):
        plugins.load_file(tmp_path)


def test_what_is_no_python_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PluginError, match=r"plugin .*notes\.txt: not a Python file"):
        plugins.load_file(written(tmp_path, "hello", "notes.txt"))


def test_a_failure_is_reported_once(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(plugins, "failures", {})
    for _ in range(2):
        plugins.report("some-package", ImportError("no luck"))
    assert caplog.record_tuples == [("giftbench", logging.WARNING, "plugin some-package is left out: ImportError: no luck")]
    assert plugins.failures == {"some-package": "ImportError: no luck"}


def test_a_boards_plugins_are_found_beside_it(tmp_path: Path) -> None:
    written(tmp_path, LOSS.format(name="beside"))
    board = 'dataset = "digits"\nlosses = ["beside"]\nplugins = ["plugin.py"]\nscenarios = ["cross-optimizer"]\n'
    board += '[[sets]]\nmethod = "random"\nipc = 1\n'
    (tmp_path / "board.toml").write_text(board)
    file, read, files = open_board(tmp_path)
    assert "beside" in losses.registry
    losses.registry.remove("beside")
    assert (file, files) == (tmp_path / "board.toml", (str(tmp_path / "plugin.py"),))
    assert read.plugins == ("plugin.py",)


def test_a_boards_absent_plugin_is_named_with_its_place(tmp_path: Path) -> None:
    board = 'dataset = "digits"\nplugins = ["absent.py"]\nscenarios = ["cross-optimizer"]\n[[sets]]\nmethod = "random"\nipc = 1\n'
    (tmp_path / "board.toml").write_text(board)
    with pytest.raises(BoardError, match=r"board\.toml: plugins\[0\]: no file .*absent\.py"):
        open_board(tmp_path)
