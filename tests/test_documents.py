"""Every command that a document shows is run: here, by another test, or by a tox environment; every option it names is there."""

from __future__ import annotations

import configparser
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
import typer

from harness.cli.main import app
from harness.datasets.cards import Card
from tests.datasets.test_fashion_mnist import write as write_fashion_mnist
from tests.distilled.readers.publishing import publish_images

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = [
    *("README.md", "harness/README.md", "scenarios/README.md", "leaderboards/README.md", "leaderboards/paper/README.md"),
    "tests/benchmarks/README.md",
]
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SIZED = "tests/distilled/readers/test_imagenet_sized.py"
#: Commands that need what no test has (CIFAR-100, a package index), or ImageNet's size, and the test that does as much with what
#: there is.
ELSEWHERE = {
    "python3 -m pip install tox": ".ci/run",
    'python3 -m venv .venv && .venv/bin/pip install . && export PATH="$PWD/.venv/bin:$PATH"': "tests/core/test_plugin_package.py",
    "tar -xzf cifar-100-python.tar.gz -C data": "tests/datasets/test_cifar.py",
    "cp cifar100_conv3.pth data/teachers/": "tests/planning/test_needs.py",
    "giftbench run leaderboards/paper/table5/board.toml --set rded=PATH --data-dir PATH": "tests/boards/test_paper_boards.py",
    "giftbench run leaderboards/paper/table5/board.toml --set rded=$RDED --data-dir data": "tests/boards/test_paper_boards.py",
    "giftbench import parquet set --dataset imagenet-1k --data-dir data -o published.safetensors": SIZED,
    "giftbench inspect published.safetensors": SIZED,
    "giftbench doctor myboard --data-dir data": SIZED,
    "giftbench run myboard --data-dir data": SIZED,
}
#: Documents whose commands a test of their own runs from the first to the last.
WALKED = {"scenarios/README.md": "tests/scenarios/test_tutorial.py"}


def blocks(document: str) -> list[tuple[str, str]]:
    """Return the code blocks of a document: language and text."""
    return BLOCK.findall((ROOT / document).read_text("utf-8"))


def commands(document: str) -> Iterator[str]:
    """Yield the commands of a document's console blocks, without their comments."""
    for kind, text in blocks(document):
        for line in text.splitlines() if kind == "console" else ():
            if line.startswith("$ "):
                yield re.sub(r"\s+#.*", "", line.removeprefix("$ ")).strip()


def spans(document: str) -> Iterator[str]:
    """Yield the code spans of a document's prose that are commands with words after them."""
    prose = BLOCK.sub("", (ROOT / document).read_text("utf-8"))
    for span in re.findall(r"`((?:giftbench|tox|python|pytest) [^`]+)`", prose):
        yield " ".join(span.split())


def shell(command: str, folder: Path, **environment: str) -> str:
    """Run a command as a user types it; return what it prints. A status other than 0 is an error."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    given = {**os.environ, "PATH": path, "OMP_NUM_THREADS": "1", **environment}
    done = subprocess.run(["bash", "-c", command], cwd=folder, env=given, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def toxed(command: str) -> bool:
    """Tell whether a command is `tox run` of environments that tox.ini has; without any it is the list's."""
    words = shlex.split(command)
    if words[:2] != ["tox", "run"]:
        return False
    settings = configparser.ConfigParser()
    settings.read(ROOT / "tox.ini")
    sections = ",".join(name.removeprefix("testenv:").strip("{}") for name in settings.sections())
    named = words[words.index("-e") + 1].split(",") if "-e" in words else ["tests"]
    return all(name in sections.split(",") for name in named)


def test_every_command_is_run_somewhere() -> None:
    here = {*commands("README.md")} | {*commands("leaderboards/paper/README.md")}
    for document in DOCUMENTS:
        for command in commands(document):
            ran = document in WALKED or toxed(command) or command in ELSEWHERE or command in here
            assert ran, f"{document}: nothing runs `{command}`"
    assert {*ELSEWHERE} <= {command for document in DOCUMENTS for command in commands(document)}
    assert all((ROOT / place).is_file() for place in (*ELSEWHERE.values(), *WALKED.values()))


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_command_and_option_that_is_named_is_there(document: str) -> None:
    known = {name: {option for parameter in command.params for option in parameter.opts} for name, command in _commands().items()}
    for command in [*commands(document), *spans(document)]:
        words = command.split()
        if words[:2] == ["tox", "run"]:
            assert toxed(command.replace(" NAME", " quickstart")), f"{document}: {command}"
        if words[0] == "giftbench" and words[1] != "--help":
            assert words[1] in known, f"{document}: no command {words[1]} in {command}"
            options = {word.strip("[]").partition("=")[0] for word in words if re.match(r"\[?--?[a-z]", word)}
            assert options <= known[words[1]], f"{document}: {command}"


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_file_that_is_named_or_linked_is_there(document: str) -> None:
    text = (ROOT / document).read_text("utf-8")
    named = re.findall(r"(?<![\w/<])((?:tests|harness|scenarios|leaderboards)/[\w/.-]+\.(?:py|md|toml))", text)
    linked = [link for link in re.findall(r"\]\(([^)#]+)\)", text) if "://" not in link]
    generated = "leaderboards/quickstart/README.md"
    assert [place for place in named if not (ROOT / place).exists() and place != generated] == []
    assert [link for link in linked if not (ROOT / document).parent.joinpath(link).exists()] == []


def _commands() -> Mapping[str, typer.core.TyperCommand]:
    group = typer.main.get_command(app)
    assert isinstance(group, typer.core.TyperGroup)
    return group.commands  # type: ignore[return-value]


@pytest.mark.slow
def test_a_strangers_hour(tmp_path: Path) -> None:
    """README's own set and its board, then a loss and a scenario: written, listed, tested, run, in a table."""
    home, data = str(tmp_path / "home"), str(write_fashion_mnist(tmp_path / "data", packed=False))
    (evaluation,) = (text for kind, text in blocks("README.md") if kind == "python" and "harness.evaluate" in text)
    draws = "import torch\nimages, labels = torch.randint(256, (20, 1, 32, 32), dtype=torch.uint8), torch.arange(20) % 10\n"
    quick = {"quick": "smoke", '"convnet3"': '"convnet1(width=4)"'}
    program = draws + evaluation
    for word, shorter in quick.items():
        program = program.replace(word, shorter)
    (tmp_path / "own.py").write_text(program + "assert len(result.records) == 3\n", "utf-8")
    assert " ± " in shell(f"{sys.executable} own.py", tmp_path, GIFTBENCH_HOME=home, GIFTBENCH_DATA=data)
    (board,) = (text for kind, text in blocks("README.md") if kind == "toml")
    small = {
        "convnet3(width=64)": "convnet1(width=4)",
        'teacher = "convnet3"': 'teacher = { model = "convnet1(width=4)", epochs = 1 }',
    }
    for word, shorter in {**small, 'name = "quick", epochs = 100': 'name = "smoke"', "seeds = 3": "seeds = 1"}.items():
        assert word in board
        board = board.replace(word, shorter)
    (tmp_path / "myboard").mkdir()
    (tmp_path / "myboard" / "board.toml").write_text(board.replace("[1, 10]", "[1]").replace('"mine.', '"../mine.'), "utf-8")
    ran = list(commands("README.md"))
    for command in [command for command in ran if "myboard" in command]:
        shell(command.replace("--seeds 5", "--seeds 1"), tmp_path, GIFTBENCH_HOME=home, GIFTBENCH_DATA=data)
    table = (tmp_path / "myboard" / "README.md").read_text("utf-8")
    assert "| gift(gamma=0.2)" in table
    assert "Replay" in table
    (tmp_path / "leaderboards" / "quickstart").mkdir(parents=True)
    content = (ROOT / "leaderboards" / "quickstart" / "board.toml").read_text("utf-8")
    content = content.replace('"convnet3(width=32)"', '"convnet1(width=4)"').replace('name = "quick"', 'name = "smoke"')
    (tmp_path / "leaderboards" / "quickstart" / "board.toml").write_text(content, "utf-8")
    own = [command for command in ran if "my-" in command or "my_" in command]
    assert [command.split()[0] for command in own] == ["giftbench", "giftbench", "pytest", "giftbench"]
    for command in own:
        shell(command, tmp_path, GIFTBENCH_HOME=home)
    table = (tmp_path / "leaderboards" / "quickstart" / "README.md").read_text("utf-8")
    assert "## my-epochs" in table
    assert "| my-loss" in table


@pytest.mark.slow
def test_readmes_loss_and_scenario_keep_what_the_kit_expects(tmp_path: Path) -> None:
    (plugin,) = (text for kind, text in blocks("README.md") if kind == "python" and "register" in text)
    (tmp_path / "mine.py").write_text(plugin, "utf-8")
    program = (
        "from harness.core.plugins import load_file; load_file('mine.py')\n"
        "from harness.testing import check_loss, check_scenario\n"
        "check_loss('my-loss', beta=0.5)\n"
        "check_scenario('my-epochs', options={'epochs': [[1, 2], [3]], 'evaluations': [1, 2]})\n"
    )
    shell(f"{sys.executable} -c {shlex.quote(program)}", tmp_path, GIFTBENCH_HOME=str(tmp_path / "home"))
    listed = shell("giftbench list scenarios --plugin mine.py", tmp_path)
    assert "Accuracy against the number of epochs." in listed


@pytest.mark.slow
def test_the_walk_to_table_5_as_far_as_it_goes_without_cifar_100(tmp_path: Path) -> None:
    publish_images(tmp_path / "rded", "rded", Card("cifar100", (3, 32, 32), 100), 10)
    shutil.copytree(ROOT / "leaderboards" / "paper" / "table5", tmp_path / "leaderboards" / "paper" / "table5")
    shutil.copy(ROOT / "leaderboards" / "paper" / "reported.csv", tmp_path / "leaderboards" / "paper")
    ran = [command for command in commands("leaderboards/paper/README.md") if command not in ELSEWHERE]
    for command in ran:
        if not command.startswith("export"):
            shell(command.replace("rded=PATH", "rded=rded"), tmp_path, RDED="rded", GIFTBENCH_HOME=str(tmp_path / "home"))
    assert (tmp_path / "rded.png").is_file()
    assert "Table 5" in (tmp_path / "leaderboards" / "paper" / "table5" / "comparison.md").read_text("utf-8")
