"""`giftbench new`: what it writes works as it stands, and nothing is ever overwritten."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from harness.cli import templates
from harness.cli.registries import REGISTRIES
from harness.cli.scaffold import scaffold
from harness.core.errors import GiftbenchError, UnknownName
from tests.conftest import Giftbench

HEAVY = {"torch", "timm", "pandas", "numpy", "sklearn", "matplotlib", "avalanche"}
KINDS = {kind: plural for kind, (plural, _, _) in templates.KINDS.items()}


@pytest.mark.parametrize("kind", KINDS)
def test_it_prints_what_it_wrote_and_what_to_run_next(
    kind: str, giftbench: Giftbench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    out, err = giftbench("new", kind, "my-own")
    assert err == ""
    assert out.splitlines() == [
        "my_own.py",
        "test_my_own.py",
        "next:",
        f"  giftbench list {KINDS[kind]} --plugin my_own.py",
        "  pytest test_my_own.py",
    ]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["my_own.py", "test_my_own.py"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["x", "my-own", "my_own_2", "a--b"])
def test_what_is_written_is_tidy_python(kind: str, name: str, tmp_path: Path) -> None:
    for path in scaffold(kind, name, tmp_path):
        text = path.read_text("utf-8")
        compile(text, path, "exec")
        assert not [line for line in text.splitlines() if len(line) > 88 or line != line.rstrip()]
        assert text.endswith("\n") and not text.endswith("\n\n")
        assert "{" + "name" not in text
    if shutil.which("ruff"):
        for command in (["check", "--select", "E,F,I,B,UP,SIM,RUF"], ["format", "--check"]):
            done = subprocess.run(["ruff", *command, "--isolated", "."], cwd=tmp_path, capture_output=True, text=True)
            assert done.returncode == 0, done.stdout


def test_there_is_a_template_of_every_kind_that_is_registered() -> None:
    assert set(KINDS.values()) == set(REGISTRIES)


def test_the_tests_that_are_written_pass(tmp_path: Path) -> None:
    """All in one process: what takes time is that it loads torch."""
    tests = [scaffold(kind, f"my-{kind}", tmp_path)[1] for kind in KINDS]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "."]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    written = sum(test.read_text().count("\ndef test_") for test in tests)
    assert f"{written} passed" in done.stdout
    assert written >= 2 * len(KINDS) - 2


def fresh(*words: object) -> tuple[list[str], set[str]]:
    """Run the command line in a Python of its own; return the lines it prints and the top-level modules it loads."""
    said = "sys.stderr.write(' '.join({name.partition('.')[0] for name in sys.modules}))"
    program = f"import atexit, sys\natexit.register(lambda: {said})\nfrom harness.cli.main import main\nmain()"
    command = [sys.executable, "-c", program, *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines(), set(done.stderr.split())


def test_it_loads_nothing_heavy(tmp_path: Path) -> None:
    printed, modules = fresh("new", "loss", "my-own", "--folder", tmp_path)
    assert printed[0] == str(tmp_path / "my_own.py")
    assert "typer" in modules
    assert not modules & HEAVY


def test_a_list_shows_what_it_wrote_with_its_file_and_loads_nothing_heavy(tmp_path: Path) -> None:
    plugins = [scaffold(kind, f"my-{kind}", tmp_path)[0] for kind in KINDS]
    printed, modules = fresh("list", "all", *(word for plugin in plugins for word in ("--plugin", plugin)))
    for kind in KINDS:
        (line,) = [line for line in printed if line.startswith(f"my-{kind} ")]
        assert line.rstrip().endswith(f"my_{kind}.py")
    assert not modules & HEAVY


# -- refusals ------------------------------------------------------------------------------------------------------------


def test_a_second_call_refuses_and_changes_nothing(giftbench: Giftbench, tmp_path: Path) -> None:
    plugin, test = scaffold("loss", "my-own", tmp_path)
    plugin.write_text("# changed by hand\n")
    out, err = giftbench("new", "loss", "my-own", "--folder", tmp_path, status=2)
    assert out == ""
    assert err == f"giftbench: {plugin} is there already; choose another name or another --folder\n"
    assert plugin.read_text() == "# changed by hand\n"
    plugin.unlink()
    with pytest.raises(GiftbenchError, match=r"test_my_own\.py is there already"):
        scaffold("scenario", "my-own", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [test.name]


@pytest.mark.parametrize("name", ["", "My-loss", "2nd", "-x", "_x", "my loss", "a/b", "../x", "a.b", "löss", "class", "x\n"])
def test_a_name_that_cannot_be_used_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(GiftbenchError, match=r"a loss cannot be called .*; use lower-case letters, digits, - and _"):
        scaffold("loss", name, tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("kind", "name", "message"),
    [
        ("loss", "gift", "there is a loss 'gift' already, from giftbench; choose another name"),
        ("scenario", "cross-optimizer", "there is a scenario 'cross-optimizer' already, from giftbench; choose another name"),
        ("optimizer", "sgd", "there is an optimizer 'sgd' already, from giftbench; choose another name"),
        ("augmentation", "flip", "there is an augmentation 'flip' already, from giftbench; choose another name"),
        ("loss", "torch", "torch.py would hide the Python module 'torch'; choose another name"),
        ("loss", "random", "random.py would hide the Python module 'random'; choose another name"),
    ],
)
def test_a_name_that_is_taken_is_refused(kind: str, name: str, message: str, giftbench: Giftbench, tmp_path: Path) -> None:
    assert giftbench("new", kind, name, "--folder", tmp_path, status=2) == ("", f"giftbench: {message}\n")
    assert not list(tmp_path.iterdir())


def test_a_kind_without_a_template_and_a_folder_that_is_not_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UnknownName, match=r"no template for a new 'losss'; did you mean 'loss'\?"):
        scaffold("losss", "x", tmp_path)
    with pytest.raises(GiftbenchError, match=r"--folder: no folder .*absent"):
        scaffold("loss", "x", tmp_path / "absent")
